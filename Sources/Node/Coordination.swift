import Basis
import Peering
import VRRP
import Wire

/// What looks beyond one VIP: trackers, groups, peers, hand-over, standby. State only; the functions are in `Node+Tracking.swift`,
/// `Node+Groups.swift`, `Node+Peers.swift`, `Node+HandOver.swift` and `Node+Commands.swift`.
public struct Coordination: Sendable {
  /// In the order of `NodeSettings.trackers`.
  public internal(set) var trackers: [TrackerStatus]
  /// In the order of `NodeSettings.peers`.
  public internal(set) var peers: [PeerStatus]
  public internal(set) var standby = Standby.no
  /// VIPs that this node is handing to another.
  public internal(set) var handOvers: [HandOver] = []
  public internal(set) var counters = Counters()

  /// In the order of the VIPs.
  var standings: [Standing]
  /// VIPs that this node promised to take.
  var promises: [Promise] = []
  /// Hand-overs that were asked for here and are another node's to do.
  var requests: [MoveRequest] = []
  /// VIPs that more than one node owns, or seems to.
  var contests: [Contest] = []
  /// What every peer was told last of this node's VIPs, and when.
  var told: [PeerMessage.VIPReport] = []
  var toldAt: Instant?
  /// When they are told what has changed since.
  var tellAt: Instant?
  /// Numbers for moves: a later life of this node must not take an earlier one's messages for its own.
  var random: SplitMix64
  /// Something changed that the end of the event has to look at (`Node.settle`).
  var isDirty = true
  /// A tracker turned: who may own what, and how much it is preferred, has to be looked at.
  var fitnessChanged = false

  public enum Standby: Sendable, Hashable {
    case no
    /// VIPs are still being left; the tickets are answered when nothing is held.
    case leaving(tickets: [UInt64], until: Instant)
    case yes
  }

  public struct Counters: Sendable, Hashable {
    /// What peers said that could not be true here: VIPs of another configuration, answers to nothing, claims of nodes that don't own.
    public var ignored: UInt64 = 0
  }

  /// What is known of a VIP beside its own election.
  struct Standing: Sendable {
    /// As the end of the last event saw it.
    var routerState = VirtualRouter.State.initialize
    /// What trackers may do here; circles are cut out.
    var tracks: [VIPSettings.Track] = []
    var group: Int?
    /// The owner said priority 0, and no other has been heard since.
    var ownerLeft = false
    /// While the VIP is being left: its connections have ended.
    var isDrained = false
    /// Of this node as the owner: the peer that all were told should follow.
    var successor: Int?
    /// The peer, the owner, that named this node, and the source of its adverts.
    var namedBy: Int?
    var namedOwner: IPAddress?
    /// A hand-over to another node that is about to be: the owner's priority 0 is that node's.
    var comingMove: ComingMove?
    /// After a hand-over to another node: this one leaves it the VIP though it may be preferred.
    var leftAlone: LeftAlone?
    /// After a hand-over to this node: told to peers that come, so that they leave it the VIP, too.
    var arrivedBy: UInt64?
    var isHandedOver = false

    /// Adverts are worth a look beyond the election.
    var listens: Bool { namedBy != nil || leftAlone != nil || comingMove != nil || isHandedOver }
  }

  init(_ settings: NodeSettings, seed: UInt64) {
    trackers = settings.trackers.map { TrackerStatus($0) }
    peers = settings.peers.map { PeerStatus($0, vips: settings.vips.count) }
    standings = settings.vips.map { _ in Standing() }
    random = SplitMix64(seed: seed)
    arrange(settings)
  }

  /// Finds who belongs together, and cuts the circles of VIPs that wait for each other.
  private mutating func arrange(_ settings: NodeSettings) {
    for vip in standings.indices {
      standings[vip].group = settings.groups.firstIndex { $0.count > 1 && $0.contains(vip) }
    }
    for vip in standings.indices {
      standings[vip].tracks = settings.vips[vip].tracks.filter { track in
        guard settings.trackers.indices.contains(track.tracker) else { return false }
        guard case .vip(let other) = settings.trackers[track.tracker].source else { return true }
        return standings.indices.contains(other) && !settings.waits(other, for: vip)
      }
    }
  }

  /// Another configuration: what kept its name keeps what is known of it.
  mutating func replace(_ old: NodeSettings, by new: NodeSettings) {
    trackers = new.trackers.enumerated().map { index, tracker in
      guard trackers.indices.contains(index), trackers[index].settings == tracker else { return TrackerStatus(tracker) }
      return trackers[index]
    }
    let kept = new.vips.indices.map {
      standings.indices.contains($0) && old.vips.indices.contains($0) && old.vips[$0].name == new.vips[$0].name
    }
    peers = new.peers.enumerated().map { index, name in
      var peer = PeerStatus(name, vips: new.vips.count)
      guard peers.indices.contains(index), peers[index].name == name else { return peer }
      peer.isUp = peers[index].isUp
      for vip in new.vips.indices where kept[vip] {
        peer.vips[vip] = peers[index].vips[vip]
        peer.linkLocals[vip] = peers[index].linkLocals[vip]
      }
      return peer
    }
    standings = new.vips.indices.map { kept[$0] ? standings[$0] : Standing() }
    contests.removeAll { !kept.indices.contains($0.vip) || !kept[$0.vip] || new.vips[$0.vip].isVacant }
    arrange(new)
    isDirty = true
  }

  var deadline: Instant? {
    var deadline: Instant?
    for tracker in trackers { deadline = earlier(deadline, tracker.deadline) }
    for handOver in handOvers { deadline = earlier(deadline, handOver.until) }
    for promise in promises { deadline = earlier(deadline, promise.until) }
    for request in requests { deadline = earlier(deadline, request.until) }
    for contest in contests { deadline = earlier(deadline, contest.due) }
    deadline = earlier(deadline, tellAt)
    if case .leaving(_, let until) = standby { deadline = earlier(deadline, until) }
    return deadline
  }
}

/// Another node, as it tells of itself over the peer link.
public struct PeerStatus: Sendable {
  public let name: String
  public internal(set) var isUp = false
  /// What it last said of each VIP, in the order of this node's own; nil where it said nothing.
  public internal(set) var vips: [PeerMessage.VIPReport?]
  /// For each VIP: the link-local address that its adverts come from, as it said last; also while its link is down.
  var linkLocals: [UInt128?]
  /// It has been told everything since its link came up.
  var isGreeted = false

  init(_ name: String, vips: Int) {
    self.name = name
    self.vips = Array(repeating: nil, count: vips)
    linkLocals = Array(repeating: nil, count: vips)
  }

  @inline(__always)
  func owns(_ vip: Int) -> Bool { isUp && vips.indices.contains(vip) && vips[vip]?.state == .active }
}

extension NodeSettings {
  /// Whether a VIP, by its trackers or those of its group, has to wait for another one, directly or not.
  func waits(_ first: Int, for vip: Int) -> Bool {
    var seen = vips.indices.map { _ in false }
    var open = [first]
    while let next = open.popLast() {
      guard seen.indices.contains(next), !seen[next] else { continue }
      seen[next] = true
      if next == vip { return true }
      for track in vips[next].tracks where trackers.indices.contains(track.tracker) {
        if case .vip(let other) = trackers[track.tracker].source { open.append(other) }
      }
      for group in groups where group.count > 1 && group.contains(next) { open += group }
    }
    return false
  }
}
