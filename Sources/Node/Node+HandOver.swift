import Basis
import Peering
import VRRP
import Wire

/// A planned move, as the owner sees it. The target is ready before anything is let go, the VIP is served until its connections have
/// ended, and then all happens in one go.
public struct HandOver: Sendable, Hashable {
  public enum Phase: Sendable, Hashable {
    /// The target is asked. Nothing has changed yet.
    case preparing
    /// Proxied connections end; the VIP is still owned and served.
    case draining
    /// Let go: the target takes it.
    case handing(since: Instant)
  }

  /// Who asked.
  enum Origin: Sendable, Hashable {
    case ticket(UInt64)
    case peer(Int)
  }

  public let move: UInt64
  /// One, or the members of a group.
  public let vips: [Int]
  /// Index into `NodeSettings.peers`.
  public let target: Int
  let origin: Origin
  public internal(set) var phase = Phase.preparing
  /// When this phase has lasted too long.
  var until: Instant
  /// When the target and the others were asked, and how long the target took to answer for all.
  let asked: Instant
  var answered = Duration.zero
  /// Who else was asked to leave a VIP to the target, and has not answered.
  var awaited: [Awaited]
  /// The VIPs, by their place in `vips`, that the target is ready for, and that it has taken.
  var ready: [Bool]
  var taken: [Bool]
  /// From letting go to the last `taken`: nobody owned a VIP for longer.
  var vacant: Duration?
  /// An owner was heard after letting go; only the word of the target is missing.
  var isSettled = false
}

/// A node that was asked to leave a VIP, by its place in `HandOver.vips`, to the target.
struct Awaited: Sendable, Hashable {
  let peer: Int
  let place: Int
}

/// A move that was asked for here and is another node's to do.
struct MoveRequest: Sendable, Hashable {
  let vip: Int
  let ticket: UInt64
  let owner: Int
  let move: UInt64
  var target: String?
  let until: Instant
}

extension Node {
  /// How long the target may take to answer.
  static let longestPreparation = Duration.seconds(1)
  /// How long those who are to leave the VIP to the target may take to say so. Without their answer the move goes on: they may be of
  /// another version, or dead.
  static let longestAgreement = Duration.milliseconds(20)
  /// How long the answer may wait for the target's word after its adverts were heard.
  static let longestConfirmation = Duration.seconds(1)
  static let mostRequests = 64

  // MARK: The owner: asking

  /// Begins to hand a VIP, and its group, to a peer, or to the best one.
  mutating func beginHandOver(
    _ vip: Int, to target: Int?, move: UInt64, origin: HandOver.Origin, at now: Instant, _ emit: (Effect) -> Void
  ) {
    let moving = companions(of: vip)
    if let why = hindrance(moving) { return answer(origin, move: move, refusing: why, emit) }
    let isNamed = target != nil
    guard let target = target ?? successor(of: moving) else {
      let why = coordination.peers.indices.compactMap { peer in
        moving.compactMap { reluctance(of: peer, for: $0) }.first
      }
      let reasons = why.isEmpty ? "there are no peers" : why.joined(separator: "; ")
      return answer(origin, move: move, refusing: "no node can take it: \(reasons)", emit)
    }
    for vip in moving {
      // One that takes no part now is asked all the same, where it was named: it alone knows why, and says it.
      guard let why = reluctance(of: target, for: vip), !isNamed || !canTell(target, of: vip) else { continue }
      return answer(origin, move: move, refusing: why, emit)
    }
    var awaited: [Awaited] = []
    for peer in coordination.peers.indices where coordination.peers[peer].isUp && peer != target {
      for place in moving.indices { awaited.append(Awaited(peer: peer, place: place)) }
    }
    coordination.handOvers.append(
      HandOver(
        move: move, vips: moving, target: target, origin: origin, until: now.later(by: Self.longestPreparation),
        asked: now, awaited: awaited, ready: moving.map { _ in false }, taken: moving.map { _ in false }))
    // They go by what they know of this node.
    tellPeersNow(at: now, emit)
    for asked in awaited {
      let name = vips[moving[asked.place]].settings.name
      emit(.tell(peer: asked.peer, .leave(vip: name, to: coordination.peers[target].name, move: move)))
    }
    for vip in moving {
      coordination.standings[vip].isHandedOver = true
      emit(.tell(peer: target, .prepare(vip: vips[vip].settings.name, move: move)))
    }
    coordination.isDirty = true
  }

  /// Whether a peer can be asked why it can't take a VIP.
  private func canTell(_ peer: Int, of vip: Int) -> Bool {
    guard coordination.peers[peer].isUp, coordination.peers[peer].vips.indices.contains(vip),
      let report = coordination.peers[peer].vips[vip]
    else { return false }
    return report.priority > 0
  }

