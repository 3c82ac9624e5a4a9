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
/// - `Node+Addresses.swift`: what the address thread reports, leases, announcements.
/// - `Node+Claims.swift`: somebody else announces a VIP of ours.
/// - `Node+Listening.swift`: before a node claims: does it hear anything at all?
/// - `Node+Rivals.swift`: a peer elects the VIP's owner as another virtual router.
/// - `Node+Services.swift`: from results of checks to backends that take traffic.
/// - `Node+Reload.swift`: other settings, by difference.
/// - `Node+Tracking.swift`, `Node+Groups.swift`: what else decides whether this node may own a VIP, and how much it is preferred.
/// - `Node+Resumption.swift`: one process goes on in the place of another.
/// - `Node+SplitBrain.swift`: more than one node owns a VIP.
/// - `Node+Peers.swift`, `Node+HandOver.swift`, `Node+Commands.swift`: what nodes tell each other, and what people ask.
public struct Node: Sendable {
  public enum Phase: Sendable, Hashable { case idle, running, stopping, stopped }

  public internal(set) var settings: NodeSettings
  public internal(set) var phase = Phase.idle
  /// In the order of `settings.vips`.
  public internal(set) var vips: [VirtualAddress]
  /// In the order of `settings.services`.
  public internal(set) var services: [ServiceState]
  /// False while a proxy worker is dead or stuck: such a node owns no VIP that has services.
  public internal(set) var workersAreHealthy = true
  public internal(set) var counters = Counters()

  /// One part a VIP, then one a backend, then the coordination's and the node's own.
  var deadlines: DeadlineHeap
  /// When each VIP's lease ends.
  var leases: DeadlineHeap
  /// Which VIP's election a message is for.
  var routes = Routes()
  var coordinationPart: Int
  /// The service of each part that belongs to a backend.
  var checkedServices: [Int] = []
  var stopPart: Int
  /// The interfaces of the VIPs.
  var segments: [Segment]
  /// What the peers were heard of.
  var hearsay: Hearsay
  /// Trackers, groups, peers and commands.
  public internal(set) var coordination: Coordination
  /// VIPs whose state changed, and services whose backends did, in this event: looked at when all else is done.
  var changedVIPs: [Int] = []
  var changedServices: [Int] = []
  /// Moves the starts of checks apart.
  var random: SplitMix64

  public struct Counters: Sendable, Hashable {
    /// VRRP messages for no virtual router of this node (RFC 9568 §8, `vrIdErrors`).
    public var unknownRouter: UInt64 = 0
    /// VRRP messages too short to name a virtual router.
    public var unidentified: UInt64 = 0
  }

  /// The seed moves the starts of checks apart; it decides nothing else.
  public init(_ settings: NodeSettings, seed: UInt64) {
    self.settings = settings
    segments = Segment.all(of: settings.vips)
    vips = settings.vips.indices.map { VirtualAddress(settings.vips[$0], hasServices: settings.hasServices(vip: $0)) }
    random = SplitMix64(seed: seed)
    var part = settings.vips.count
    var states: [ServiceState] = []
    for service in settings.services {
      for _ in service.backends { checkedServices.append(states.count) }
      states.append(ServiceState(service, firstPart: part, random: &random))
      part += service.backends.count
    }
    services = states
    coordinationPart = part
    stopPart = part + 1
    deadlines = DeadlineHeap(count: part + 2)
    leases = DeadlineHeap(count: settings.vips.count)
    hearsay = Hearsay(peers: settings.peers.count)
    coordination = Coordination(settings, seed: random.next())
    for vip in vips.indices { vips[vip].segment = Segment.index(of: vips[vip].settings.interface, in: segments) }
  }

  /// When `.timer` is wanted at the latest.
  public var deadline: Instant? { deadlines.earliest?.deadline }

