import Basis
import VRRP
import Wire

// From an election's outcome to addresses on an interface, and back. The order is what matters here: connections end before
// the addresses go, the addresses go before anyone else is waited for, and a generation is over the moment `release` is emitted.

extension Node {
  /// How long connections may take to be reset when another node already owns the VIP.
  static let longestReset = Duration.milliseconds(20)
  /// A drain that does not report its end is taken for ended this long after its own limit.
  static let drainMargin = Duration.milliseconds(500)
  /// Renewals a lease: three may be lost before the kernel removes the address.
  static let renewalsPerLease: Int64 = 4

  // MARK: Reasons to take part, or not

  /// Why this node may not own the VIP now; nil where it may.
  func obstacle(_ vip: Int, at now: Instant) -> String? {
    if let obstacle = ownObstacle(vip, at: now) { return obstacle }
    // Not while connections are being finished: to leave politely takes as long as `drain` says.
    return vips[vip].isDraining ? nil : furtherObstacle(vip, at: now)
  }

  /// The same, by what belongs to this VIP alone.
  func ownObstacle(_ vip: Int, at now: Instant) -> String? {
    guard let link = vips[vip].link else { return "interface \(vips[vip].settings.interface) does not exist" }
    if !link.isUp { return "interface \(vips[vip].settings.interface) is down, or gone" }
    if vips[vip].hasElection, !link.canAdvertise {
      return "adverts can't be sent or heard on \(vips[vip].settings.interface) (the log says why)"
    }
    if vips[vip].hasElection, vips[vip].local == nil {
      if case .unicast = vips[vip].machine.settings.peers {
        return "interface \(vips[vip].settings.interface) lacks this node's own address, the source of unicast adverts"
      }
      return "interface \(vips[vip].settings.interface) has no address to send adverts from"
    }
    if vips[vip].hasServices, !workersAreHealthy { return "a proxy worker does not answer" }
    if let retry = vips[vip].retry, now < retry { return vips[vip].retryReason }
    return nil
  }

  /// Joins or leaves the election as the obstacles come and go.
  mutating func reconsider(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    guard phase == .running, vips[vip].pending == nil, !vips[vip].settings.isVacant else { return }
    defer { rearm(vip) }
    if case .fixed(owner: false) = vips[vip].settings.election {
      enter(.backup, vip: vip, because: "this node never owns it", at: now, emit)
      return
    }
    if let obstacle = obstacle(vip, at: now) {
      withdraw(vip: vip, because: obstacle, at: now, emit)
      return
    }
    switch vips[vip].settings.election {
    case .fixed(owner: true):
      if vips[vip].holding == .nothing { take(vip: vip, because: "configured as the owner", at: now, emit) }
    case .fixed(owner: false): break
    case .vrrp:
      guard let local = vips[vip].local else { return }
      if vips[vip].machine.state == .initialize {
        // Addresses that are still going away come first: a new generation must not meet the old one's removal.
        guard vips[vip].holding == .nothing, !mustListen(vip: vip, at: now, emit) else { return }
        elect(vip: vip, .startup(local: local), at: now, emit)
      } else {
        elect(vip: vip, .local(local), at: now, emit)
      }
    }
  }

  /// Leaves the election because of an obstacle. Where the link still works, a priority 0 lets a peer take over at once.
  mutating func withdraw(vip: Int, because obstacle: String, at now: Instant, _ emit: (Effect) -> Void) {
    let linkWorks = vips[vip].link?.isUp == true && vips[vip].link?.canAdvertise == true && vips[vip].local != nil
    if vips[vip].machine.state == .active || vips[vip].machine.state == .backup {
      elect(vip: vip, linkWorks ? .shutdown : .abandon(obstacle), at: now, emit)
    } else if vips[vip].isHeld {
      giveUp(vip: vip, politely: false, at: now, emit)
    }
    enter(.fault, vip: vip, because: obstacle, at: now, emit)
  }

  mutating func linkChanged(vip: Int, to state: LinkState, at now: Instant, _ emit: (Effect) -> Void) {
    guard vips[vip].link != state else { return }
    let wasUp = vips[vip].link?.isUp == true
    vips[vip].link = state
    if state.isUp, !wasUp { beginListening(vip: vip, at: now) }
    if !state.isUp { vips[vip].listening.until = nil }
    if phase == .running { reconsider(vip: vip, at: now, emit) }
    rearm(vip)
  }

  // MARK: The election

  mutating func advert(
    _ message: RawSpan, in envelope: Envelope, vip: Int, at now: Instant, _ emit: (Effect) -> Void
  ) {
    endWarmUp(vip: vip, hearing: envelope, at: now, emit)
    let accepted = vips[vip].machine.counters.accepted
    let losing = vips[vip].machine.counters.losing
    var outcomes: [VirtualRouter.Output] = []
    vips[vip].machine.receive(message, in: envelope, at: now) { output in
      if case .transmit(let message, let destination) = output {
        emit(.transmit(vip: vip, message: message, to: destination))
      } else {
        outcomes.append(output)
      }
    }
    for outcome in outcomes { elected(outcome, vip: vip, at: now, emit) }
    if vips[vip].state == .backup { explainOwner(vip) }
    if settings.hasWitnesses, vips[vip].machine.counters.accepted != accepted { heard(vip: vip, at: now, emit) }
    heardAdvert(vip, at: now, emit)
    if vips[vip].machine.counters.losing != losing, vips[vip].machine.state == .active {
      heardRival(vip, from: envelope.source, at: now, emit)
    }
    rearm(vip)
  }

