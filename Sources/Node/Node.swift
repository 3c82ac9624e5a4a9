import Basis
import Health
import VRRP
import Wire

/// The control plane of one node, as one value: an event and the time in, effects out.
///
/// It has no clock, socket, lock, logger or randomness of its own: the daemon, the simulator and the replay of an incident run
/// this same code, and a copy of it is a snapshot to print. `deadline` is when it wants `.timer` at the latest; asking earlier
/// or more often changes nothing.
///
/// - `Node+Ownership.swift`: from an election's outcome to addresses on an interface, and back.
/// - `Node+Services.swift`: from results of checks to backends that take traffic.
/// - `Node+Tracking.swift`, `Node+Groups.swift`: what else decides whether this node may own a VIP, and how much it is preferred.
/// - `Node+Peers.swift`, `Node+Commands.swift`: what nodes tell each other, and what people ask.
public struct Node: Sendable {
  public enum Phase: Sendable, Hashable { case idle, running, stopping, stopped }

  public let settings: NodeSettings
  public internal(set) var phase = Phase.idle
  /// In the order of `settings.vips`.
  public internal(set) var vips: [VirtualAddress]
  /// In the order of `settings.services`.
  public internal(set) var services: [ServiceState]
  /// False while a proxy worker is dead or stuck: such a node owns no VIP that has services.
  public internal(set) var workersAreHealthy = true
  public internal(set) var counters = Counters()

  /// What looks beyond one VIP: trackers, groups, peers, hand-over, standby.
  public internal(set) var coordination: Coordination

  /// One part a VIP, then one a backend, then the node's own: its stop, and its coordination.
  var deadlines: DeadlineHeap
  let stopPart: Int
  let coordinationPart: Int

  public struct Counters: Sendable, Hashable {
    /// VRRP messages for no virtual router of this node (RFC 9568 §8, `vrIdErrors`).
    public var unknownRouter: UInt64 = 0
    /// VRRP messages too short to name a virtual router.
    public var unidentified: UInt64 = 0
  }

  /// The seed moves the starts of checks apart; it decides nothing else.
  public init(_ settings: NodeSettings, seed: UInt64) {
    self.settings = settings
    vips = settings.vips.indices.map { index in
      VirtualAddress(settings.vips[index], hasServices: settings.services.contains { $0.vip == index })
    }
    var random = SplitMix64(seed: seed)
    var part = settings.vips.count
    services = settings.services.map { service in
      defer { part += service.backends.count }
      return ServiceState(service, firstPart: part, random: &random)
    }
    coordination = Coordination(settings, seed: random.next())
    deadlines = DeadlineHeap(count: part + 2)
    stopPart = part
    coordinationPart = part + 1
  }

  /// When `.timer` is wanted at the latest.
  public var deadline: Instant? { deadlines.earliest?.deadline }

  public mutating func handle(_ event: Event, at now: Instant, _ emit: (Effect) -> Void) {
    if phase == .stopped { return }
    endLeases(at: now, emit)
    switch event {
    case .start: start(at: now, emit)
    case .stop: stop(at: now, emit)
    case .timer: timer(at: now, emit)
    case .advert(let envelope, let message): unsafe receive(message.span.bytes, in: envelope, at: now, emit)
    case .link(let interface, let state): link(interface, state, at: now, emit)
    case .address(let vip, let report): addressReport(report, vip: vip, at: now, emit)
    case .check(let service, let backend, let probe, let result):
      checked(service: service, backend: backend, probe: probe, result, at: now, emit)
    case .workers(let healthy): workers(healthy, at: now, emit)
    case .connectionsClosed(let vip, let generation):
      connectionsClosed(vip: vip, generation: generation, at: now, emit)
    case .track(let tracker, let report): track(tracker, report, at: now, emit)
    case .peer(let peer, let report): heard(report, from: peer, at: now, emit)
    case .command(let command, let ticket): obey(command, ticket: ticket, at: now, emit)
    case .witness, .settings, .prepared: break
    }
    settle(at: now, emit)
  }

  /// A VRRP message, without the copy that `Event.advert` needs.
  public mutating func receive(_ message: RawSpan, in envelope: Envelope, at now: Instant, _ emit: (Effect) -> Void) {
    guard phase == .running || phase == .stopping else { return }
    endLeases(at: now, emit)
    guard let id = VirtualRouter.identify(message) else {
      counters.unidentified += 1
      return
    }
    // By index: a closure over the elements would copy each.
    for vip in vips.indices where vips[vip].hears(id, in: envelope) {
      advert(message, in: envelope, vip: vip, at: now, emit)
      settle(at: now, emit)
      return
    }
    counters.unknownRouter += 1
  }

  private mutating func start(at now: Instant, _ emit: (Effect) -> Void) {
    guard phase == .idle else { return }
    phase = .running
    for service in services.indices { startChecks(service: service, at: now, emit) }
    for vip in vips.indices { reconsider(vip: vip, at: now, emit) }
  }

  /// Everything that is due. Each part moves its own deadline on when it is told the time, so this ends.
  private mutating func timer(at now: Instant, _ emit: (Effect) -> Void) {
    while let (part, deadline) = deadlines.earliest, deadline <= now {
      if part == stopPart {
        deadlines.set(part, to: nil)
        finishStopping(emit)
        if phase == .stopped { return }
      } else if part == coordinationPart {
        coordinationTimer(at: now, emit)
      } else if part < vips.count {
        ownershipTimer(vip: part, at: now, emit)
      } else {
        checkTimer(part: part, at: now, emit)
      }
    }
  }

  /// A stop that has not ended by then ends all the same: leases of the kernel remove what the address thread could not.
  static let longestRemoval = Duration.seconds(2)

  private mutating func stop(at now: Instant, _ emit: (Effect) -> Void) {
    guard phase == .idle || phase == .running else { return }
    phase = .stopping
    emit(.report(.stopping))
    for service in services.indices { stopChecks(service: service, at: now, emit) }
    var longestDrain = Duration.zero
    for vip in vips.indices {
      if vips[vip].isHeld { longestDrain = max(longestDrain, vips[vip].settings.drain) }
      leave(vip: vip, at: now, emit)
    }
    deadlines.set(stopPart, to: now + longestDrain + Self.longestRemoval)
    stopIfNothingIsLeft(emit)
  }

  mutating func stopIfNothingIsLeft(_ emit: (Effect) -> Void) {
    guard phase == .stopping, vips.allSatisfy(\.isGone) else { return }
    finishStopping(emit)
  }

  private mutating func finishStopping(_ emit: (Effect) -> Void) {
    guard phase == .stopping else { return }
    phase = .stopped
    for part in 0...coordinationPart { deadlines.set(part, to: nil) }
    emit(.stopped)
  }

  private mutating func link(_ interface: String, _ state: LinkState, at now: Instant, _ emit: (Effect) -> Void) {
    for vip in vips.indices where vips[vip].settings.interface == interface {
      linkChanged(vip: vip, to: state, at: now, emit)
    }
  }

  private mutating func workers(_ healthy: Bool, at now: Instant, _ emit: (Effect) -> Void) {
    guard healthy != workersAreHealthy else { return }
    workersAreHealthy = healthy
    guard phase == .running else { return }
    for vip in vips.indices { reconsider(vip: vip, at: now, emit) }
  }
}
