import Basis
import Peering
import VRRP

// While a VRID (or the version, the family, the kind of peers) is changed on one node after another, two halves of a cluster elect an owner
// each, for neither hears the other's adverts. The peer link knows better: a report of a VIP says by which virtual router the peer elects it.
//
// - Who would claim a VIP waits while a linked peer owns it as another virtual router, and claims when that peer has let go or is gone. A peer
//   that dies without a word is noticed by its link: after three seconds at most, where adverts would tell after three intervals.
// - Where nobody owns it, both halves would claim at the same time: the lower priority waits for the higher, but not for ever, since that
//   one may have reasons of its own to wait.
// - Where both have claimed all the same (their link was down), the lower priority gives way.

extension Node {
  /// A better node of the other half claims within three intervals and a skew; one that has not by then is waited for no longer.
  static func patience(withRival interval: Duration) -> Duration { interval * 5 }

  /// Nil where there is no election.
  func router(of vip: Int) -> PeerMessage.VIPReport.Router? {
    guard vips[vip].hasElection else { return nil }
    let router = vips[vip].machine.settings
    return .init(
      id: router.id, version: router.version.rawValue, usesIPv6: router.family == .ipv6,
      isUnicast: router.peers != .multicast)
  }

  /// The peer elects the VIP's owner, and not where this node does.
  func isElectedElsewhere(_ report: PeerMessage.VIPReport, _ vip: Int) -> Bool {
    guard let theirs = report.router, let ours = router(of: vip) else { return false }
    return theirs != ours
  }

  /// The peer that owns the VIP as another virtual router.
  private func rivalOwner(of vip: Int) -> Int? {
    for peer in coordination.peers.indices where coordination.peers[peer].owns(vip) {
      if let report = coordination.peers[peer].vips[vip], isElectedElsewhere(report, vip) { return peer }
    }
    return nil
  }

  /// A peer that may claim the VIP as another virtual router, and is preferred to this node.
  private func betterRival(of vip: Int) -> Int? {
    for peer in coordination.peers.indices where coordination.peers[peer].isUp {
      guard coordination.peers[peer].vips.indices.contains(vip), let report = coordination.peers[peer].vips[vip],
        isElectedElsewhere(report, vip), report.isEligible, report.state == .backup, isPreferred(peer, report, to: vip)
      else { continue }
      return peer
    }
    return nil
  }

  /// By the priority, then by the name: both sides come to the same answer.
  private func isPreferred(_ peer: Int, _ report: PeerMessage.VIPReport, to vip: Int) -> Bool {
    let own = vips[vip].machine.priority
    if report.priority != own { return report.priority > own }
    return coordination.peers[peer].name.utf8.lexicographicallyPrecedes(settings.name.utf8)
  }

  private func rival(of vip: Int, at now: Instant) -> Int? {
    if let owner = rivalOwner(of: vip) { return owner }
    if let since = vips[vip].listening.rivalSince,
      now - since >= Self.patience(withRival: vips[vip].machine.interval)
    {
      return nil
    }
    return betterRival(of: vip)
  }

  /// Whether a claim that is due has to wait; then it is put off, and looked at again with each report of a peer.
  mutating func waitsForRival(vip: Int, at now: Instant, _ emit: (Effect) -> Void) -> Bool {
    guard vips[vip].machine.state == .backup, let peer = rival(of: vip, at: now) else { return false }
    if vips[vip].listening.rivalSince == nil { vips[vip].listening.rivalSince = now }
    elect(vip: vip, .postpone(until: now + vips[vip].machine.interval), at: now, emit)
    explain(vip: vip, rivalry(with: peer, for: vip), emit)
    return true
  }

  private func rivalry(with peer: Int, for vip: Int) -> String {
    let name = coordination.peers[peer].name
    let what = coordination.peers[peer].owns(vip) ? "owns it" : "goes first"
    let (theirs, ours) = (coordination.peers[peer].vips[vip]?.router?.id ?? 0, vips[vip].machine.settings.id)
    let difference =
      theirs == ours ? "with other settings of virtual router \(ours)" : "as virtual router \(theirs), not \(ours)"
    return "waiting: \(name) \(what) \(difference) as here; give both the same configuration"
  }

  /// After news of peers: what waited for one claims, and of two owners one gives way.
  mutating func settleRivals(at now: Instant, _ emit: (Effect) -> Void) {
    guard phase == .running else { return }
    for vip in vips.indices where vips[vip].hasElection {
      if vips[vip].listening.rivalSince != nil {
        if vips[vip].machine.state == .backup, rival(of: vip, at: now) == nil { stopWaiting(vip: vip, at: now, emit) }
      } else if vips[vip].machine.state == .active, let peer = rivalOwner(of: vip) {
        giveWay(vip: vip, to: peer, at: now, emit)
      }
    }
  }

  private mutating func stopWaiting(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    vips[vip].listening.rivalSince = nil
    freeClaim(vip: vip, at: now, emit)
    explain(vip: vip, "no other node owns it as another virtual router", emit)
    guard let due = vips[vip].machine.deadline, due <= now, mayClaim(vip: vip, at: now, emit) else { return }
    elect(vip: vip, .timer, at: now, emit)
  }

  private mutating func giveWay(vip: Int, to peer: Int, at now: Instant, _ emit: (Effect) -> Void) {
    guard !isLeaving(vip), !vips[vip].isDraining, handOver(of: vip) == nil,
      let report = coordination.peers[peer].vips[vip], isPreferred(peer, report, to: vip)
    else { return }
    let reason = "\(coordination.peers[peer].name) owns it as another virtual router"
    elect(vip: vip, .makeWay(.gaveWay(reason)), at: now, emit)
  }
}
