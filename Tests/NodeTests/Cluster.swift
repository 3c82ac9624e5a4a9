import Basis
import Health
import Node
import Peering
import VRRP
import Wire

/// Several nodes on one wire and with links between them, on virtual time. Whatever they send can be lost.
///
/// ```
///   lb1 254 ──┬── adverts, 100 µs ──┬── lb2 253 ──── lb3 252
///             └── peer link, 200 µs ┘
/// ```
/// Addresses are on an interface 100 µs after they were asked for, and off as quickly.
final class Cluster {
  enum Packet: Hashable {
    case advert(vip: Int, priority: UInt8)
    case word(PeerMessage)
  }

  struct Sent: Hashable {
    var from: Int
    var to: Int
    var packet: Packet
  }

  private struct Due {
    var at: Instant
    var order: Int
    var node: Int
    var event: Event
  }

  private(set) var nodes: [Node]
  private(set) var now = Instant(nanoseconds: 0)
  /// What gets lost.
  var loses: (Sent) -> Bool = { _ in false }
  /// What takes longer on its way, and by how much.
  var delays: (Sent) -> Duration = { _ in .zero }
  /// How long proxied connections take to end; never longer than they may.
  var connectionsLast = Duration.milliseconds(5)
  /// Whether a node can reach another by the peer link.
  private(set) var linked: [[Bool]]
  private(set) var isAlive: [Bool]

  /// Everything that was done, in order, with its time.
  private(set) var effects: [(at: Instant, node: Int, effect: Effect)] = []
  /// By VIP: how long nobody, and how long more than one node, had its addresses, since `watch()`.
  private(set) var vacant: [Duration]
  private(set) var shared: [Duration]
  private var longest: [Duration]
  private var vacantNow: [Duration]

  private var frozen: Set<Int> = []
  private var queue: [Due] = []
  private var order = 0
  private var holders: [[Bool]]

  init(
    nodes count: Int = 2, vips: Int = 1, interval: Duration = .milliseconds(100), groups: [[Int]] = [],
    backends: [String] = [], drain: Duration = .milliseconds(50), hasLinks: Bool = true,
    change: (Int, inout NodeSettings) -> Void = { _, _ in }
  ) {
    let names = (1...count).map { "lb\($0)" }
    nodes = (0..<count).map { index in
      var settings = NodeSettings(
        name: names[index],
        vips: (0..<vips).map { vip in
          let address = Self.address(ofVIP: vip)
          return VIPSettings(
            name: "vip\(vip)", interface: "eth0", addresses: [address],
            election: .vrrp(
              VRRP.Settings(
                id: UInt8(51 + vip), family: .ipv4, priority: UInt8(254 - index), interval: interval,
                addresses: [address])),
            lease: nil, drain: drain)
        },
        services: backends.isEmpty
          ? [] : (0..<vips).map { ServiceSettings(name: "service\($0)", vip: $0, backends: backends, check: nil) })
      settings.groups = groups
      settings.peers = hasLinks ? names.indices.filter { $0 != index }.map { names[$0] } : []
      change(index, &settings)
      return Node(settings, seed: UInt64(index + 1))
    }
    linked = Array(repeating: Array(repeating: false, count: count), count: count)
    isAlive = Array(repeating: true, count: count)
    holders = Array(repeating: Array(repeating: false, count: count), count: vips)
    vacant = Array(repeating: .zero, count: vips)
    shared = vacant
    longest = vacant
    vacantNow = vacant
    for node in 0..<count {
      give(.start, to: node)
      give(.link(interface: "eth0", LinkState(isUp: true, ipv4: Self.source(of: node), linkLocal: nil)), to: node)
    }
    guard hasLinks else { return }
    for one in 0..<count { for other in one + 1..<count { link(one, other) } }
  }

  static func address(ofVIP vip: Int) -> IPAddress { .v4(IPv4Address(10, 0, 0, UInt8(100 + vip))) }
  static func source(of node: Int) -> IPv4Address { IPv4Address(10, 0, 0, UInt8(11 + node)) }

  // MARK: The world

  func give(_ event: Event, to node: Int) {
    guard isAlive[node] else { return }
    var emitted: [Effect] = []
    nodes[node].handle(event, at: now) { emitted.append($0) }
    for effect in emitted {
      effects.append((now, node, effect))
      perform(effect, of: node)
    }
  }

  func link(_ one: Int, _ other: Int) {
    for (from, to) in [(one, other), (other, one)] {
      linked[from][to] = true
      if let peer = peer(to, of: from) { give(.peer(peer, .up), to: from) }
    }
  }

  func unlink(_ one: Int, _ other: Int) {
    for (from, to) in [(one, other), (other, one)] {
      linked[from][to] = false
      if let peer = peer(to, of: from) { give(.peer(peer, .down), to: from) }
    }
  }

  /// The node is gone, with its addresses, and says nothing.
  func kill(_ node: Int) {
    isAlive[node] = false
    for vip in holders.indices { holders[vip][node] = false }
    for other in nodes.indices where other != node && linked[node][other] { unlink(node, other) }
  }

  /// It hears, and nothing becomes due to it any longer.
  func freeze(_ node: Int) { frozen.insert(node) }

  func setLink(of node: Int, up: Bool) {
    give(.link(interface: "eth0", LinkState(isUp: up, ipv4: Self.source(of: node), linkLocal: nil)), to: node)
  }

