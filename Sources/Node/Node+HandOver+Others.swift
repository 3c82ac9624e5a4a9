import Basis
import Peering
import VRRP
import Wire

// A hand-over as the others see it: the node that takes the VIP, and those that leave it to that node.

/// A move to this node, which it said it is ready for.
struct Promise: Sendable, Hashable {
  let vip: Int
  let owner: Int
  let move: UInt64
  let asked: Instant
  let until: Instant
}

/// A hand-over from the owner to a third node, of which this one was told before.
struct ComingMove: Sendable, Hashable {
  let owner: Int
  let target: Int
  let move: UInt64
  /// The source of the owner's adverts.
  let source: IPAddress?
  let asked: Instant
  let until: Instant
}

/// Whom this node leaves the VIP, after a hand-over.
struct LeftAlone: Sendable, Hashable {
  let peer: Int
  /// The source of its adverts, once one has been heard.
  var owner: IPAddress?
  /// The source of the old owner's.
  let previous: IPAddress?
  /// The hand-over, where it is one that may still be called off.
  var move: UInt64?
}

extension Node {
  // MARK: The target

  mutating func asked(
    toTake name: String, move: UInt64, by peer: Int, at now: Instant, _ emit: (Effect) -> Void
  ) {
    guard let vip = settings.vip(named: name) else {
      coordination.counters.ignored &+= 1
      emit(.tell(peer: peer, .refused(vip: name, move: move, reason: "\(settings.name) has no VIP \(name)")))
      return
    }
    if let why = unreadiness(vip, for: peer, at: now) {
      emit(.tell(peer: peer, .refused(vip: name, move: move, reason: "\(settings.name): \(why)")))
      return
    }
    coordination.promises.removeAll { $0.vip == vip }
    coordination.promises.append(
      Promise(vip: vip, owner: peer, move: move, asked: now, until: now.later(by: longestMove(of: vip))))
    // Its priority 0 is as good as its word.
    beNamed(vip, by: peer, at: now, emit)
    emit(.tell(peer: peer, .ready(vip: name, move: move)))
  }

  /// From the first word of a hand-over to the last.
  private func longestMove(of vip: Int) -> Duration {
    Self.longestPreparation * 2 + vips[vip].settings.drain + Self.drainMargin * 2
  }

  /// Why this node is not ready to take a VIP from that peer.
  private func unreadiness(_ vip: Int, for peer: Int, at now: Instant) -> String? {
    if phase != .running { return "it is \(phase == .idle ? "starting" : "stopping")" }
    if coordination.standby != .no { return "it is in standby (`roost node resume` there ends that)" }
    if let obstacle = obstacle(vip, at: now) { return obstacle }
    guard vips[vip].machine.state != .initialize else {
      return "it does not take part in the election"
    }
    guard vips[vip].machine.state == .backup, vips[vip].holding == .nothing else {
      return "it owns the VIP itself, or has just left it"
    }
    guard coordination.peers[peer].owns(vip) else {
      return "\(coordination.peers[peer].name) is not known as the owner"
    }
    // Else it could not tell when the owner is gone, and others might not hear this node either.
    guard let owner = vips[vip].machine.owner, owner.heard.later(by: vips[vip].machine.interval * 3) > now else {
      return "it does not hear the owner's adverts"
    }
    if let other = coordination.promises.first(where: { $0.vip == vip && $0.owner != peer }) {
      return "\(coordination.peers[other.owner].name) hands it over already"
    }
    return nil
  }

  mutating func dropOldPromises(at now: Instant, _ emit: (Effect) -> Void) {
    coordination.promises.removeAll { $0.until <= now }
  }

  /// From the owner, at the moment when it lets go; or from a new owner, to a node whose link has just come up.
  mutating func moved(
    _ name: String, to node: String, move: UInt64, _ freshness: PeerMessage.Freshness?, by peer: Int,
    at now: Instant, _ emit: (Effect) -> Void
  ) {
    guard let vip = settings.vip(named: name) else { return coordination.counters.ignored &+= 1 }
    if let request = coordination.requests.firstIndex(where: { $0.owner == peer && $0.move == move && $0.vip == vip }) {
      coordination.requests[request].target = node
    }
    if node == settings.name {
      guard let promise = coordination.promises.first(where: { $0.vip == vip && $0.owner == peer && $0.move == move })
      else { return coordination.counters.ignored &+= 1 }
      // The owner has the VIP again, and nobody asks for another move.
      if let freshness, freshness.isOver(now - promise.asked) {
        coordination.promises.removeAll { $0.vip == vip }
        return coordination.counters.ignored &+= 1
      }
      elect(vip: vip, .takeOver(.handedBy(coordination.peers[peer].name)), at: now, emit)
      return
    }
    guard coordination.peers[peer].owns(vip), let target = settings.peer(named: node),
      vips[vip].machine.state == .backup
    else { return coordination.counters.ignored &+= 1 }
    let coming = coordination.standings[vip].comingMove
    coordination.standings[vip].comingMove = nil
    if let coming, coming.move == move, let freshness, freshness.isOver(now - coming.asked) {
      return coordination.counters.ignored &+= 1
    }
    coordination.promises.removeAll { $0.vip == vip }
    if coordination.standings[vip].namedBy != nil { forgetNaming(vip, at: now, emit) }
    // Told by the new owner itself, the adverts that are heard are its own.
    leaveAlone(
      vip, with: target, previous: target == peer ? nil : vips[vip].machine.owner?.address, move: move, at: now, emit)
  }

