import Basis
import Peering
import VRRP

// What people ask of a running node. Each ticket is answered exactly once.

extension Node {
  /// How long the owner may take with a move that was asked for here, beyond its drain: preparation, letting go, confirmation.
  static let longestMove = Duration.seconds(5)

  /// `Event.command`.
  mutating func commanded(_ command: Command, ticket: UInt64, at now: Instant, _ emit: (Effect) -> Void) {
    coordination.isDirty = true
    guard phase == .running else {
      let word = phase == .idle ? "starting" : "stopping"
      return emit(.answer(ticket: ticket, .refused("\(settings.name) is \(word)")))
    }
    switch command {
    case .move(let vip, let target): move(vip, to: target, ticket: ticket, at: now, emit)
    case .standby:
      if coordination.standby == .no, let why = abandonment() {
        return emit(.answer(ticket: ticket, .refused(why)))
      }
      goToStandby(ticket: ticket, at: now, emit)
    case .standbyAnyway: goToStandby(ticket: ticket, at: now, emit)
    case .resume: resume(ticket: ticket, at: now, emit)
    }
  }

  func answer(_ origin: HandOver.Origin, move: UInt64, refusing why: String, _ emit: (Effect) -> Void) {
    switch origin {
    case .ticket(let ticket): emit(.answer(ticket: ticket, .refused(why)))
    case .peer(let peer):
      if coordination.peers.indices.contains(peer), coordination.peers[peer].isUp {
        emit(.tell(peer: peer, .moveEnded(move: move, error: why, vacant: nil)))
      }
    }
  }

  // MARK: Move

  private mutating func move(
    _ vip: Int, to target: Command.Target, ticket: UInt64, at now: Instant, _ emit: (Effect) -> Void
  ) {
    func refuse(_ why: String) { emit(.answer(ticket: ticket, .refused(why))) }
    guard vips.indices.contains(vip), !vips[vip].settings.isVacant else { return refuse("there is no such VIP") }
    let name = vips[vip].settings.name
    // Where it takes no part itself it asks the owner all the same.
    if case .fixed(owner: true) = vips[vip].settings.election {
      return refuse("\(settings.name) is the fixed owner of \(name) (election: static): no other node can have it")
    }
    if case .peer(let peer) = target, !coordination.peers.indices.contains(peer) {
      return refuse("there is no such node")
    }

    if vips[vip].machine.state == .active {
      switch target {
      case .thisNode: emit(.answer(ticket: ticket, .already(settings.name)))
      case .best: beginHandOver(vip, to: nil, move: nextMove(), origin: .ticket(ticket), at: now, emit)
      case .peer(let peer): beginHandOver(vip, to: peer, move: nextMove(), origin: .ticket(ticket), at: now, emit)
      }
      return
    }
    guard let owner = coordination.peers.indices.first(where: { coordination.peers[$0].owns(vip) }) else {
      return refuse(unknownOwner(of: vip))
    }
    if target == .peer(owner) {
      return emit(.answer(ticket: ticket, .already(coordination.peers[owner].name)))
    }
    if target == .thisNode, coordination.standby != .no {
      return refuse("\(settings.name) is in standby: `roost node resume` ends that")
    }
    guard coordination.requests.count < Self.mostRequests else { return refuse("too many moves are asked for already") }
    let to: String? =
      switch target {
      case .best: nil
      case .thisNode: settings.name
      case .peer(let peer): coordination.peers[peer].name
      }
    let move = nextMove()
    let patience = Self.longestMove + companions(of: vip).map { vips[$0].settings.drain }.reduce(.zero, max)
    coordination.requests.append(
      MoveRequest(vip: vip, ticket: ticket, owner: owner, move: move, target: to, until: now.later(by: patience)))
    emit(.tell(peer: owner, .moveRequest(vip: name, to: to, move: move)))
  }

  /// Why the owner can't be asked.
  private func unknownOwner(of vip: Int) -> String {
    let name = vips[vip].settings.name
    if coordination.peers.allSatisfy({ $0.name.isEmpty }) {
      return
        "\(settings.name) does not own \(name), and can't ask who does: without cluster.secret there is no peer link"
    }
    let unlinked = coordination.peers.filter { !$0.isUp && !$0.name.isEmpty }.map(\.name)
    guard !unlinked.isEmpty else {
      return "no node owns \(name) now, so there is nothing to move: `roost status` on each node says why it doesn't"
    }
    return
      "no node that \(settings.name) has a link to owns \(name), and there is no link to \(unlinked.joined(separator: ", ")): "
      + "`roost status` says why; or ask on the owner itself"
  }

  private mutating func nextMove() -> UInt64 { coordination.random.next() }

  /// A person asked for it on another node.
  mutating func moveRequested(
    _ name: String, to node: String?, move: UInt64, by peer: Int, at now: Instant, _ emit: (Effect) -> Void
  ) {
    // The same once more, or late.
    if coordination.handOvers.contains(where: { $0.move == move }) { return coordination.counters.ignored &+= 1 }
    let origin = HandOver.Origin.peer(peer)
    guard let vip = settings.vip(named: name) else {
      return answer(origin, move: move, refusing: "\(settings.name) has no VIP \(name)", emit)
    }
    if node == settings.name, vips[vip].machine.state == .active {
      // Asked by one who did not know yet: it is as it was wished.
      if coordination.peers.indices.contains(peer), coordination.peers[peer].isUp {
        emit(.tell(peer: peer, .moveEnded(move: move, error: nil, vacant: nil)))
      }
      return
    }
    let target = node.map { settings.peer(named: $0) }
    if let node, target == .some(nil) {
      return answer(origin, move: move, refusing: "\(settings.name) knows no node \(node)", emit)
    }
    beginHandOver(vip, to: target ?? nil, move: move, origin: origin, at: now, emit)
  }