  /// Why this node can't hand these VIPs over.
  private func hindrance(_ moving: [Int]) -> String? {
    if phase != .running { return "\(settings.name) is \(phase == .idle ? "starting" : "stopping")" }
    if coordination.standby != .no { return "\(settings.name) goes to standby" }
    for vip in moving {
      let name = vips[vip].settings.name
      if !vips[vip].hasElection { return "\(name) has a fixed owner (election: static)" }
      if let pending = coordination.handOvers.first(where: { $0.vips.contains(vip) }) {
        return "\(name) is being handed over to \(coordination.peers[pending.target].name) already"
      }
      guard vips[vip].machine.state == .active, case .held = vips[vip].holding else {
        return "\(settings.name) does not own \(name)"
      }
    }
    return nil
  }

  // MARK: The owner: letting go

  mutating func targetReady(_ name: String, move: UInt64, _ peer: Int, at now: Instant, _ emit: (Effect) -> Void) {
    guard let index = coordination.handOvers.firstIndex(where: { $0.move == move }),
      coordination.handOvers[index].phase == .preparing, let vip = settings.vip(named: name),
      let place = coordination.handOvers[index].vips.firstIndex(of: vip)
    else { return coordination.counters.ignored &+= 1 }
    if peer == coordination.handOvers[index].target {
      guard !coordination.handOvers[index].ready[place] else { return coordination.counters.ignored &+= 1 }
      coordination.handOvers[index].ready[place] = true
      coordination.handOvers[index].answered = now - coordination.handOvers[index].asked
    } else {
      coordination.handOvers[index].awaited.removeAll { $0 == Awaited(peer: peer, place: place) }
    }
    letGoIfAgreed(index, at: now, emit)
  }

  /// The target is ready for all VIPs, and all who might be quicker know of it, or had their time.
  private mutating func letGoIfAgreed(_ index: Int, at now: Instant, _ emit: (Effect) -> Void) {
    guard coordination.handOvers[index].phase == .preparing, coordination.handOvers[index].ready.allSatisfy({ $0 })
    else { return }
    let agreement = coordination.handOvers[index].asked.later(by: Self.longestAgreement)
    if !coordination.handOvers[index].awaited.isEmpty, now < agreement {
      coordination.handOvers[index].until = agreement
      coordination.isDirty = true
      return
    }
    let peer = coordination.handOvers[index].target
    let moving = coordination.handOvers[index].vips
    if let why = moving.compactMap({ lossOf($0) }).first { return abandon(index, because: why, at: now, emit) }
    coordination.handOvers[index].phase = .draining
    // Each VIP's own limit ends its drain; this is behind all of them.
    let longest = moving.map { vips[$0].settings.drain }.max() ?? .zero
    coordination.handOvers[index].until = now.later(by: longest + Self.drainMargin * 3)
    emit(.report(.handOver(vip: moving[0], to: coordination.peers[peer].name)))
    for vip in moving {
      letGo(
        vip: vip, within: vips[vip].settings.drain, because: .handedTo(coordination.peers[peer].name), at: now, emit)
    }
  }

  /// Connections have ended, and the priority 0 comes next. The word to the peers goes first, for it takes longer than an advert.
  mutating func lettingGo(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    guard let index = coordination.handOvers.firstIndex(where: { $0.vips.contains(vip) }) else { return }
    let handOver = coordination.handOvers[index]
    if handOver.phase == .draining {
      coordination.handOvers[index].phase = .handing(since: now)
      let interval = handOver.vips.map { vips[$0].machine.interval }.max() ?? .zero
      // As long as an advert may be late. A plain VRRP whose priority 0 is lost has no owner for more than three intervals.
      let patience = max(interval, .milliseconds(20))
      // A word that took longer than `prepare` by that much is not followed. `prepare` itself took no longer than its answer.
      coordination.handOvers[index].until = now.later(by: patience + handOver.answered)
      let freshness = PeerMessage.Freshness(after: now - handOver.asked, within: patience)
      let target = coordination.peers[handOver.target].name
      for vip in handOver.vips {
        tellAll(.moved(vip: vips[vip].settings.name, to: target, move: handOver.move, freshness: freshness), emit)
      }
    }
    coordination.standings[vip].leftAlone = LeftAlone(peer: handOver.target, owner: nil, previous: nil)
    elect(vip: vip, .preempt(false), at: now, emit)
    coordination.isDirty = true
  }