  mutating func elect(
    vip: Int, _ input: VirtualRouter.Input, at now: Instant, _ emit: (Effect) -> Void
  ) {
    // Transmissions go straight on; the rare outcomes wait until the router is no longer being changed.
    var outcomes: [VirtualRouter.Output] = []
    vips[vip].machine.handle(input, at: now) { output in
      if case .transmit(let message, let destination) = output {
        emit(.transmit(vip: vip, message: message, to: destination))
      } else {
        outcomes.append(output)
      }
    }
    for outcome in outcomes { elected(outcome, vip: vip, at: now, emit) }
    rearm(vip)
  }

  mutating func elected(
    _ outcome: VirtualRouter.Output, vip: Int, at now: Instant, _ emit: (Effect) -> Void
  ) {
    switch outcome {
    case .transmit: break
    case .becameActive(let reason):
      take(vip: vip, because: reason.text { named($0, ofVIP: vip) }, at: now, emit)
    case .becameBackup(let reason):
      giveUp(vip: vip, politely: true, at: now, emit)
      askLater(vip: vip, at: now)
      enter(.backup, vip: vip, because: reason.text { named($0, ofVIP: vip) }, at: now, emit)
      vips[vip].explainedOwner = vips[vip].machine.owner?.address
      // Preempted while it was stopping: the other node is the owner, and nothing holds this one any longer.
      if isLeaving(vip) { depart(vip: vip, at: now, emit) }
    case .becameInitialize:
      giveUp(vip: vip, politely: false, at: now, emit)
      vips[vip].listening.ask = nil
      vips[vip].listening.heldBackAt = nil
      vips[vip].listening.rivalSince = nil
    case .announce:
      announce(vip: vip, emit)
    case .notice(let notice):
      emit(.report(.notice(vip: vip, notice)))
    }
  }

  /// Says nothing twice: a state and its reason are reported when the state changes, or a fault's reason does.
  mutating func enter(
    _ state: VirtualAddress.State, vip: Int, because reason: String, at now: Instant, _ emit: (Effect) -> Void
  ) {
    let isNew = vips[vip].state != state
    guard isNew || (state == .fault && vips[vip].reason != reason) else { return }
    vips[vip].state = state
    vips[vip].reason = reason
    emit(.report(.became(state, vip: vip, reason: reason)))
    guard isNew else { return }
    vips[vip].since = now
    changedVIPs.append(vip)
  }

  /// The state stays, and what is said of it is another thing now.
  mutating func explain(vip: Int, _ reason: String, _ emit: (Effect) -> Void) {
    guard vips[vip].reason != reason else { return }
    vips[vip].reason = reason
    emit(.report(.became(vips[vip].state, vip: vip, reason: reason)))
  }

  /// Why this node is a backup may have to do with an owner: when another one is heard, that is no longer true. It is no news of this
  /// node, so it is not reported.
  private mutating func explainOwner(_ vip: Int) {
    guard let owner = vips[vip].machine.owner, owner.address != vips[vip].explainedOwner else { return }
    defer { vips[vip].explainedOwner = owner.address }
    guard vips[vip].explainedOwner != nil else { return }
    vips[vip].reason = "\(named(owner.address, ofVIP: vip)) owns it (priority \(owner.priority))"
  }

  /// The VIP is on its way out of this node for good, and doesn't come back by an election.
  func isLeaving(_ vip: Int) -> Bool { phase != .running || vips[vip].pending != nil }

  // MARK: Holding addresses

  mutating func take(vip: Int, because reason: String, at now: Instant, _ emit: (Effect) -> Void) {
    // Still closing an earlier ownership: that generation ends first.
    if case .closing(let generation, _, _, _) = vips[vip].holding { emit(.release(vip: vip, generation: generation)) }
    vips[vip].generation += 1
    let generation = vips[vip].generation
    let lease = vips[vip].settings.lease
    vips[vip].holding = .held(generation: generation, until: lease.map { now + $0 })
    vips[vip].departure = .leave
    vips[vip].renewal = lease.map { Self.renewal(of: $0, after: now) }
    vips[vip].listening.ask = nil
    vips[vip].listening.heldBackAt = nil
    vips[vip].listening.rivalSince = nil
    vips[vip].defence = Defence()
    vips[vip].preparing = vips[vip].settings.preparation.map { now + $0 }
    let announcing = vips[vip].preparing == nil
    if announcing {
      vips[vip].announcements += 1
      beginBurst(vip: vip, at: now)
    } else {
      emit(.prepare(vip: vip, generation: generation))
    }
    emit(.take(vip: vip, generation: generation, lease: lease, announcing: announcing))
    enter(.active, vip: vip, because: reason, at: now, emit)
    rearm(vip)
  }

