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

  /// A cluster as scenarios have it: nodes lb1, lb2, … preferred in this order, one service a VIP.
  ///
  /// With several VIPs each prefers another node first.
  public init(
    story: Story, nodes: Int, vips: Int = 1, backends: Int = 3, interval: Duration = .milliseconds(100),
    lease: Duration? = .seconds(1), drain: Duration = .seconds(1),
    check: Health.Settings? = Health.Settings(), duration: Duration
  ) {
    // 253 backups and an owner for good is all that priorities have room for; a simulated link has less.
    let nodes = max(1, min(nodes, 32))
    let vips = max(1, min(vips, 16))
    let addresses = (0..<vips).map { IPAddress.v4(IPv4Address(10, 0, 0, UInt8(100 + $0))) }
    let names = (0..<max(0, min(backends, 64))).map { "app\($0 + 1)" }
    sources = (0..<nodes).map { IPv4Address(10, 0, 0, UInt8(11 + $0)) }
    settings = (0..<nodes).map { node in
      NodeSettings(
        name: "lb\(node + 1)",
        vips: (0..<vips).map { vip in
          let rank = (node + nodes - vip % nodes) % nodes
          let router = VRRP.Settings(
            id: UInt8(51 + vip), family: .ipv4, priority: UInt8(254 - rank), interval: interval,
            addresses: [addresses[vip]])
          return VIPSettings(
            name: "vip\(vip + 1)", interface: "eth0", addresses: [addresses[vip]], election: .vrrp(router),
            lease: lease,
            drain: drain)
        },
        services: (0..<vips).map { ServiceSettings(name: "web\($0 + 1)", vip: $0, backends: names, check: check) })
    }
    self.story = story
    self.duration = duration
  }

  /// The cluster of a scenario. `interval` replaces the file's own.
  public init(_ scenario: Scenario, interval: Duration? = nil) {
    var scenario = scenario
    if let interval { scenario.interval = interval }
    self.init(
      story: .scenario(scenario), nodes: scenario.nodes, backends: scenario.backends, interval: scenario.interval,
      duration: scenario.end)
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
}

/// How long things may take, nanoseconds, and why.
struct Bounds: Sendable {
  /// Two owners that hear each other: the higher one's next advert comes within an interval, or within three if two get
  /// lost; RFC 9568 §6.1 gives Skew_Time less than one more. Then the loser resets its connections (20 ms at most) and its
  /// address thread removes the address, behind two orders that the kernel's lock may hold up for 20 ms each.
  let twoOwners: Int64
  /// Nobody: Active_Down_Interval is three intervals and Skew_Time; the rest as above, for taking instead of removing.
  let nobody: Int64
  /// An address whose daemon is dead or stalled goes when its lease ends; the kernel is up to 50 ms late.
  let lease: Int64?
  /// A polite stop: the drain and its margin, 2 s in which the node waits for the address thread, and the rest as above.
  let stop: Int64

  static let work: Int64 = 70_000_000
  static let lateExpiry: Int64 = 50_000_000

  init(_ plan: Plan) {
    let travel = (plan.latency + plan.jitter * 4).nanoseconds
    let vips = plan.settings.flatMap(\.vips)
    twoOwners = 4 * plan.interval + travel + Self.work
    nobody = 4 * plan.interval + travel + Self.work
    lease =
      vips.contains { $0.lease == nil }
      ? nil : vips.compactMap(\.lease).map(\.nanoseconds).max().map { $0 + Self.lateExpiry }
    stop = (vips.map(\.drain).max() ?? .zero).nanoseconds + 2_500_000_000 + Self.work
  }
}
