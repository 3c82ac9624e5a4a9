import Basis
import VRRP
import Wire

// From an election's outcome to addresses on an interface, and back. The order is what matters here: connections end before
// the addresses go, the addresses go before anyone else is waited for, and a generation is over the moment `release` is emitted.

extension Node {
  /// Announcements after the first, which `take` makes: neighbours that missed one hear the next.
  static let announcementBurst: [Duration] = [.milliseconds(20), .milliseconds(100), .milliseconds(500), .seconds(2)]
  /// How long connections may take to be reset when another node already owns the VIP.
  static let longestReset = Duration.milliseconds(20)
  /// A drain that does not report its end is taken for ended this long after its own limit.
  static let drainMargin = Duration.milliseconds(500)
  /// Renewals a lease: three may be lost before the kernel removes the address.
  static let renewalsPerLease: Int64 = 4
  static let firstRetry = Duration.seconds(1)
  static let mostRetries = 6

  // MARK: Reasons to take part, or not

  /// Why this node may not own the VIP now; nil where it may.
  private func obstacle(_ vip: Int, at now: Instant) -> String? {
    let address = vips[vip]
    guard let link = address.link else { return "interface \(address.settings.interface) does not exist" }
    if !link.isUp { return "interface \(address.settings.interface) is down, or gone" }
    if address.router != nil, !link.canAdvertise {
      return "adverts can't be sent or heard on \(address.settings.interface) (the log says why)"
    }
    if let router = address.router, address.local == nil {
      if case .unicast = router.settings.peers {
        return "interface \(address.settings.interface) lacks this node's own address, the source of unicast adverts"
      }
      return "interface \(address.settings.interface) has no address to send adverts from"
    }
    if address.hasServices, !workersAreHealthy { return "a proxy worker does not answer" }
    if let retry = address.retry, now < retry { return "the kernel refused the address" }
    return nil
  }