  /// The election is lost or left. Connections are reset while the addresses can still say so, then the addresses go.
  mutating func giveUp(vip: Int, politely: Bool, at now: Instant, _ emit: (Effect) -> Void) {
    vips[vip].announcement = nil
    vips[vip].preparing = nil
    vips[vip].defence.forget()
    switch vips[vip].holding {
    case .held(let generation, let until) where politely && vips[vip].hasServices:
      let limit = now + Self.longestReset
      vips[vip].holding = .closing(generation: generation, until: limit, lease: until, leaving: false)
      emit(.closeConnections(vip: vip, generation: generation, within: .zero))
    case .held(let generation, _):
      if vips[vip].hasServices { emit(.closeConnections(vip: vip, generation: generation, within: .zero)) }
      release(vip: vip, generation: generation, emit)
    case .closing(let generation, _, _, _):
      release(vip: vip, generation: generation, emit)
    case .nothing, .releasing: break
    }
    rearm(vip)
  }

  mutating func release(vip: Int, generation: UInt64, _ emit: (Effect) -> Void) {
    vips[vip].holding = .releasing(generation: generation)
    vips[vip].renewal = nil
    vips[vip].announcement = nil
    emit(.release(vip: vip, generation: generation))
  }

  /// A polite stop: the VIP is served on until its connections have ended, then the election is left with a priority 0.
  mutating func leave(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    vips[vip].departure = .leave
    vips[vip].retry = nil
    vips[vip].listening.until = nil
    // Whoever is draining already goes on with that.
    if !vips[vip].isDraining, !drain(vip: vip, within: vips[vip].settings.drain, at: now, emit) {
      depart(vip: vip, at: now, emit)
    }
    rearm(vip)
  }

  /// Gives an active VIP to another node, and stays in the election as its backup: when connections have ended, `lettingGo` is called, then
  /// priority 0 goes out and the addresses go.
  mutating func letGo(
    vip: Int, within limit: Duration, because reason: Reason, at now: Instant, _ emit: (Effect) -> Void
  ) {
    guard vips[vip].machine.state == .active, !isLeaving(vip) else { return }
    vips[vip].departure = .makeWay(reason)
    if !vips[vip].isDraining, !drain(vip: vip, within: limit, at: now, emit) {
      lettingGo(vip: vip, at: now, emit)
      elect(vip: vip, .makeWay(reason), at: now, emit)
    }
    rearm(vip)
  }

  /// Adverts and addresses go on while connections are being finished. False where there is nothing to finish.
  private mutating func drain(vip: Int, within limit: Duration, at now: Instant, _ emit: (Effect) -> Void) -> Bool {
    guard case .held(let generation, let until) = vips[vip].holding else { return false }
    let finishes = vips[vip].finishesConnections
    guard finishes || awaitsCompanions(vip) else { return false }
    let end = now + limit + Self.drainMargin
    vips[vip].holding = .closing(generation: generation, until: end, lease: until, leaving: true)
    coordination.standings[vip].isDrained = !finishes
    if finishes { emit(.closeConnections(vip: vip, generation: generation, within: limit)) }
    return true
  }

  mutating func depart(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    if vips[vip].machine.state != .initialize {
      elect(vip: vip, .shutdown, at: now, emit)
    } else {
      giveUp(vip: vip, politely: false, at: now, emit)
    }
    departed(vip: vip, at: now, emit)
  }

  /// The election is left: what is said of that depends on why.
  mutating func departed(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    if phase != .running {
      enter(.initialize, vip: vip, because: "stopping", at: now, emit)
    } else if let pending = vips[vip].pending {
      let reason = pending.isVacant ? "no longer configured" : "configured anew"
      enter(.initialize, vip: vip, because: reason, at: now, emit)
    } else if let obstacle = obstacle(vip, at: now) {
      enter(.fault, vip: vip, because: obstacle, at: now, emit)
    }
  }

  mutating func connectionsClosed(vip: Int, generation: UInt64, at now: Instant, _ emit: (Effect) -> Void) {
    guard vips.indices.contains(vip), case .closing(generation, _, _, let leaving) = vips[vip].holding else { return }
    closed(vip: vip, generation: generation, leaving: leaving, at: now, emit)
    replaceIfGone(vip: vip, at: now, emit)
    rearm(vip)
    stopIfNothingIsLeft(emit)
  }

  mutating func closed(
    vip: Int, generation: UInt64, leaving: Bool, at now: Instant, _ emit: (Effect) -> Void
  ) {
    guard leaving else { return release(vip: vip, generation: generation, emit) }
    for vip in departing(vip, at: now) {
      if case .makeWay(let reason) = vips[vip].departure, !isLeaving(vip) {
        lettingGo(vip: vip, at: now, emit)
        elect(vip: vip, .makeWay(reason), at: now, emit)
      } else {
        depart(vip: vip, at: now, emit)
      }
    }
  }
}