  mutating func targetTook(_ name: String, move: UInt64, _ peer: Int, at now: Instant, _ emit: (Effect) -> Void) {
    guard let (index, place) = handOver(of: name, move, with: peer),
      case .handing(let since) = coordination.handOvers[index].phase
    else { return coordination.counters.ignored &+= 1 }
    coordination.handOvers[index].taken[place] = true
    if coordination.handOvers[index].taken.allSatisfy({ $0 }) { coordination.handOvers[index].vacant = now - since }
  }

  private func handOver(of name: String, _ move: UInt64, with peer: Int) -> (index: Int, place: Int)? {
    guard let vip = settings.vip(named: name),
      let index = coordination.handOvers.firstIndex(where: { $0.move == move && $0.target == peer }),
      let place = coordination.handOvers[index].vips.firstIndex(of: vip)
    else { return nil }
    return (index, place)
  }

  /// Why a VIP that is to be handed over is no longer this node's to hand over.
  private func lossOf(_ vip: Int) -> String? {
    if vips[vip].settings.isVacant { return "it was removed from the configuration" }
    if vips[vip].machine.state != .active || !vips[vip].isHeld {
      return "\(settings.name) lost \(vips[vip].settings.name) meanwhile (\(vips[vip].reason))"
    }
    return nil
  }

  // MARK: The owner: how it ends

  /// Looks at moves under way after every change.
  mutating func settleHandOvers(at now: Instant, _ emit: (Effect) -> Void) {
    var index = 0
    while index < coordination.handOvers.count {
      let count = coordination.handOvers.count
      settleHandOver(index, at: now, emit)
      if coordination.handOvers.count == count { index += 1 }
    }
  }

  private mutating func settleHandOver(_ index: Int, at now: Instant, _ emit: (Effect) -> Void) {
    let handOver = coordination.handOvers[index]
    guard case .handing(let since) = handOver.phase else {
      if let why = handOver.vips.compactMap({ lossOf($0) }).first { abandon(index, because: why, at: now, emit) }
      return
    }
    if handOver.taken.allSatisfy({ $0 }) { return complete(index, emit) }
    guard !handOver.isSettled, handOver.vips.indices.allSatisfy({ isOwned(handOver, $0, since: since) }) else { return }
    coordination.handOvers[index].isSettled = true
    coordination.handOvers[index].until = now.later(by: Self.longestConfirmation)
  }

  /// Somebody took the VIP with that place since it was let go.
  private func isOwned(_ handOver: HandOver, _ place: Int, since: Instant) -> Bool {
    if handOver.taken[place] { return true }
    guard let owner = vips[handOver.vips[place]].machine.owner else { return false }
    return owner.heard >= since
  }

  mutating func handOversDue(at now: Instant, _ emit: (Effect) -> Void) {
    var index = 0
    while index < coordination.handOvers.count {
      let handOver = coordination.handOvers[index]
      guard handOver.until <= now else {
        index += 1
        continue
      }
      let target = coordination.peers[handOver.target].name
      switch handOver.phase {
      case .preparing where handOver.ready.allSatisfy({ $0 }): letGoIfAgreed(index, at: now, emit)
      case .preparing: abandon(index, because: "\(target) did not answer within a second", at: now, emit)
      case .draining: abandon(index, because: "its connections could not be ended", at: now, emit)
      case .handing(let since):
        if handOver.vips.indices.allSatisfy({ isOwned(handOver, $0, since: since) }) {
          complete(index, emit)
        } else {
          takeBack(index, at: now, emit)
        }
      }
    }
  }

  /// Nobody took it: this node does, at once.
  private mutating func takeBack(_ index: Int, at now: Instant, _ emit: (Effect) -> Void) {
    let handOver = end(index)
    let target = coordination.peers[handOver.target].name
    callOff(handOver, because: "\(settings.name) has taken it back", emit)
    for vip in handOver.vips {
      forgetLeftAlone(vip, at: now, emit)
      guard phase == .running, obstacle(vip, at: now) == nil else { continue }
      elect(vip: vip, .takeOver(.handedBy(target)), at: now, emit)
    }
    let back = handOver.vips.allSatisfy { vips[$0].machine.state == .active }
    let why = "\(target) did not take it over; \(back ? "\(settings.name) owns it again" : "the election decides")"
    emit(.report(.handOverFailed(vip: handOver.vips[0], to: target, reason: why)))
    answer(handOver.origin, move: handOver.move, refusing: why, emit)
  }

