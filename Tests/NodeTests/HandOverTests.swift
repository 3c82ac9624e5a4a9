import Basis
import Node
import Peering
import Testing
import VRRP
import Wire

/// A planned move, and every way in which it can go wrong. After each: one owner, and nobody for no longer than plain VRRP needs.
struct HandOverTests {
  static let plain = Duration.milliseconds(305)

  /// lb1 owns everything, and all know each other.
  static func settled(
    nodes: Int = 2, vips: Int = 1, groups: [[Int]] = [], backends: [String] = [], drain: Duration = .milliseconds(50),
    interval: Duration = .milliseconds(100)
  ) -> Cluster {
    let cluster = Cluster(
      nodes: nodes, vips: vips, interval: interval, groups: groups, backends: backends, drain: drain)
    cluster.run(for: interval * 10)
    for vip in 0..<vips { #expect(cluster.owners(vip) == [0]) }
    cluster.watch()
    return cluster
  }

  private func move(_ cluster: Cluster, on node: Int = 0, to target: Command.Target = .best, ticket: UInt64 = 7) {
    cluster.give(.command(.move(vip: 0, to: target), ticket: ticket), to: node)
  }

  @Test func `a move leaves nobody without the VIP, and says for how long at most nobody had it`() {
    let cluster = Self.settled()
    move(cluster)
    cluster.run(for: .milliseconds(20))
    #expect(cluster.owners() == [1])
    #expect(cluster.holders() == [1])
    #expect(cluster.longestVacancy() <= .milliseconds(1))
    guard case .moved("lb2", let vacant?) = cluster.answer(to: 7) else {
      Issue.record("\(String(describing: cluster.answer(to: 7)))")
      return
    }
    #expect(vacant <= .milliseconds(1))
    #expect(cluster.answers(to: 7) == 1)
  }

  @Test func `the old owner leaves the new one alone although it is preferred, until that one is gone`() {
    let cluster = Self.settled()
    move(cluster)
    cluster.run(for: .seconds(60))
    #expect(cluster.owners() == [1])
    cluster.watch()
    cluster.kill(1)
    cluster.run(for: .seconds(1))
    #expect(cluster.owners() == [0])
    #expect(cluster.longestVacancy() <= Self.plain)
  }

  @Test func `a third node leaves the new owner alone, too, and preempts when another owner follows`() {
    let cluster = Self.settled(nodes: 3)
    cluster.give(.command(.move(vip: 0, to: .peer(cluster.peer(2, of: 0)!)), ticket: 1), to: 0)
    cluster.run(for: .seconds(10))
    #expect(cluster.owners() == [2])
    #expect(cluster.shared[0] <= .milliseconds(1))
    // Its owner leaves by a polite stop: the best of the others follows.
    cluster.give(.stop, to: 2)
    cluster.run(for: .seconds(10))
    #expect(cluster.owners() == [0])
  }

  @Test func `a node that comes back later leaves the new owner alone, because it is told`() {
    let cluster = Self.settled(nodes: 3)
    cluster.setLink(of: 1, up: false)
    cluster.unlink(0, 1)
    cluster.unlink(1, 2)
    cluster.give(.command(.move(vip: 0, to: .peer(cluster.peer(2, of: 0)!)), ticket: 1), to: 0)
    cluster.run(for: .seconds(1))
    #expect(cluster.owners() == [2])
    cluster.link(1, 2)
    cluster.link(0, 1)
    cluster.setLink(of: 1, up: true)
    cluster.run(for: .milliseconds(1))
    cluster.run(for: .seconds(10))
    #expect(cluster.owners() == [2])
  }

  @Test func `a move back ends the patience`() {
    let cluster = Self.settled()
    move(cluster)
    cluster.run(for: .seconds(1))
    move(cluster, on: 1, to: .best, ticket: 8)
    cluster.run(for: .seconds(1))
    #expect(cluster.owners() == [0])
    cluster.kill(0)
    cluster.run(for: .seconds(1))
    #expect(cluster.owners() == [1])
  }

  @Test func `asked on a node that is not the owner, the owner does it and the answer comes back`() {
    let cluster = Self.settled(nodes: 3)
    move(cluster, on: 2, to: .thisNode)
    cluster.run(for: .milliseconds(20))
    #expect(cluster.owners() == [2])
    guard case .moved("lb3", .some) = cluster.answer(to: 7) else {
      Issue.record("\(String(describing: cluster.answer(to: 7)))")
      return
    }
    move(cluster, on: 0, to: .best, ticket: 8)
    cluster.run(for: .milliseconds(20))
    #expect(cluster.owners() == [0])
    if case .moved("lb1", .some) = cluster.answer(to: 8) {} else { Issue.record("the best one is not named") }
  }

  @Test func `connections end before anything is let go, and adverts go on meanwhile`() {
    let cluster = Self.settled(backends: ["app1"], drain: .milliseconds(500))
    cluster.connectionsLast = .milliseconds(400)
    move(cluster)
    cluster.run(for: .milliseconds(300))
    #expect(cluster.owners() == [0])
    #expect(cluster.takes() == 0)
    cluster.run(for: .milliseconds(150))
    #expect(cluster.owners() == [1])
    #expect(cluster.longestVacancy() <= .milliseconds(1))
  }

  // MARK: Refused with a word

  @Test func `without a link to the target, or to the owner, the answer says so`() {
    let cluster = Self.settled()
    cluster.unlink(0, 1)
    move(cluster, to: .peer(0))
    #expect(
      cluster.answer(to: 7)
        == .refused(
          "there is no peer link to lb2, which has to say that it is ready: `roost status` says why it is down"))
    move(cluster, on: 1, ticket: 8)
    #expect(
      cluster.answer(to: 8)
        == .refused(
          "no node that lb2 has a link to owns vip0, and there is no link to lb1: `roost status` says why; or ask on the owner itself"
        ))
    cluster.run(for: .seconds(5))
    #expect(cluster.owners() == [0])
    #expect(cluster.takes() == 0)
  }

  @Test func `to the node that owns it: it is as it was wished, wherever that is asked`() {
    let cluster = Self.settled(nodes: 3)
    move(cluster, to: .thisNode, ticket: 1)
    #expect(cluster.answer(to: 1) == .already("lb1"))
    move(cluster, on: 2, to: .peer(cluster.peer(0, of: 2)!), ticket: 2)
    #expect(cluster.answer(to: 2) == .already("lb1"))
    // One that doesn't know yet that it is the owner's own node asks for what is so already.
    cluster.give(.peer(cluster.peer(1, of: 0)!, .said(.moveRequest(vip: "vip0", to: "lb1", move: 9))), to: 0)
    #expect(cluster.words(from: 0).contains(.moveEnded(move: 9, error: nil, vacant: nil)))
    cluster.run(for: .seconds(1))
    #expect(cluster.owners() == [0] && cluster.takes() == 0)
    #expect(!cluster.effects.contains { if case .report(.handOver) = $0.effect { true } else { false } })
  }

  @Test func `a target that can't have it is asked, and says itself why not`() {
    let cluster = Cluster(nodes: 3) { _, settings in
      settings.trackers = [TrackerSettings(name: "uplink", source: .external)]
      settings.vips[0].tracks = [.init(tracker: 0, consequence: .forbid)]
    }
    cluster.run(for: .seconds(1))
    cluster.give(.command(.standby, ticket: 1), to: 1)
    cluster.give(.track(tracker: 0, .bad("eth1 is down")), to: 2)
    cluster.run(for: .milliseconds(100))
    for (ticket, node, word) in [(2, 1, "lb2: it is in standby"), (3, 2, "eth1 is down")] as [(UInt64, Int, String)] {
      move(cluster, to: .peer(cluster.peer(node, of: 0)!), ticket: ticket)
      cluster.run(for: .milliseconds(10))
      if case .refused(let why) = cluster.answer(to: ticket) {
        #expect(why.contains(word))
      } else {
        Issue.record("\(String(describing: cluster.answer(to: ticket)))")
      }
      // Asked there, it is the same.
      move(cluster, on: node, to: .thisNode, ticket: ticket + 10)
      cluster.run(for: .milliseconds(10))
      if case .refused = cluster.answer(to: ticket + 10) {} else { Issue.record("it was not refused") }
    }
    cluster.run(for: .seconds(2))
    #expect(cluster.owners() == [0] && cluster.shared[0] == .zero)
  }

  @Test func `a node that is not preferred never owns it: that is said, and it may still ask for others`() {
    let cluster = Cluster(nodes: 3) { index, settings in
      if index == 2 { settings.vips[0].election = .fixed(owner: false) }
    }
    cluster.run(for: .seconds(1))
    move(cluster, to: .peer(cluster.peer(2, of: 0)!), ticket: 1)
    #expect(cluster.answer(to: 1) == .refused("lb3 never owns vip0: it is not in its `prefer`"))
    move(cluster, on: 2, to: .peer(cluster.peer(1, of: 2)!), ticket: 2)
    cluster.run(for: .milliseconds(20))
    if case .moved("lb2", _) = cluster.answer(to: 2) {
    } else {
      Issue.record("\(String(describing: cluster.answer(to: 2)))")
    }
    #expect(cluster.owners() == [1])
  }

  @Test func `to nobody, of a VIP that is not there, or twice at once: refused`() {
    let cluster = Self.settled(backends: ["app1"], drain: .seconds(1))
    cluster.connectionsLast = .seconds(1)
    move(cluster, to: .peer(9), ticket: 2)
    cluster.give(.command(.move(vip: 4, to: .best), ticket: 3), to: 0)
    move(cluster, ticket: 4)
    move(cluster, ticket: 5)
    #expect(cluster.answer(to: 2) == .refused("there is no such node"))
    #expect(cluster.answer(to: 3) == .refused("there is no such VIP"))
    #expect(cluster.answer(to: 4) == nil)
    #expect(cluster.answer(to: 5) == .refused("vip0 is being handed over to lb2 already"))
    cluster.run(for: .seconds(2))
    #expect(cluster.owners() == [1])
  }

  @Test func `a target that does not hear the owner's adverts says no`() {
    let cluster = Self.settled()
    cluster.loses = { $0.packet == .advert(vip: 0, priority: 254) && $0.to == 1 }
    cluster.run(for: .milliseconds(301))
    move(cluster)
    cluster.loses = { _ in false }
    cluster.run(for: .milliseconds(50))
    if case .refused(let why) = cluster.answer(to: 7) {
      #expect(why.contains("lb2"))
    } else {
      Issue.record("\(String(describing: cluster.answer(to: 7)))")
    }
    cluster.run(for: .seconds(1))
    #expect(cluster.owners() == [0])
  }

  // MARK: Late

  @Test(arguments: [Duration.milliseconds(10), .milliseconds(100)])
  func `a third node that is preferred leaves the target the VIP, though the word comes to it after the priority 0`(
    interval: Duration
  ) {
    let cluster = Self.settled(nodes: 3, interval: interval)
    cluster.delays = { sent in
      if sent.to == 1, case .word(.moved) = sent.packet { .milliseconds(5) } else { .zero }
    }
    move(cluster, to: .peer(cluster.peer(2, of: 0)!))
    cluster.run(for: .seconds(5))
    #expect(cluster.owners() == [2])
    #expect(cluster.takes() == 1)
    #expect(cluster.shared[0] == .zero)
    if case .moved("lb3", .some) = cluster.answer(to: 7) {
    } else {
      Issue.record("\(String(describing: cluster.answer(to: 7)))")
    }
  }

  @Test func `the owner waits until the third nodes know, but not for longer than 20 ms`() {
    let cluster = Self.settled(nodes: 3, interval: .milliseconds(10))
    cluster.delays = { sent in
      if case .word(.leave) = sent.packet { .milliseconds(15) } else { .zero }
    }
    move(cluster, to: .peer(cluster.peer(2, of: 0)!))
    cluster.run(for: .milliseconds(15))
    #expect(cluster.owners() == [0])
    cluster.run(for: .milliseconds(2))
    #expect(cluster.owners() == [2])
    let silent = Self.settled(nodes: 3)
    silent.loses = { if case .word(.leave) = $0.packet { true } else { false } }
    move(silent, to: .peer(silent.peer(2, of: 0)!))
    silent.run(for: .milliseconds(19))
    #expect(silent.owners() == [0])
    silent.run(for: .milliseconds(3))
    #expect(silent.owners() == [2])
    #expect(silent.longestVacancy() <= .milliseconds(1))
  }

  @Test func `a third node that goes while it is waited for holds nothing up`() {
    let cluster = Self.settled(nodes: 3)
    cluster.loses = { if case .word(.leave) = $0.packet { true } else { false } }
    move(cluster, to: .peer(cluster.peer(2, of: 0)!))
    cluster.run(for: .milliseconds(2))
    #expect(cluster.owners() == [0])
    cluster.kill(1)
    cluster.run(for: .milliseconds(2))
    #expect(cluster.owners() == [2])
  }

  @Test(arguments: [false, true])
  func `a word that comes when the old owner has the VIP again is not followed`(isCalledOff: Bool) {
    let cluster = Self.settled(nodes: 3)
    cluster.loses = { sent in
      switch sent.packet {
      case .advert(_, 0): true
      case .word(.refused): !isCalledOff
      default: false
      }
    }
    cluster.delays = { sent in if case .word(.moved) = sent.packet { .milliseconds(300) } else { .zero } }
    move(cluster, to: .peer(cluster.peer(2, of: 0)!))
    cluster.run(for: .milliseconds(200))
    #expect(cluster.owners() == [0])
    cluster.watch()
    cluster.run(for: .seconds(2))
    #expect(cluster.owners() == [0])
    #expect(cluster.takes() == 0)
    #expect(cluster.shared[0] == .zero)
    // And the others follow as if nothing had been.
    cluster.loses = { _ in false }
    cluster.kill(0)
    cluster.run(for: .seconds(1))
    #expect(cluster.owners() == [1])
    #expect(cluster.longestVacancy() <= Self.plain)
  }

  @Test func `a move that was called off is forgotten by the third nodes: the best follows a polite stop`() {
    let cluster = Self.settled(nodes: 3, backends: ["app1"], drain: .seconds(1))
    cluster.connectionsLast = .milliseconds(800)
    move(cluster, to: .peer(cluster.peer(2, of: 0)!))
    cluster.run(for: .milliseconds(100))
    cluster.give(.command(.standby, ticket: 9), to: 0)
    cluster.run(for: .seconds(3))
    #expect(cluster.owners() == [1])
  }

  // MARK: Each message lost

  enum Lost: CaseIterable {
    case prepare, ready, moved, taken, priorityZero, movedAndPriorityZero, firstAdverts, takenAndFirstAdverts
    case everythingBehindReady
  }

  @Test(arguments: Lost.allCases, [Duration.milliseconds(10), .milliseconds(100), .seconds(1)])
  func `whatever is lost, one owner is left, and nobody is the owner no longer than in plain VRRP`(
    lost: Lost, interval: Duration
  ) {
    let cluster = Self.settled(nodes: 3, backends: ["app1"], interval: interval)
    var adverts = 0
    var isBehindReady = false
    cluster.loses = { sent in
      switch (lost, sent.packet) {
      case (.prepare, .word(.prepare)), (.ready, .word(.ready)), (.moved, .word(.moved)), (.taken, .word(.taken)),
        (.movedAndPriorityZero, .word(.moved)), (.takenAndFirstAdverts, .word(.taken)):
        return true
      case (.priorityZero, .advert(_, 0)), (.movedAndPriorityZero, .advert(_, 0)): return true
      case (.firstAdverts, .advert(_, 253)), (.takenAndFirstAdverts, .advert(_, 253)):
        adverts += 1
        return adverts <= 4
      case (.everythingBehindReady, .word(.ready)):
        isBehindReady = true
        return false
      case (.everythingBehindReady, .word), (.everythingBehindReady, .advert(_, 0)): return isBehindReady
      default: return false
      }
    }
    move(cluster)
    cluster.run(for: .seconds(20))
    #expect(cluster.owners().count == 1)
    #expect(cluster.holders() == cluster.owners())
    #expect(cluster.answers(to: 7) == 1)
    #expect(cluster.longestVacancy() <= interval * 3 + interval / 64)
    switch lost {
    case .prepare, .ready:
      #expect(cluster.takes() == 0)
      #expect(cluster.answer(to: 7) == .refused("lb2 did not answer within a second"))
    case .moved, .priorityZero:
      #expect(cluster.owners() == [1])
      #expect(cluster.longestVacancy() <= .milliseconds(1))
    case .taken:
      #expect(cluster.owners() == [1])
      // It may have died before it had the addresses.
      let unsure = "lb2 did not say that it has it, though somebody advertises it: `roost status` tells who"
      #expect(cluster.answer(to: 7) == .refused(unsure))
    case .movedAndPriorityZero, .everythingBehindReady:
      #expect(cluster.owners() == [0])
      #expect(cluster.shared[0] <= .milliseconds(1))
    case .firstAdverts, .takenAndFirstAdverts: break
    }
    if case .firstAdverts = lost { return }
    if case .takenAndFirstAdverts = lost { return }
    #expect(cluster.shared[0] <= .milliseconds(1))
  }

  @Test(arguments: 1...40) func `with a third of everything lost there is one owner in the end, and one answer`(
    seed: Int
  ) {
    let cluster = Self.settled(nodes: 3, vips: 2, groups: [[0, 1]], backends: ["app1"])
    var random = SplitMix64(seed: UInt64(seed))
    cluster.loses = { _ in random.next() % 3 == 0 }
    for round in 0..<5 {
      for node in 0..<3 { move(cluster, on: node, ticket: UInt64(100 + round * 3 + node)) }
      cluster.run(for: .milliseconds(700))
    }
    cluster.loses = { _ in false }
    // As after any loss that a stream notices: the links come up anew.
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
      cluster.unlink(one, other)
      cluster.link(one, other)
    }
    cluster.run(for: .seconds(15))
    #expect(cluster.owners(0).count == 1)
    #expect(cluster.owners(0) == cluster.owners(1))
    #expect(cluster.holders(of: 0) == cluster.owners(0))
    #expect(cluster.holders(of: 1) == cluster.owners(1))
    for ticket in 100..<115 { #expect(cluster.answers(to: UInt64(ticket)) == 1) }
    cluster.watch()
    cluster.run(for: .seconds(10))
    #expect(cluster.takes(0) == 0)
    #expect(cluster.takes(1) == 0)
  }

  // MARK: What comes between

  @Test func `the link goes down while connections end: the owner stays, and serves on`() {
    let cluster = Self.settled(backends: ["app1"], drain: .seconds(1))
    cluster.connectionsLast = .milliseconds(800)
    move(cluster)
    cluster.run(for: .milliseconds(100))
    cluster.unlink(0, 1)
    #expect(cluster.answer(to: 7) == .refused("the link to lb2 went down"))
    // The proxy accepts again, on the same generation.
    #expect(cluster.effects.contains { $0.effect == .take(vip: 0, generation: 1, lease: nil, announcing: true) })
    cluster.run(for: .seconds(5))
    #expect(cluster.owners() == [0])
    #expect(cluster.vacant[0] == .zero)
  }

  @Test func `the target dies right after it was let go: the old owner takes the VIP back`() {
    let cluster = Self.settled()
    cluster.loses = { $0.from == 1 && $0.packet != .word(.ready(vip: "vip0", move: 0)) && Self.isAfterReady($0) }
    move(cluster)
    cluster.run(for: .microseconds(450))
    cluster.kill(1)
    cluster.run(for: .seconds(3))
    #expect(cluster.owners() == [0])
    #expect(cluster.longestVacancy() <= Self.plain)
    if case .refused(let why) = cluster.answer(to: 7) {
      #expect(why.contains("lb1 owns it again") || why.contains("went down"))
    } else {
      Issue.record("\(String(describing: cluster.answer(to: 7)))")
    }
  }

  private static func isAfterReady(_ sent: Cluster.Sent) -> Bool {
    if case .word(.ready) = sent.packet { false } else { true }
  }

  @Test func `the owner is told to stop while it hands over: it stops politely, and the ticket is answered`() {
    let cluster = Self.settled(backends: ["app1"], drain: .seconds(1))
    cluster.connectionsLast = .milliseconds(500)
    move(cluster)
    cluster.run(for: .milliseconds(100))
    cluster.give(.stop, to: 0)
    #expect(cluster.answer(to: 7) == .refused("lb1 is stopping"))
    cluster.run(for: .seconds(3))
    #expect(cluster.owners() == [1])
    #expect(cluster.longestVacancy() <= .milliseconds(5))
    #expect(cluster.effects.contains { $0.node == 0 && $0.effect == .stopped })
  }

  @Test func `the configuration loses the VIP while it is handed over: the ticket is answered`() {
    let cluster = Self.settled(backends: ["app1"], drain: .seconds(1))
    cluster.connectionsLast = .seconds(1)
    move(cluster)
    cluster.run(for: .milliseconds(100))
    var settings = cluster.nodes[0].settings
    settings.vips[0] = .vacant
    settings.services = [.vacant]
    cluster.give(.settings(settings), to: 0)
    cluster.run(for: .seconds(5))
    #expect(cluster.answers(to: 7) == 1)
    #expect(cluster.owners() == [1])
  }

  @Test func `members of a group move together`() {
    let cluster = Self.settled(nodes: 3, vips: 3, groups: [[0, 2]])
    cluster.give(.command(.move(vip: 2, to: .peer(cluster.peer(2, of: 0)!)), ticket: 7), to: 0)
    cluster.run(for: .milliseconds(20))
    #expect(cluster.owners(0) == [2])
    #expect(cluster.owners(1) == [0])
    #expect(cluster.owners(2) == [2])
    for vip in 0..<3 { #expect(cluster.longestVacancy(vip) <= .milliseconds(1)) }
    cluster.run(for: .seconds(10))
    #expect(cluster.owners(0) == [2])
    #expect(cluster.owners(2) == [2])
  }

  // MARK: Distrust

  @Test func `what a peer says without reason changes nothing`() {
    let cluster = Self.settled(nodes: 3)
    let peer = cluster.peer(2, of: 0)!
    let words: [PeerMessage] = [
      .moved(vip: "vip0", to: "lb1", move: 1), .moved(vip: "vip0", to: "lb3", move: 1),
      .moved(vip: "none", to: "lb1", move: 1),
      .taken(vip: "vip0", move: 1), .ready(vip: "vip0", move: 1), .refused(vip: "vip0", move: 1, reason: "no"),
      .moveEnded(move: 1, error: nil, vacant: nil), .successor(vip: "vip0", node: "lb1"),
      .successor(vip: "x", node: "lb1"),
      .prepare(vip: "vip0", move: 1), .prepare(vip: "", move: 1),
      .vips([
        .init(name: "vip0", state: .active, priority: 0, isEligible: true),
        .init(name: "vip0", state: .fault, priority: 9, isEligible: false),
        .init(name: "", state: .active, priority: 255, isEligible: true),
      ]),
      .moveRequest(vip: "none", to: nil, move: 3), .moveRequest(vip: "vip0", to: "nobody", move: 4),
    ]
    for word in words {
      cluster.give(.peer(peer, .said(word)), to: 0)
      cluster.give(.peer(cluster.peer(2, of: 1)!, .said(word)), to: 1)
      cluster.give(.peer(17, .said(word)), to: 0)
    }
    cluster.run(for: .seconds(5))
    #expect(cluster.owners() == [0])
    #expect(cluster.takes() == 0)
    #expect(cluster.nodes[0].coordination.counters.ignored > 5)
  }

  @Test func `a named successor follows a polite stop without skew, and a node that is not named after its skew`() {
    let cluster = Self.settled(nodes: 3, interval: .seconds(1))
    cluster.give(.stop, to: 0)
    cluster.run(for: .milliseconds(1))
    #expect(cluster.owners() == [1])
    #expect(cluster.longestVacancy() < .milliseconds(1))

    let alone = Cluster(nodes: 3, interval: .seconds(1), hasLinks: false)
    alone.run(for: .seconds(10))
    alone.watch()
    alone.give(.stop, to: 0)
    alone.run(for: .milliseconds(1))
    #expect(alone.owners() == [])
    alone.run(for: .milliseconds(20))
    #expect(alone.owners() == [1])
  }

  @Test func `a naming ends with its link`() {
    let cluster = Self.settled(interval: .seconds(1))
    cluster.unlink(0, 1)
    cluster.give(.stop, to: 0)
    cluster.run(for: .milliseconds(5))
    #expect(cluster.owners() == [])
  }

  @Test func `with all links cut the cluster is what plain VRRP is`() {
    let cluster = Self.settled(nodes: 3)
    for (one, other) in [(0, 1), (0, 2), (1, 2)] { cluster.unlink(one, other) }
    cluster.kill(0)
    cluster.run(for: .seconds(1))
    #expect(cluster.owners() == [1])
    #expect(cluster.longestVacancy() <= Self.plain)
  }

  @Test func `peers are told what changed and nothing twice`() {
    let cluster = Self.settled()
    cluster.run(for: .seconds(60))
    #expect(cluster.words(from: 0).isEmpty)
    #expect(cluster.words(from: 1).isEmpty)
  }
}