  mutating func moveEnded(
    move: UInt64, error: String?, vacant: Duration?, by peer: Int, _ emit: (Effect) -> Void
  ) {
    guard let index = coordination.requests.firstIndex(where: { $0.owner == peer && $0.move == move }) else {
      return coordination.counters.ignored &+= 1
    }
    let request = coordination.requests.remove(at: index)
    if let error { return emit(.answer(ticket: request.ticket, .refused(error))) }
    // A peer's number is only a number: nothing is computed with it.
    let target = request.target ?? "another node"
    emit(.answer(ticket: request.ticket, .moved(to: target, vacant: vacant)))
  }

  mutating func requestsDue(at now: Instant, _ emit: (Effect) -> Void) {
    for request in coordination.requests where request.until <= now {
      let owner = coordination.peers[request.owner].name
      emit(
        .answer(
          ticket: request.ticket, .refused("\(owner), the owner, did not answer; `roost status` shows who owns it")))
    }
    coordination.requests.removeAll { $0.until <= now }
  }

  /// Before a polite stop: nobody is left without an answer.
  mutating func endCommands(at now: Instant, _ emit: (Effect) -> Void) {
    let why = "\(settings.name) is stopping"
    abandonHandOvers(because: why, at: now, emit)
    for handOver in coordination.handOvers { answer(handOver.origin, move: handOver.move, refusing: why, emit) }
    coordination.handOvers.removeAll()
    for request in coordination.requests { emit(.answer(ticket: request.ticket, .refused(why))) }
    coordination.requests.removeAll()
    if case .leaving(let tickets, _) = coordination.standby {
      for ticket in tickets { emit(.answer(ticket: ticket, .refused(why))) }
      coordination.standby = .yes
    }
    for vip in vips.indices { coordination.standings[vip].isHandedOver = false }
  }

  // MARK: Standby

  /// What would be nowhere if this node went to standby, and why, in words; nil where there is nothing, or nobody can tell: without
  /// peer links a node doesn't know whether there are others that could own a VIP.
  private func abandonment() -> String? {
    var names: [String] = []
    var reasons: [String] = []
    for vip in vips.indices where vips[vip].state == .active && !vips[vip].settings.isVacant {
      if case .fixed = vips[vip].settings.election {
        names.append(vips[vip].settings.name)
        add("\(settings.name) is its fixed owner (election: static)")
        continue
      }
      let peers = coordination.peers.indices.filter { !coordination.peers[$0].name.isEmpty }
      guard !peers.isEmpty, !peers.contains(where: { isWilling($0, for: vip) || coordination.peers[$0].owns(vip) })
      else { continue }
      names.append(vips[vip].settings.name)
      for peer in peers { if let why = reluctance(of: peer, for: vip) { add(why) } }
    }
    func add(_ why: String) { if !reasons.contains(why) { reasons.append(why) } }
    guard let first = names.first else { return nil }
    let what = names.count > 3 ? "\(first) and \(names.count - 1) other VIPs" : names.joined(separator: ", ")
    let why = reasons.prefix(4).joined(separator: "; ") + (reasons.count > 4 ? "; and \(reasons.count - 4) more" : "")
    return
      "nobody else can own \(what) now, which would be nowhere until another node can, or this one resumes: \(why). `roost node standby --force` does it all the same"
  }

  private mutating func goToStandby(ticket: UInt64, at now: Instant, _ emit: (Effect) -> Void) {
    switch coordination.standby {
    case .yes: return emit(.answer(ticket: ticket, .done))
    case .leaving(let tickets, let until):
      guard tickets.count < Self.mostRequests else {
        return emit(.answer(ticket: ticket, .refused("too many wait for it already")))
      }
      coordination.standby = .leaving(tickets: tickets + [ticket], until: until)
      return
    case .no: break
    }
    abandonHandOvers(because: "\(settings.name) goes to standby", at: now, emit)
    emit(.report(.standby))
    let longest = vips.filter(\.isHeld).map(\.settings.drain).max() ?? .zero
    coordination.standby = .leaving(
      tickets: [ticket], until: now.later(by: longest + Self.drainMargin * 2 + Self.longestRemoval))
    for vip in vips.indices where !vips[vip].settings.isVacant {
      if vips[vip].isHeld { leave(vip: vip, at: now, emit) } else { reconsider(vip: vip, at: now, emit) }
    }
  }

  /// Answers when nothing is held any more.
  mutating func settleStandby(_ emit: (Effect) -> Void) {
    guard case .leaving(let tickets, _) = coordination.standby, nothingIsHeld else { return }
    coordination.standby = .yes
    for ticket in tickets { emit(.answer(ticket: ticket, .done)) }
  }

  mutating func standbyDue(at now: Instant, _ emit: (Effect) -> Void) {
    guard case .leaving(let tickets, let until) = coordination.standby, until <= now else { return }
    coordination.standby = .yes
    for ticket in tickets {
      emit(.answer(ticket: ticket, .refused("in standby, but the kernel still removes addresses: see `roost status`")))
    }
  }

  private mutating func resume(ticket: UInt64, at now: Instant, _ emit: (Effect) -> Void) {
    if case .leaving(let tickets, _) = coordination.standby {
      for ticket in tickets { emit(.answer(ticket: ticket, .refused("this node was told to resume meanwhile"))) }
    }
    if coordination.standby != .no { emit(.report(.resumed)) }
    coordination.standby = .no
    for vip in vips.indices { reconsider(vip: vip, at: now, emit) }
    emit(.answer(ticket: ticket, .done))
  }
}
