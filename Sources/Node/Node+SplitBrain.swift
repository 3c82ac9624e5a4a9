import Basis
import Peering
import VRRP
import Wire

// More than one node owns a VIP, and it stays so: nothing that this node could decide by itself, for the election has failed. So it is
// said, at once and plainly, and nothing else follows from it.
//
// Known by two ways, each with its own patience:
// - adverts that lose against this owner's, from somebody who goes on sending them: it does not hear this node. One or two are part of many
//   a take-over; three that span `patience` are not.
// - what nodes say of themselves over the peer link. A node that is dead has said that it owns the VIP, too, and is known to be dead only
//   when its link is; so that takes `longestLinkDeath`.

/// A VIP that more than one node owns.
public struct SplitBrain: Sendable, Hashable {
  public enum Owner: Sendable, Hashable {
    case node(String)
    /// The source of adverts, where no node says that it is the one.
    case address(IPAddress)
  }

  public let since: Instant
  /// In the order of the configuration, this node first where it is one of them.
  public internal(set) var owners: [Owner]
  /// The source of another owner's adverts, where this node owns the VIP and hears it.
  public internal(set) var heard: IPAddress?
}

extension SplitBrain.Owner: CustomStringConvertible {
  public var description: String {
    switch self {
    case .node(let name): name
    case .address(let address): address.description
    }
  }
}

/// What speaks for a split brain, from the first sign on.
struct Contest: Sendable {
  /// Adverts that lost against ours.
  struct Rival: Sendable {
    var source: IPAddress
    let first: Instant
    var last: Instant
    /// Between the last two.
    var pause = Duration.zero
    var count = 1
  }

  let vip: Int
  /// More than one node says since then that it owns the VIP.
  var saidSince: Instant?
  var rival: Rival?
  /// Set when it is certain.
  var splitBrain: SplitBrain?
  var due: Instant?

  init(vip: Int) { self.vip = vip }
}

extension Node {
  /// How long a peer's last word may outlive it.
  static let longestLinkDeath = Duration.seconds(5)
  static let shortestPatience = Duration.milliseconds(500)

  /// Nil where at most one node owns the VIP, as far as this one knows.
  public func splitBrain(of vip: Int) -> SplitBrain? {
    coordination.contests.first { $0.vip == vip }?.splitBrain
  }

  // MARK: Signs

  /// An advert has lost against ours.
  mutating func heardRival(_ vip: Int, from source: IPAddress, at now: Instant, _ emit: (Effect) -> Void) {
    guard let index = coordination.contests.firstIndex(where: { $0.vip == vip }) else {
      var contest = Contest(vip: vip)
      contest.rival = Contest.Rival(source: source, first: now, last: now)
      coordination.contests.append(contest)
      return settleContest(coordination.contests.count - 1, at: now, emit)
    }
    guard let rival = coordination.contests[index].rival else {
      coordination.contests[index].rival = Contest.Rival(source: source, first: now, last: now)
      return settleContest(index, at: now, emit)
    }
    coordination.contests[index].rival?.source = source
    coordination.contests[index].rival?.pause = now - rival.last
    coordination.contests[index].rival?.last = now
    coordination.contests[index].rival?.count = min(rival.count + 1, 3)
    // A stream of adverts costs nothing: what is known already is looked at when it is due.
    if coordination.contests[index].splitBrain?.heard == nil { settleContest(index, at: now, emit) }
  }

  /// The VIP's owners, by what the nodes say, may be others now.
  mutating func ownersChanged(of vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    if let index = coordination.contests.firstIndex(where: { $0.vip == vip }) {
      settleContest(index, at: now, emit)
    } else if saidOwners(of: vip) > 1 {
      coordination.contests.append(Contest(vip: vip))
      settleContest(coordination.contests.count - 1, at: now, emit)
    }
  }

  mutating func contestsDue(at now: Instant, _ emit: (Effect) -> Void) {
    for index in coordination.contests.indices.reversed()
    where coordination.contests[index].due.map({ $0 <= now }) ?? false {
      settleContest(index, at: now, emit)
    }
  }

  private func saidOwners(of vip: Int) -> Int {
    var count = vips[vip].state == .active ? 1 : 0
    for peer in coordination.peers.indices where coordination.peers[peer].owns(vip) { count += 1 }
    return count
  }

  // MARK: What follows

  private mutating func settleContest(_ index: Int, at now: Instant, _ emit: (Effect) -> Void) {
    let vip = coordination.contests[index].vip
    let isOurs = vips[vip].state == .active
    if saidOwners(of: vip) > 1 {
      if coordination.contests[index].saidSince == nil { coordination.contests[index].saidSince = now }
    } else {
      coordination.contests[index].saidSince = nil
    }
    if let rival = coordination.contests[index].rival, !isOurs || now >= end(of: rival, vip) {
      coordination.contests[index].rival = nil
    }
    coordination.isDirty = true
    let contest = coordination.contests[index]
    guard contest.saidSince != nil || contest.rival != nil else {
      coordination.contests.remove(at: index)
      if let over = contest.splitBrain { emit(.report(.splitBrainOver(vip: vip, lasted: now - over.since))) }
      return
    }
    let isSaid = contest.saidSince.map { now >= $0.later(by: Self.longestLinkDeath) } ?? false
    let isHeard = contest.rival.map { $0.count >= 3 && $0.last >= $0.first.later(by: patience(vip)) } ?? false
    coordination.contests[index].due = contest.rival.map { end(of: $0, vip) }
    if let since = contest.saidSince, !isSaid {
      let said = since.later(by: Self.longestLinkDeath)
      coordination.contests[index].due = earlier(coordination.contests[index].due, said)
    }
    // What is certain stays so until the last sign is gone.
    guard isSaid || isHeard || contest.splitBrain != nil else { return }
    let since = [contest.splitBrain?.since, contest.saidSince, contest.rival?.first].compactMap(\.self).min() ?? now
    let splitBrain = SplitBrain(
      since: since, owners: owners(of: vip, or: contest.rival?.source), heard: contest.rival?.source)
    coordination.contests[index].splitBrain = splitBrain
    guard contest.splitBrain == nil else { return }
    emit(.report(.splitBrain(vip: vip, owners: splitBrain.owners, isHeard: splitBrain.heard != nil)))
  }

  private func owners(of vip: Int, or rival: IPAddress?) -> [SplitBrain.Owner] {
    let peers = coordination.peers.indices.filter { coordination.peers[$0].owns(vip) }
    var owners: [SplitBrain.Owner] = vips[vip].state == .active ? [.node(settings.name)] : []
    owners += peers.map { .node(coordination.peers[$0].name) }
    // Most likely the same.
    if peers.isEmpty, let rival { owners.append(.address(rival)) }
    return owners
  }

  private func patience(_ vip: Int) -> Duration { max(vips[vip].machine.interval * 2, Self.shortestPatience) }

  /// When a rival that has fallen silent is taken for gone. It may advertise more rarely than this node does.
  private func end(of rival: Contest.Rival, _ vip: Int) -> Instant {
    rival.last.later(by: max(vips[vip].machine.interval, min(rival.pause, .seconds(256))) * 3 + .milliseconds(1))
  }
}