  private mutating func complete(_ index: Int, _ emit: (Effect) -> Void) {
    let handOver = end(index)
    let target = coordination.peers[handOver.target].name
    guard handOver.taken.allSatisfy({ $0 }) else {
      // Without its word. Adverts don't say a name, and who sends them may have died before it had the addresses.
      let isElsewhere = coordination.peers.indices.contains { peer in
        peer != handOver.target && handOver.vips.contains { coordination.peers[peer].owns($0) }
      }
      let why =
        isElsewhere
        ? "another node than \(target) took it over"
        : "\(target) did not say that it has it, though somebody advertises it: `roost status` tells who"
      emit(.report(.handOverFailed(vip: handOver.vips[0], to: target, reason: why)))
      return answer(handOver.origin, move: handOver.move, refusing: why, emit)
    }
    emit(.report(.handedOver(vip: handOver.vips[0], to: target, vacant: handOver.vacant)))
    switch handOver.origin {
    case .ticket(let ticket): emit(.answer(ticket: ticket, .moved(to: target, vacant: handOver.vacant)))
    case .peer(let peer):
      if coordination.peers.indices.contains(peer), coordination.peers[peer].isUp {
        emit(.tell(peer: peer, .moveEnded(move: handOver.move, error: nil, vacant: handOver.vacant)))
      }
    }
  }

  /// Ends a move before anything was let go. Connections that were being ended are served on.
  mutating func abandon(_ index: Int, because why: String, at now: Instant, _ emit: (Effect) -> Void) {
    let handOver = end(index)
    let target = coordination.peers[handOver.target].name
    callOff(handOver, because: why, emit)
    for vip in handOver.vips {
      coordination.standings[vip].isDrained = false
      guard phase == .running, handOver.phase == .draining, vips[vip].machine.state == .active,
        case .closing(let generation, _, let lease, leaving: true) = vips[vip].holding
      else { continue }
      vips[vip].holding = .held(generation: generation, until: lease)
      vips[vip].departure = .leave
      // The same generation again: the addresses stay, the proxy accepts as before.
      emit(.take(vip: vip, generation: generation, lease: vips[vip].settings.lease, announcing: true))
      rearm(vip)
    }
    emit(.report(.handOverFailed(vip: handOver.vips[0], to: target, reason: why)))
    answer(handOver.origin, move: handOver.move, refusing: why, emit)
  }

  /// Neither the target nor those who were to leave it the VIP wait for the move any longer.
  private func callOff(_ handOver: HandOver, because why: String, _ emit: (Effect) -> Void) {
    for vip in handOver.vips {
      tellAll(.refused(vip: vips[vip].settings.name, move: handOver.move, reason: why), emit)
    }
  }

  private mutating func end(_ index: Int) -> HandOver {
    let handOver = coordination.handOvers.remove(at: index)
    for vip in handOver.vips { coordination.standings[vip].isHandedOver = false }
    coordination.isDirty = true
    return handOver
  }

  /// Ends what can still be ended, as when this node stops.
  mutating func abandonHandOvers(because why: String, at now: Instant, _ emit: (Effect) -> Void) {
    var index = 0
    while index < coordination.handOvers.count {
      if case .handing = coordination.handOvers[index].phase {
        index += 1
      } else {
        abandon(index, because: why, at: now, emit)
      }
    }
  }

  /// The link to a peer is down. What was let go is decided by adverts.
  mutating func handOversLost(with peer: Int, at now: Instant, _ emit: (Effect) -> Void) {
    coordination.promises.removeAll { $0.owner == peer }
    var index = 0
    while index < coordination.handOvers.count {
      let handOver = coordination.handOvers[index]
      if case .handing = handOver.phase {
        index += 1
      } else if handOver.target != peer {
        let count = coordination.handOvers.count
        coordination.handOvers[index].awaited.removeAll { $0.peer == peer }
        letGoIfAgreed(index, at: now, emit)
        if coordination.handOvers.count == count { index += 1 }
      } else {
        abandon(index, because: "the link to \(coordination.peers[peer].name) went down", at: now, emit)
      }
    }
    let name = coordination.peers[peer].name
    for request in coordination.requests where request.owner == peer {
      emit(
        .answer(ticket: request.ticket, .refused("the link to \(name), the owner, went down; ask again who owns it")))
    }
    coordination.requests.removeAll { $0.owner == peer }
  }

  /// The target says no; or the owner says that it will not let go after all.
  mutating func moveRefused(
    _ name: String, move: UInt64, by peer: Int, _ reason: String, at now: Instant, _ emit: (Effect) -> Void
  ) {
    if let vip = settings.vip(named: name), calledOff(vip, move: move, by: peer, at: now, emit) { return }
    if let (index, _) = handOver(of: name, move, with: peer) {
      if case .handing = coordination.handOvers[index].phase { return }
      return abandon(index, because: reason, at: now, emit)
    }
    let promises = coordination.promises.count
    coordination.promises.removeAll { $0.owner == peer && $0.move == move && settings.vip(named: name) == $0.vip }
    if coordination.promises.count == promises { coordination.counters.ignored &+= 1 }
  }
}