  /// Joins or leaves the election as the obstacles come and go.
  mutating func reconsider(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    guard phase == .running else { return }
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
      if vips[vip].router?.state == .initialize {
        // Addresses that are still going away come first: a new generation must not meet the old one's removal.
        guard vips[vip].holding == .nothing else { return }
        elect(vip: vip, .startup(local: local), at: now, emit)
      } else {
        elect(vip: vip, .local(local), at: now, emit)
      }
    }
  }

  /// Leaves the election because of an obstacle. Where the link still works, a priority 0 lets a peer take over at once.
  private mutating func withdraw(vip: Int, because obstacle: String, at now: Instant, _ emit: (Effect) -> Void) {
    let linkWorks = vips[vip].link?.isUp == true && vips[vip].link?.canAdvertise == true && vips[vip].local != nil
    if vips[vip].router?.state == .active || vips[vip].router?.state == .backup {
      elect(vip: vip, linkWorks ? .shutdown : .abandon(obstacle), at: now, emit)
    } else if vips[vip].router == nil, vips[vip].isHeld {
      giveUp(vip: vip, politely: false, at: now, emit)
    }
    enter(.fault, vip: vip, because: obstacle, at: now, emit)
  }

  mutating func linkChanged(vip: Int, to state: LinkState, at now: Instant, _ emit: (Effect) -> Void) {
    guard vips[vip].link != state else { return }
    vips[vip].link = state
    if phase == .running { reconsider(vip: vip, at: now, emit) }
  }

  // MARK: The election

  mutating func advert(
    _ message: RawSpan, in envelope: Envelope, vip: Int, at now: Instant, _ emit: (Effect) -> Void
  ) {
    var outcomes: [VirtualRouter.Output] = []
    vips[vip].router?.receive(message, in: envelope, at: now) { output in
      if case .transmit(let message, let destination) = output {
        emit(.transmit(vip: vip, message: message, to: destination))
      } else {
        outcomes.append(output)
      }
    }
    for outcome in outcomes { elected(outcome, vip: vip, at: now, emit) }
    rearm(vip)
  }

  private mutating func elect(
    vip: Int, _ input: VirtualRouter.Input, at now: Instant, _ emit: (Effect) -> Void
  ) {
    // Transmissions go straight on; the rare outcomes wait until the router is no longer being changed.
    var outcomes: [VirtualRouter.Output] = []
    vips[vip].router?.handle(input, at: now) { output in
      if case .transmit(let message, let destination) = output {
        emit(.transmit(vip: vip, message: message, to: destination))
      } else {
        outcomes.append(output)
      }
    }
    for outcome in outcomes { elected(outcome, vip: vip, at: now, emit) }
  }

  private mutating func elected(
    _ outcome: VirtualRouter.Output, vip: Int, at now: Instant, _ emit: (Effect) -> Void
  ) {
    switch outcome {
    case .transmit: break
    case .becameActive(let reason):
      take(vip: vip, because: "\(reason)", at: now, emit)
    case .becameBackup(let reason):
      giveUp(vip: vip, politely: true, at: now, emit)
      enter(.backup, vip: vip, because: "\(reason)", at: now, emit)
      // Preempted while it was stopping: the other node is the owner, and nothing holds this one any longer.
      if phase == .stopping { depart(vip: vip, at: now, emit) }
    case .becameInitialize:
      giveUp(vip: vip, politely: false, at: now, emit)
      if phase != .running { enter(.initialize, vip: vip, because: "stopping", at: now, emit) }
    case .announce:
      announce(vip: vip, emit)
    case .notice(let notice):
      emit(.report(.notice(vip: vip, notice)))
    }
  }

  /// Says nothing twice: a state and its reason are reported when the state changes, or a fault's reason does.
  private mutating func enter(
    _ state: VirtualAddress.State, vip: Int, because reason: String, at now: Instant, _ emit: (Effect) -> Void
  ) {
    let isNew = vips[vip].state != state
    guard isNew || (state == .fault && vips[vip].reason != reason) else { return }
    vips[vip].state = state
    vips[vip].reason = reason
    if isNew { vips[vip].since = now }
    emit(.report(.became(state, vip: vip, reason: reason)))
  }

  // MARK: Holding addresses

  private mutating func take(vip: Int, because reason: String, at now: Instant, _ emit: (Effect) -> Void) {
    // Still closing an earlier ownership: that generation ends first.
    if case .closing(let generation, _, _, _) = vips[vip].holding { emit(.release(vip: vip, generation: generation)) }
    vips[vip].generation += 1
    let generation = vips[vip].generation
    let lease = vips[vip].settings.lease
    vips[vip].holding = .held(generation: generation, until: lease.map { now + $0 })
    vips[vip].renewal = lease.map { now + $0 / Self.renewalsPerLease }
    vips[vip].announced = 0
    vips[vip].announcement = now + Self.announcementBurst[0]
    vips[vip].announcements += 1
    emit(.take(vip: vip, generation: generation, lease: lease))
    enter(.active, vip: vip, because: reason, at: now, emit)
    rearm(vip)
  }

  /// The election is lost or left. Connections are reset while the addresses can still say so, then the addresses go.
  private mutating func giveUp(vip: Int, politely: Bool, at now: Instant, _ emit: (Effect) -> Void) {
    vips[vip].announcement = nil
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

  private mutating func release(vip: Int, generation: UInt64, _ emit: (Effect) -> Void) {
    vips[vip].holding = .releasing(generation: generation)
    vips[vip].renewal = nil
    vips[vip].announcement = nil
    emit(.release(vip: vip, generation: generation))
  }

  /// A polite stop: the VIP is served on until its connections have ended, then the election is left with a priority 0.
  mutating func leave(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    defer { rearm(vip) }
    vips[vip].retry = nil
    if case .held(let generation, let until) = vips[vip].holding, vips[vip].hasServices, vips[vip].link?.isUp == true {
      let drain = vips[vip].settings.drain
      let limit = now + drain + Self.drainMargin
      vips[vip].holding = .closing(generation: generation, until: limit, lease: until, leaving: true)
      emit(.closeConnections(vip: vip, generation: generation, within: drain))
      return
    }
    depart(vip: vip, at: now, emit)
  }

  private mutating func depart(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    if let router = vips[vip].router, router.state != .initialize {
      elect(vip: vip, .shutdown, at: now, emit)
    } else {
      giveUp(vip: vip, politely: false, at: now, emit)
      enter(.initialize, vip: vip, because: "stopping", at: now, emit)
    }
  }

  mutating func connectionsClosed(vip: Int, generation: UInt64, at now: Instant, _ emit: (Effect) -> Void) {
    guard vips.indices.contains(vip), case .closing(generation, _, _, let leaving) = vips[vip].holding else { return }
    closed(vip: vip, generation: generation, leaving: leaving, at: now, emit)
    rearm(vip)
    stopIfNothingIsLeft(emit)
  }

  private mutating func closed(
    vip: Int, generation: UInt64, leaving: Bool, at now: Instant, _ emit: (Effect) -> Void
  ) {
    if leaving {
      depart(vip: vip, at: now, emit)
    } else {
      release(vip: vip, generation: generation, emit)
    }
  }

  private mutating func announce(vip: Int, _ emit: (Effect) -> Void) {
    guard case .held(let generation, _) = vips[vip].holding else { return }
    vips[vip].announcements += 1
    emit(.announce(vip: vip, generation: generation))
  }

  // MARK: Reports and deadlines

  mutating func addressReport(_ report: AddressReport, vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    guard vips.indices.contains(vip) else { return }
    switch report {
    case .added(let generation, let until), .renewed(let generation, let until):
      extend(vip: vip, generation: generation, until: until)
    case .removed(let generation):
      guard vips[vip].holding == .releasing(generation: generation) else { return }
      vips[vip].holding = .nothing
      reconsider(vip: vip, at: now, emit)
    case .failed(let generation, let code):
      guard vips[vip].generation == generation else { return }
      if vips[vip].isHeld {
        refused(vip: vip, code: code, at: now, emit)
      } else if vips[vip].holding == .releasing(generation: generation) {
        // The kernel would not even remove them. Their lease will; waiting for an answer that never comes helps nobody.
        emit(.report(.addressRefused(vip: vip, code: code)))
        vips[vip].holding = .nothing
        reconsider(vip: vip, at: now, emit)
      }
    case .vanished(let generation):
      guard vips[vip].isHeld, vips[vip].generation == generation else { return }
      lost(vip: vip, at: now, emit)
    case .putBack(let generation):
      guard vips[vip].isHeld, vips[vip].generation == generation else { return }
      emit(.report(.addressPutBack(vip: vip)))
    case .revoked, .claimed, .duplicate: break
    }
    rearm(vip)
    stopIfNothingIsLeft(emit)
  }

  private mutating func extend(vip: Int, generation: UInt64, until: Instant?) {
    switch vips[vip].holding {
    case .held(generation, _):
      vips[vip].holding = .held(generation: generation, until: until)
      vips[vip].refusals = 0
    case .closing(generation, let limit, _, let leaving):
      vips[vip].holding = .closing(generation: generation, until: limit, lease: until, leaving: leaving)
    default: break
    }
  }

  /// The kernel would not have the addresses: a peer should, and this node tries again later and later.
  private mutating func refused(vip: Int, code: Int32, at now: Instant, _ emit: (Effect) -> Void) {
    emit(.report(.addressRefused(vip: vip, code: code)))
    let pause = Self.firstRetry * (1 << min(vips[vip].refusals, Self.mostRetries))
    vips[vip].refusals += 1
    vips[vip].retry = now + pause
    if phase == .running {
      reconsider(vip: vip, at: now, emit)
    } else {
      depart(vip: vip, at: now, emit)
    }
  }

  /// An address that expired means Backup: somebody else may own it by now.
  private mutating func lost(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    emit(.report(.addressLost(vip: vip)))
    if phase != .running {
      depart(vip: vip, at: now, emit)
      return
    }
    giveUp(vip: vip, politely: false, at: now, emit)
    elect(vip: vip, .yield, at: now, emit)
  }

  /// Before anything else is made of the time: a node that slept past a lease must not send another advert as the owner, not even
  /// the one with which an owner answers what it hears.
  mutating func endLeases(at now: Instant, _ emit: (Effect) -> Void) {
    guard let due = deadline, due <= now else { return }
    for vip in vips.indices {
      switch vips[vip].holding {
      case .held(_, let until?) where until <= now: lost(vip: vip, at: now, emit)
      case .closing(_, _, let lease?, _) where lease <= now: lost(vip: vip, at: now, emit)
      default: continue
      }
      rearm(vip)
    }
  }

  mutating func ownershipTimer(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    defer { rearm(vip) }
    switch vips[vip].holding {
    case .closing(let generation, let until, _, let leaving) where until <= now:
      closed(vip: vip, generation: generation, leaving: leaving, at: now, emit)
    default: break
    }
    if let renewal = vips[vip].renewal, renewal <= now { renew(vip: vip, at: now, emit) }
    if let due = vips[vip].announcement, due <= now { continueBurst(vip: vip, from: due, at: now, emit) }
    if let retry = vips[vip].retry, retry <= now {
      vips[vip].retry = nil
      reconsider(vip: vip, at: now, emit)
    }
    if let due = vips[vip].router?.deadline, due <= now { elect(vip: vip, .timer, at: now, emit) }
  }

  private mutating func renew(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    guard vips[vip].isHeld, let lease = vips[vip].settings.lease else {
      vips[vip].renewal = nil
      return
    }
    vips[vip].renewal = now + lease / Self.renewalsPerLease
    emit(.renew(vip: vip, generation: vips[vip].generation, lease: lease))
  }

  private mutating func continueBurst(vip: Int, from due: Instant, at now: Instant, _ emit: (Effect) -> Void) {
    announce(vip: vip, emit)
    vips[vip].announced += 1
    let next = vips[vip].announced
    vips[vip].announcement = next < Self.announcementBurst.count ? now + Self.announcementBurst[next] : nil
  }

  mutating func rearm(_ vip: Int) {
    guard phase != .stopped else { return }
    deadlines.set(vip, to: vips[vip].deadline)
  }
}
