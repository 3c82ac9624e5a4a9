import Basis
import Health
import Node
import Scenario
import VRRP
import Wire

/// What is simulated: a cluster, the network between its nodes, and what happens to them. With a seed it is a whole run.
public struct Plan: Sendable {
  public enum Story: Sendable, Hashable {
    case scenario(Scenario)
    /// Faults drawn from the seed.
    case chaos(Chaos)
  }

  /// One for each node: all of them name the same VIPs, in the same order.
  public var settings: [NodeSettings]
  /// The nodes' own addresses on the link, in the same order.
  public var sources: [IPv4Address]
  public var story: Story
  /// Virtual time of a run.
  public var duration: Duration
  /// The network without faults: a packet takes `latency` and up to `jitter` more.
  public var latency: Duration = .microseconds(40)
  public var jitter: Duration = .microseconds(60)
  /// Shares of all packets that get lost, and that arrive twice, fault or no fault.
  public var loss: Double = 0
  public var duplication: Double = 0
  /// The share of messages to the kernel that wait for its lock for up to 20 ms, fault or no fault.
  public var lockedShare: Double = 0
  public var authentication = AuthenticationMode.off
  public var hasGuardian = true
  public var hasPeerLink = true
  /// What is switched off. The promises stay.
  public private(set) var without: Set<Protection> = []
  let promisedLease: Duration?
  let promisedGuardian: Bool
  private(set) var promisesIsolation = false
  private(set) var promisesAuthentication = false

  /// A cluster as scenarios have it: nodes lb1, lb2, … preferred in this order, one service a VIP.
  ///
  /// - Parameter spread: each of several VIPs prefers another node first.
  public init(
    story: Story, nodes: Int, vips: Int = 1, backends: Int = 3, interval: Duration = .milliseconds(100),
    lease: Duration? = .seconds(1), drain: Duration = .seconds(1), check: Health.Settings? = Health.Settings(),
    options: Scenario.Options = Scenario.Options(), spread: Bool = true, duration: Duration
  ) {
    // 253 backups and an owner for good is all that priorities have room for; a simulated link has less.
    let nodes = max(1, min(nodes, 32))
    let vips = max(1, min(vips, 255))
    let names = (0..<max(0, min(backends, 64))).map { "app\($0 + 1)" }
    let nodeNames = (0..<nodes).map { "lb\($0 + 1)" }
    sources = (0..<nodes).map { IPv4Address(10, 0, 0, UInt8(11 + $0)) }
    settings = nodeNames.indices.map { node in
      var settings = NodeSettings(
        name: nodeNames[node],
        vips: (0..<vips).map { vip in
          let rank = spread ? (node + nodes - vip % nodes) % nodes : node
          return Self.vip(vip, rank: rank, interval: interval, lease: lease, drain: drain, preempt: options.preempt)
        },
        services: (0..<vips).map { ServiceSettings(name: "web\($0 + 1)", vip: $0, backends: names, check: check) })
      if options.peerLink { settings.peers = nodeNames.filter { $0 != nodeNames[node] } }
      return settings
    }
    self.story = story
    self.duration = duration
    hasGuardian = options.guardian
    hasPeerLink = options.peerLink
    authentication = AuthenticationMode(rawValue: options.authentication.rawValue) ?? .off
    promisesAuthentication = authentication == .enforce
    promisedLease = lease
    promisedGuardian = options.guardian
  }

  /// The cluster of a scenario. `interval` replaces the file's own.
  public init(_ scenario: Scenario, interval: Duration? = nil) {
    var scenario = scenario
    if let interval { scenario.interval = interval }
    self.init(
      story: .scenario(scenario), nodes: scenario.nodes, vips: scenario.options.vips, backends: scenario.backends,
      interval: scenario.interval, lease: scenario.options.lease, options: scenario.options, spread: false,
      duration: scenario.end)
  }

  /// Random faults of every kind, with all that a node can do against them.
  public init(_ chaos: Chaos, nodes: Int, vips: Int = 1, interval: Duration = .milliseconds(100), duration: Duration) {
    var options = Scenario.Options()
    options.authentication = .enforce
    self.init(
      story: .chaos(chaos), nodes: nodes, vips: vips, interval: interval, options: options, duration: duration)
    lockedShare = 0.01
    for node in settings.indices { settings[node].hasWitnesses = true }
    promisesIsolation = true
  }

  /// The VIP of that number, from 0, on the node of that rank in its order of preference, from 0.
  static func vip(
    _ number: Int, rank: Int, interval: Duration, lease: Duration?, drain: Duration, preempt: Bool
  ) -> VIPSettings {
    let address = address(of: number)
    let router = VRRP.Settings(
      id: UInt8((50 + number) % 255 + 1), family: .ipv4, priority: UInt8(254 - rank), interval: interval,
      preempt: preempt, addresses: [address])
    return VIPSettings(
      name: "vip\(number + 1)", interface: "eth0", addresses: [address], election: .vrrp(router), lease: lease,
      drain: drain)
  }