  // MARK: The others, before it

  /// From the owner: the VIP will be that node's. Answered even by a node that would not take it, because the owner waits.
  mutating func told(
    toLeave name: String, to node: String, move: UInt64, by peer: Int, at now: Instant, _ emit: (Effect) -> Void
  ) {
    guard let vip = settings.vip(named: name), let target = settings.peer(named: node), target != peer,
      coordination.peers[peer].owns(vip)
    else { return coordination.counters.ignored &+= 1 }
    coordination.promises.removeAll { $0.vip == vip }
    if coordination.standings[vip].namedBy != nil { forgetNaming(vip, at: now, emit) }
    coordination.standings[vip].comingMove = ComingMove(
      owner: peer, target: target, move: move, source: vips[vip].machine.owner?.address, asked: now,
      until: now.later(by: longestMove(of: vip)))
    emit(.tell(peer: peer, .ready(vip: name, move: move)))
  }

  /// A priority 0 was heard, perhaps before the `moved` that belongs to it.
  mutating func comingMoveHeard(_ vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    guard let coming = coordination.standings[vip].comingMove else { return }
    if coming.until <= now {
      coordination.standings[vip].comingMove = nil
    } else if vips[vip].machine.state == .backup, vips[vip].machine.owner == nil,
      coordination.standings[vip].leftAlone == nil
    {
      leaveAlone(vip, with: coming.target, previous: coming.source, move: coming.move, at: now, emit)
    }
  }

  /// The owner says that the move is not to be, or was not. Gives whether this node was one of those that were to leave it alone.
  mutating func calledOff(
    _ vip: Int, move: UInt64, by peer: Int, at now: Instant, _ emit: (Effect) -> Void
  ) -> Bool {
    var wasTold = false
    if let coming = coordination.standings[vip].comingMove, coming.owner == peer, coming.move == move {
      coordination.standings[vip].comingMove = nil
      wasTold = true
    }
    if coordination.standings[vip].leftAlone?.move == move {
      forgetLeftAlone(vip, at: now, emit)
      wasTold = true
    }
    return wasTold
  }

  /// The addresses are on the interface: the old owner may know.
  mutating func confirmTaken(_ vip: Int, _ emit: (Effect) -> Void) {
    guard vips[vip].machine.state == .active else { return }
    for promise in coordination.promises where promise.vip == vip {
      coordination.standings[vip].arrivedBy = promise.move
      emit(.tell(peer: promise.owner, .taken(vip: vips[vip].settings.name, move: promise.move)))
    }
    coordination.promises.removeAll { $0.vip == vip }
  }

  // MARK: Leaving the new owner alone

  mutating func leaveAlone(
    _ vip: Int, with peer: Int, previous: IPAddress?, move: UInt64?, at now: Instant, _ emit: (Effect) -> Void
  ) {
    let known = previous == nil && coordination.peers[peer].owns(vip) ? vips[vip].machine.owner?.address : nil
    coordination.standings[vip].leftAlone = LeftAlone(peer: peer, owner: known, previous: previous, move: move)
    elect(vip: vip, .preempt(false), at: now, emit)
    // The old owner's priority 0 may be here already, or come now. It is not for this node, which waits as long as for an owner that has
    // fallen silent: were the target dead, the old owner would be back before.
    if vips[vip].machine.state == .backup {
      elect(vip: vip, .postpone(until: now.later(by: vips[vip].machine.longestSilence)), at: now, emit)
    }
  }

  mutating func forgetLeftAlone(_ vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    guard coordination.standings[vip].leftAlone != nil else { return }
    coordination.standings[vip].leftAlone = nil
    elect(vip: vip, .preempt(nil), at: now, emit)
  }

  /// An advert, or a priority 0, was heard: is the owner that was left alone still there?
  mutating func leftAloneHeard(_ vip: Int, owner: IPAddress?, at now: Instant, _ emit: (Effect) -> Void) {
    guard let leftAlone = coordination.standings[vip].leftAlone else { return }
    if let known = leftAlone.owner {
      if owner != known { forgetLeftAlone(vip, at: now, emit) }
    } else if let owner, owner != leftAlone.previous {
      coordination.standings[vip].leftAlone?.owner = owner
    }
  }

  /// It is over where this node owns the VIP again, and what a router that left the election was told counts no longer.
  mutating func settleNaming(at now: Instant, _ emit: (Effect) -> Void) {
    for vip in vips.indices where coordination.standings[vip].listens {
      let state = vips[vip].machine.state
      if state != .backup { coordination.standings[vip].comingMove = nil }
      if state == .active { forgetLeftAlone(vip, at: now, emit) }
      if coordination.standings[vip].namedBy != nil, state != .backup {
        coordination.standings[vip].namedBy = nil
        coordination.standings[vip].namedOwner = nil
      }
    }
  }
}