  public mutating func handle(_ event: Event, at now: Instant, _ emit: (Effect) -> Void) {
    if phase == .stopped { return }
    if case .advert(let envelope, let message) = event {
      return unsafe receive(message.span.bytes, in: envelope, at: now, emit)
    }
    // What was revoked is known to be another's before anything else is made of the time.
    if case .address(_, .revoked) = event {} else { endLeases(at: now, emit) }
    switch event {
    case .start: start(at: now, emit)
    case .resume(let resumption): resume(resumption, at: now, emit)
    case .stop: stop(at: now, emit)
    case .timer: timer(at: now, emit)
    case .advert: break
    case .link(let interface, let state): link(interface, state, at: now, emit)
    case .address(let vip, let report): addressReport(report, vip: vip, at: now, emit)
    case .check(let service, let backend, let probe, let result):
      checked(service: service, backend: backend, probe: probe, result, at: now, emit)
    case .workers(let healthy): workers(healthy, at: now, emit)
    case .connectionsClosed(let vip, let generation):
      connectionsClosed(vip: vip, generation: generation, at: now, emit)
    case .witness(let vip, let round): witnessAnswered(vip: vip, round: round, at: now, emit)
    case .prepared(let vip, let generation, let succeeded):
      prepared(vip: vip, generation: generation, succeeded: succeeded, at: now, emit)
    case .settings(let settings): reload(settings, at: now, emit)
    case .track(let tracker, let report):
      if settings.trackers.indices.contains(tracker) { tracked(tracker, report, at: now, emit) }
    case .peer(let peer, let report):
      if settings.peers.indices.contains(peer) {
        hearsay.heard(report, of: peer, at: now)
        peerReported(peer, report, at: now, emit)
      }
    case .command(let command, let ticket): commanded(command, ticket: ticket, at: now, emit)
    }
    settle(at: now, emit)
  }

  /// A VRRP message, without the copy that `Event.advert` needs.
  public mutating func receive(_ message: RawSpan, in envelope: Envelope, at now: Instant, _ emit: (Effect) -> Void) {
    guard phase == .running || phase == .stopping else { return }
    endLeases(at: now, emit)
    defer { settle(at: now, emit) }
    guard let id = VirtualRouter.identify(message) else {
      counters.unidentified += 1
      return
    }
    if routes.areStale { routes.lay(vips) }
    if let vip = routes[envelope.interface, envelope.source.family, id] {
      advert(message, in: envelope, vip: vip, at: now, emit)
      return
    }
    counters.unknownRouter += 1
    overheard(envelope, at: now, emit)
  }

  mutating func start(at now: Instant, _ emit: (Effect) -> Void) {
    guard phase == .idle else { return }
    phase = .running
    for service in services.indices { startChecks(service: service, at: now, emit) }
    coordination.isDirty = true
    coordination.fitnessChanged = true
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
        // One that is still due is looked at again after the event, so that a part that doesn't move on can't hang the node.
        deadlines.set(part, to: coordination.deadline.map { max($0, now + .milliseconds(1)) })
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
    endCommands(at: now, emit)
    for service in services.indices { stopChecks(service: service, at: now, emit) }
    var longestDrain = Duration.zero
    for vip in vips.indices {
      vips[vip].pending = nil
      if vips[vip].isHeld { longestDrain = max(longestDrain, vips[vip].settings.drain) }
      leave(vip: vip, at: now, emit)
    }
    deadlines.set(stopPart, to: now + longestDrain + Self.longestRemoval)
    stopIfNothingIsLeft(emit)
  }

  mutating func stopIfNothingIsLeft(_ emit: (Effect) -> Void) {
    guard phase == .stopping, nothingIsHeld else { return }
    finishStopping(emit)
  }

  /// By index, here and elsewhere: a closure over the elements would copy each.
  var nothingIsHeld: Bool {
    for vip in vips.indices where !vips[vip].isGone { return false }
    return true
  }

  private mutating func finishStopping(_ emit: (Effect) -> Void) {
    guard phase == .stopping else { return }
    phase = .stopped
    for part in 0...stopPart { deadlines.set(part, to: nil) }
    emit(.stopped)
  }

  private mutating func link(_ interface: String, _ state: LinkState, at now: Instant, _ emit: (Effect) -> Void) {
    if let segment = Segment.index(of: interface, in: segments) { segments[segment].link = state }
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

/// From the interface, the family and the VRID of a message to the VIP whose election it is. Laid anew after each change of the places.
struct Routes: Sendable {
  private struct Key: Hashable {
    let interface: String
    let family: AddressFamily
    let id: UInt8
  }

  private var table: [Key: Int] = [:]
  var areStale = true

  /// Of two VIPs with the same virtual router the first hears it.
  mutating func lay(_ vips: [VirtualAddress]) {
    areStale = false
    table.removeAll(keepingCapacity: true)
    for vip in vips.indices.reversed() where vips[vip].hasElection {
      let router = vips[vip].machine.settings
      table[Key(interface: vips[vip].settings.interface, family: router.family, id: router.id)] = vip
    }
  }

  subscript(_ interface: String, _ family: AddressFamily, _ id: UInt8) -> Int? {
    table[Key(interface: interface, family: family, id: id)]
  }
}

extension NodeSettings {
  func hasServices(vip: Int) -> Bool { services.contains { $0.vip == vip && !$0.isVacant } }
}