  /// The index by which a node knows another as its peer.
  func peer(_ other: Int, of node: Int) -> Int? {
    nodes[node].settings.peers.firstIndex(of: nodes[other].settings.name)
  }

  private func perform(_ effect: Effect, of node: Int) {
    switch effect {
    case .transmit(let vip, let message, _):
      let source = IPAddress.v4(Self.source(of: node))
      let envelope = Envelope(
        interface: "eth0", source: source, destination: .v4(IPv4Address(224, 0, 0, 18)), hopLimit: 255)
      for other in nodes.indices where other != node {
        let sent = Sent(from: node, to: other, packet: .advert(vip: vip, priority: message[2]))
        guard !loses(sent) else { continue }
        later(.microseconds(100) + delays(sent), .advert(envelope, message), to: other)
      }
    case .tell(let peer, let message):
      let name = nodes[node].settings.peers[peer]
      guard let other = nodes.firstIndex(where: { $0.settings.name == name }), linked[node][other],
        let back = self.peer(node, of: other)
      else { return }
      let sent = Sent(from: node, to: other, packet: .word(message))
      guard !loses(sent) else { return }
      later(.microseconds(200) + delays(sent), .peer(back, .said(message)), to: other)
    case .take(let vip, let generation, _, _):
      later(.microseconds(100), .address(vip: vip, .added(generation: generation, until: nil)), to: node)
    case .release(let vip, let generation):
      later(.microseconds(100), .address(vip: vip, .removed(generation: generation)), to: node)
    case .closeConnections(let vip, let generation, let within):
      later(min(within, connectionsLast), .connectionsClosed(vip: vip, generation: generation), to: node)
    default: break
    }
  }

  func later(_ delay: Duration, _ event: Event, to node: Int) {
    order += 1
    queue.append(Due(at: now + delay, order: order, node: node, event: event))
  }

  /// Time passes; what was sent arrives, and every deadline is kept.
  func run(for duration: Duration) {
    let end = now + duration
    while true {
      let arrival = queue.min { ($0.at, $0.order) < ($1.at, $1.order) }
      let timers = nodes.indices.filter { isAlive[$0] && !frozen.contains($0) && nodes[$0].deadline != nil }
      let timer = timers.min { nodes[$0].deadline! < nodes[$1].deadline! }
      let due = earlier(arrival?.at, timer.flatMap { nodes[$0].deadline })
      guard let due, due <= end else { break }
      pass(until: max(now, due))
      // What has arrived is read before a deadline is acted on, as the reactor does.
      if let arrival, arrival.at <= due {
        queue.removeAll { $0.order == arrival.order }
        arrive(arrival)
      } else if let timer {
        give(.timer, to: timer)
      }
    }
    pass(until: end)
  }

  private func arrive(_ due: Due) {
    if case .peer(let peer, .said) = due.event {
      let name = nodes[due.node].settings.peers[peer]
      guard let from = nodes.firstIndex(where: { $0.settings.name == name }), linked[from][due.node] else { return }
    }
    if case .address(let vip, let report) = due.event {
      switch report {
      case .added(let generation, _) where isCurrent(vip, generation, of: due.node): holders[vip][due.node] = true
      case .removed where !nodes[due.node].vips[vip].isHeld: holders[vip][due.node] = false
      default: break
      }
    }
    give(due.event, to: due.node)
  }

  private func isCurrent(_ vip: Int, _ generation: UInt64, of node: Int) -> Bool {
    switch nodes[node].vips[vip].holding {
    case .held(generation, _), .closing(generation, _, _, _): true
    default: false
    }
  }

  private func pass(until instant: Instant) {
    let passed = instant - now
    for vip in holders.indices {
      let count = holders[vip].count { $0 }
      if count == 0 {
        vacant[vip] += passed
        vacantNow[vip] += passed
        longest[vip] = max(longest[vip], vacantNow[vip])
      } else {
        vacantNow[vip] = .zero
      }
      if count > 1 { shared[vip] += passed }
    }
    now = instant
  }

  // MARK: What is seen

  /// Counts anew, and forgets what was done before.
  func watch() {
    effects = []
    for vip in holders.indices {
      (vacant[vip], shared[vip], longest[vip], vacantNow[vip]) = (.zero, .zero, .zero, .zero)
    }
  }

  /// The longest time in which nobody had the VIP, since `watch()`.
  func longestVacancy(_ vip: Int = 0) -> Duration { longest[vip] }

  /// The nodes whose state for a VIP is active.
  func owners(_ vip: Int = 0) -> [Int] {
    nodes.indices.filter { isAlive[$0] && nodes[$0].vips[vip].state == .active }
  }

  /// The nodes that have the VIP's addresses.
  func holders(of vip: Int = 0) -> [Int] { nodes.indices.filter { holders[vip][$0] } }

  func answer(to ticket: UInt64) -> CommandAnswer? {
    for case .answer(ticket, let answer) in effects.map(\.effect) { return answer }
    return nil
  }

  func answers(to ticket: UInt64) -> Int {
    effects.count { if case .answer(ticket, _) = $0.effect { true } else { false } }
  }

  /// How often a node began to own a VIP.
  func takes(_ vip: Int = 0) -> Int {
    effects.count { if case .take(vip, _, _, _) = $0.effect { true } else { false } }
  }

  func words(from node: Int) -> [PeerMessage] {
    effects.compactMap { entry in
      if entry.node == node, case .tell(_, let message) = entry.effect { message } else { nil }
    }
  }
}