  static func address(of number: Int) -> IPAddress {
    .v4(number < 100 ? IPv4Address(10, 0, 0, UInt8(100 + number)) : IPv4Address(10, 0, 1, UInt8(number - 100)))
  }

  /// Takes a protection away, and leaves the promise that it keeps.
  public mutating func switchOff(_ protection: Protection) {
    without.insert(protection)
    switch protection {
    case .lease: change { $0.lease = nil }
    case .guardian: hasGuardian = false
    case .isolation: for node in settings.indices { settings[node].hasWitnesses = false }
    case .authentication: authentication = .off
    case .skew:
      change { vip in
        guard case .vrrp(var router) = vip.election else { return }
        router.priority = 200
        vip.election = .vrrp(router)
      }
    case .fence, .sweep, .reannouncement, .putBack: break
    }
  }

  private mutating func change(_ body: (inout VIPSettings) -> Void) {
    for node in settings.indices { for vip in settings[node].vips.indices { body(&settings[node].vips[vip]) } }
  }

  /// The longest interval between adverts of any VIP.
  var interval: Int64 {
    settings.flatMap(\.vips).map { vip in
      if case .vrrp(let router) = vip.election { router.interval.nanoseconds } else { 0 }
    }.max() ?? 0
  }

  var bounds: Bounds { Bounds(self) }

  /// The story begins when the cluster has settled, nanoseconds after the first daemon's start.
  var settling: Int64 { max(5_000_000_000, 30 * interval) }

  /// Whether the story may ask for a VIP that is not there from the beginning.
  var mayAddVIP: Bool {
    guard settings.first?.vips.count ?? 0 < 255 else { return false }
    return switch story {
    case .chaos(let chaos): chaos.kinds.contains(.reload)
    case .scenario(let scenario):
      scenario.steps.contains { if case .reload(_, .vip) = $0.action { true } else { false } }
    }
  }
}

/// How long things may take, nanoseconds, and why.
struct Bounds: Sendable {
  /// Two owners that hear each other: the higher one's next advert comes within an interval, or within three if two get
  /// lost; RFC 9568 §6.1 gives Skew_Time less than one more. Then the loser resets its connections (20 ms at most) and its
  /// address thread removes the address, behind two orders that the kernel's lock may hold up for 20 ms each.
  let twoOwners: Int64
  /// Nobody: Active_Down_Interval is three intervals and Skew_Time; the rest as above, for taking instead of removing.
  let nobody: Int64
  /// An address whose daemon is dead or stalled and whose guardian is too goes when its lease ends; the kernel is up to 50 ms
  /// late. One that was put back a moment before has the rest of its lease rounded up to a second.
  let lease: Int64?
  /// Where the guardian watches: it has learnt of a death within 2 ms; of a stall after the threshold, and it may be late itself
  /// by 25 ms where the machine is busy. Then it removes the addresses, as above.
  let death: Int64?
  let stall: Int64?
  /// A polite stop: the drain and its margin, 2 s in which the node waits for the address thread, and the rest as above.
  let stop: Int64
  /// What a former owner told the neighbours otherwise is put right: at the latest with the winner's next advert.
  let neighbours: Int64
  /// What another program removed is back: the kernel tells the thread within 1 ms, which works as above, and adds it again.
  let putBack: Int64
  /// A move: the target gets ready, the connections end, the VIP goes over.
  let move: Int64
  let interval: Int64

  static let work: Int64 = 70_000_000
  static let lateExpiry: Int64 = 50_000_000

  init(_ plan: Plan) {
    let travel = (plan.latency + plan.jitter * 4).nanoseconds
    let vips = plan.settings.flatMap(\.vips)
    // The address thread needs a moment for each.
    let count = Int64(plan.settings.first?.vips.count ?? 0)
    let work = Self.work + count * 400_000
    interval = plan.interval
    twoOwners = 4 * plan.interval + travel + work
    nobody = 4 * plan.interval + travel + work
    lease = plan.promisedLease.map { $0.nanoseconds + Self.lateExpiry }
    death = plan.promisedGuardian ? 30_000_000 + work : nil
    stall = plan.promisedGuardian ? Guardian.threshold(interval: plan.interval) + 30_000_000 + work : nil
    stop = (vips.map(\.drain).max() ?? .zero).nanoseconds + 2_500_000_000 + work
    neighbours = plan.interval + 100_000_000 + travel + work
    putBack = 30_000_000 + work
    move = stop + 5_000_000_000
  }
}
