import Basis
import Health
import Node
import VRRP
import Wire

/// A node on a bench: events go in by hand, time moves only when told, effects are kept.
struct Bench {
  static let own = IPv4Address(10, 0, 0, 11)
  static let peer = IPv4Address(10, 0, 0, 12)
  static let vip = IPAddress.v4(IPv4Address(10, 0, 0, 100))

  var node: Node
  var now = Instant(nanoseconds: 0)
  /// Since the last `take()`.
  private(set) var effects: [Effect] = []

  init(
    priority: UInt8 = 254, interval: Duration = .milliseconds(100), lease: Duration? = .seconds(2),
    election: VIPSettings.Election? = nil, backends: [String] = [], check: Health.Settings? = nil,
    drain: Duration = .seconds(1), change: (inout NodeSettings) -> Void = { _ in }
  ) {
    let router = VRRP.Settings(
      id: 51, family: .ipv4, priority: priority, interval: interval, addresses: [Self.vip])
    let vip = VIPSettings(
      name: "web", interface: "eth0", addresses: [Self.vip], election: election ?? .vrrp(router), lease: lease,
      drain: drain)
    let services =
      backends.isEmpty ? [] : [ServiceSettings(name: "web", vip: 0, backends: backends, check: check)]
    var settings = NodeSettings(name: "lb1", vips: [vip], services: services)
    change(&settings)
    node = Node(settings, seed: 1)
  }

  static let linkUp = Event.link(interface: "eth0", LinkState(isUp: true, ipv4: own, linkLocal: nil))
  static let linkDown = Event.link(interface: "eth0", LinkState(isUp: false, ipv4: own, linkLocal: nil))

  /// A node that has won its election and holds the VIP's addresses.
  static func owner(
    backends: [String] = [], lease: Duration? = .seconds(2), drain: Duration = .seconds(1),
    change: (inout NodeSettings) -> Void = { _ in }
  ) -> Bench {
    var bench = Bench(lease: lease, backends: backends, drain: drain, change: change)
    bench.give(.start)
    bench.give(linkUp)
    bench.advance(by: .milliseconds(400))
    bench.confirm(generation: 1)
    _ = bench.take()
    return bench
  }

  mutating func give(_ event: Event) {
    var emitted: [Effect] = []
    node.handle(event, at: now) { emitted.append($0) }
    effects += emitted
  }

  /// Time passes; every deadline on the way is kept to the nanosecond.
  mutating func advance(by duration: Duration) {
    let end = now + duration
    while let deadline = node.deadline, deadline <= end {
      now = max(now, deadline)
      give(.timer)
    }
    now = end
  }

  /// The address thread has done as it was told.
  mutating func confirm(generation: UInt64) {
    give(.address(vip: 0, .added(generation: generation, until: node.settings.vips[0].lease.map { now + $0 })))
  }

  /// Time passes, and the address thread renews as it is told.
  mutating func confirmRenewals(for duration: Duration) {
    let end = now + duration
    while now < end {
      advance(by: min(.milliseconds(100), end - now))
      for case .renew(_, let generation, let lease) in effects.suffix(8) {
        give(.address(vip: 0, .renewed(generation: generation, until: lease.map { now + $0 })))
      }
    }
  }

  mutating func hear(priority: UInt8, from source: IPv4Address = peer, id: UInt8 = 51) {
    let advert = Advert(
      version: .v3, id: id, priority: priority, interval: .milliseconds(100), addresses: [Self.vip])
    let group = IPAddress.v4(IPv4Address(224, 0, 0, 18))
    let message = advert.encoded(from: .v4(source), to: group, coverage: .pseudoHeader)
    give(.advert(Envelope(interface: "eth0", source: .v4(source), destination: group, hopLimit: 255), message))
  }

  /// Other settings, made of the present ones.
  mutating func reload(_ change: (inout NodeSettings) -> Void) {
    var settings = node.settings
    change(&settings)
    give(.settings(settings))
  }

  /// The effects since the last call.
  mutating func take() -> [Effect] {
    defer { effects = [] }
    return effects
  }
}

extension Effect {
  var isTransmit: Bool { if case .transmit = self { true } else { false } }
  var isReport: Bool { if case .report = self { true } else { false } }
  var isAnnouncement: Bool { if case .announce = self { true } else { false } }
  var isTake: Bool { if case .take = self { true } else { false } }
  /// The priority of the advert that is sent.
  var priority: UInt8? { if case .transmit(_, let message, _) = self { message[2] } else { nil } }
}

extension [Effect] {
  /// What is done to addresses and connections, without adverts and reports.
  var deeds: [Effect] { filter { !$0.isTransmit && !$0.isReport } }
}
