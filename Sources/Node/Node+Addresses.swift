import Basis
import VRRP
import Wire

// What the address thread reports of a VIP's addresses, how long they last, and how the neighbours hear of them.

extension Node {
  /// Announcements after the first, which `take` makes: neighbours that missed one hear the next.
  static let announcementBurst: [Duration] = [.milliseconds(20), .milliseconds(100), .milliseconds(500), .seconds(2)]
  /// `VIPSettings.refresh` is not taken for less.
  static let leastRefresh = Duration.milliseconds(100)
  static let firstRetry = Duration.seconds(1)
  static let mostRetries = 6

  // MARK: Reports

  mutating func addressReport(_ report: AddressReport, vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    guard vips.indices.contains(vip) else { return }
    switch report {
    case .added(let generation, let until):
      extend(vip: vip, generation: generation, until: until)
      if vips[vip].isHeld, vips[vip].generation == generation { confirmTaken(vip, emit) }
    case .renewed(let generation, let until):
      extend(vip: vip, generation: generation, until: until)
    case .removed(let generation):
      guard vips[vip].holding == .releasing(generation: generation) else { return }
      vips[vip].holding = .nothing
      coordination.isDirty = true
      reconsider(vip: vip, at: now, emit)
    case .failed(let generation, let code):
      guard vips[vip].generation == generation else { return }
      if vips[vip].isHeld {
        emit(.report(.addressRefused(vip: vip, code: code)))
        refused(vip: vip, because: "the kernel refused the address", at: now, emit)
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
    case .revoked(let generation):
      listenAnew(at: now, emit)
      guard vips[vip].isHeld, vips[vip].generation == generation else { return }
      revoked(vip: vip, at: now, emit)
    case .claimed(let address, let mac): claimed(address, by: mac, vip: vip, at: now, emit)
    case .duplicate(let address):
      guard vips[vip].isHeld, vips[vip].settings.addresses.contains(address) else { return }
      emit(.report(.duplicate(address, vip: vip)))
      refused(vip: vip, because: "another machine has \(address)", at: now, emit)
    }
    replaceIfGone(vip: vip, at: now, emit)
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

  /// The addresses can't be had here: a peer should have them, and this node tries again later and later.
  private mutating func refused(vip: Int, because reason: String, at now: Instant, _ emit: (Effect) -> Void) {
    let pause = Self.firstRetry * (1 << min(vips[vip].refusals, Self.mostRetries))
    vips[vip].refusals += 1
    vips[vip].retry = now + pause
    vips[vip].retryReason = reason
    if isLeaving(vip) {
      depart(vip: vip, at: now, emit)
    } else {
      reconsider(vip: vip, at: now, emit)
    }
  }

  /// An address that expired means Backup: somebody else may own it by now.
  private mutating func lost(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    emit(.report(.addressLost(vip: vip)))
    if isLeaving(vip) {
      depart(vip: vip, at: now, emit)
      return
    }
    giveUp(vip: vip, politely: false, at: now, emit)
    elect(vip: vip, .yield, at: now, emit)
  }

  /// The guardian has said priority 0 and removed the addresses: nothing is left to say, and another node owns the VIP by now. The release
  /// finds nothing to remove; it ends the generation, whatever is still queued.
  /// While this process was held, its sockets were turned away from the network: it has heard nothing, and silence proves nothing. Elections
  /// whose time is up wait once more.
  private mutating func listenAnew(at now: Instant, _ emit: (Effect) -> Void) {
    for vip in vips.indices {
      guard vips[vip].machine.state == .backup, let due = vips[vip].machine.deadline, due <= now else { continue }
      elect(vip: vip, .postpone(until: now + vips[vip].machine.longestSilence), at: now, emit)
      rearm(vip)
    }
  }

  private mutating func revoked(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    emit(.report(.revoked(vip: vip)))
    giveUp(vip: vip, politely: false, at: now, emit)
    if isLeaving(vip) {
      elect(vip: vip, .abandon("stopping"), at: now, emit)
      departed(vip: vip, at: now, emit)
    } else {
      elect(vip: vip, .deposed(.revoked), at: now, emit)
    }
  }

  // MARK: Leases and deadlines

  /// All VIPs of a node are renewed at the same instants, a quarter of the lease apart. The kernel looks for addresses whose time is up at
  /// most once a second: what ends just after such a look stays for another second, unless it ends with the rest.
  static func renewal(of lease: Duration, after now: Instant) -> Instant {
    let period = max(1, (lease / renewalsPerLease).nanoseconds)
    let since = now.nanoseconds % period
    return now + .nanoseconds(period - (since < 0 ? since + period : since))
  }

  /// Before anything else is made of the time: a node that slept past a lease must not send another advert as the owner, not even
  /// the one with which an owner answers what it hears.
  mutating func endLeases(at now: Instant, _ emit: (Effect) -> Void) {
    // Each loses its lease once in an event: this ends, whatever follows from a loss.
    var rest = vips.count
    while let (vip, end) = leases.earliest, end <= now, rest > 0 {
      rest -= 1
      lost(vip: vip, at: now, emit)
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
    if let limit = vips[vip].preparing, limit <= now { endPreparation(vip: vip, failed: true, at: now, emit) }
    if let due = vips[vip].announcement, due <= now { continueBurst(vip: vip, at: now, emit) }
    if let due = vips[vip].defence.due, due <= now { defend(vip: vip, at: now, emit) }
    if let retry = vips[vip].retry, retry <= now {
      vips[vip].retry = nil
      reconsider(vip: vip, at: now, emit)
    }
    listeningTimer(vip: vip, at: now, emit)
    if let due = vips[vip].machine.deadline, due <= now, mayClaim(vip: vip, at: now, emit) {
      elect(vip: vip, .timer, at: now, emit)
    }
    replaceIfGone(vip: vip, at: now, emit)
  }

  private mutating func renew(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    guard vips[vip].isHeld, let lease = vips[vip].settings.lease else {
      vips[vip].renewal = nil
      return
    }
    vips[vip].renewal = Self.renewal(of: lease, after: now)
    emit(.renew(vip: vip, generation: vips[vip].generation, lease: lease))
  }

  mutating func rearm(_ vip: Int) {
    guard phase != .stopped else { return }
    deadlines.set(vip, to: vips[vip].deadline)
    leases.set(vip, to: vips[vip].leaseEnd)
  }

  // MARK: Announcements

  mutating func announce(vip: Int, _ emit: (Effect) -> Void) {
    guard vips[vip].preparing == nil else { return }
    switch vips[vip].holding {
    case .held, .closing(_, _, _, leaving: true):
      vips[vip].announcements += 1
      emit(.announce(vip: vip, generation: vips[vip].generation))
    case .closing, .releasing, .nothing: break
    }
  }

  /// The first is out; the rest follows.
  mutating func beginBurst(vip: Int, at now: Instant) {
    vips[vip].announced = 0
    vips[vip].announcement = now + Self.announcementBurst[0]
  }

  private mutating func continueBurst(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    announce(vip: vip, emit)
    let next = min(vips[vip].announced + 1, Self.announcementBurst.count)
    vips[vip].announced = next
    if next < Self.announcementBurst.count {
      vips[vip].announcement = now + Self.announcementBurst[next]
    } else {
      vips[vip].announcement = vips[vip].settings.refresh.map { now + max($0, Self.leastRefresh) }
    }
  }

  /// What had to happen before the VIP is announced has ended.
  mutating func prepared(
    vip: Int, generation: UInt64, succeeded: Bool, at now: Instant, _ emit: (Effect) -> Void
  ) {
    guard vips.indices.contains(vip), vips[vip].generation == generation, vips[vip].preparing != nil else { return }
    endPreparation(vip: vip, failed: !succeeded, at: now, emit)
    rearm(vip)
  }

  /// Announced even if it failed. Where it moves the address in a cloud's tables, neighbours take no notice of an announcement
  /// anyhow; where they do, a VIP that is announced is better than one that nobody finds.
  private mutating func endPreparation(vip: Int, failed: Bool, at now: Instant, _ emit: (Effect) -> Void) {
    let timedOut = vips[vip].preparing.map { $0 <= now } ?? false
    vips[vip].preparing = nil
    if failed { emit(.report(.preparationFailed(vip: vip, timedOut: timedOut))) }
    announce(vip: vip, emit)
    beginBurst(vip: vip, at: now)
  }
}
