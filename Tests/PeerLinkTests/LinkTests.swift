import Basis
import Crypto
import Glibc
import PeerLink
import Peering
import Testing

@Suite struct `The link between nodes` {
  @Test func `Two nodes find each other, and say things in order`() throws {
    let cluster = Cluster()
    let one = try Node(cluster.settings(1, hash: "a"))
    defer { one.link.stop() }
    let two = try Node(cluster.settings(2, hash: "b"))
    defer { two.link.stop() }
    eventually("up") { one.isUp() && two.isUp() }
    for number in 1...50 as ClosedRange<UInt64> { one.link.send(.prepare(vip: "web", move: number), to: 0) }
    eventually("heard") { two.heard(.prepare(vip: "web", move: 50)) }
    let moves = two.reports.compactMap { if case .said(0, .prepare(_, let move)) = $0 { move } else { nil } }
    #expect(moves == Array(1...50))
    two.link.send(.vips([.init(name: "web", state: .backup, priority: 253, isEligible: true)]), to: 0)
    eventually("answered") {
      one.heard(.vips([.init(name: "web", state: .backup, priority: 253, isEligible: true)]))
    }
    eventually("measured") { one.link.snapshot()[0].roundTrip != nil }
    let status = one.link.snapshot()[0]
    #expect(status.name == "lb2" && status.hello?.configuration == "b" && status.hello?.software == "0.2.0")
    #expect(status.messagesOut == 50 && status.messagesIn == 1 && status.dropped == 0 && status.lastSeen != nil)
  }

  @Test func `Five nodes are all linked to each other`() throws {
    let cluster = Cluster()
    let nodes = try (1...5).map { try Node(cluster.settings($0, of: 5)) }
    defer { for node in nodes { node.link.stop() } }
    eventually("all up") { nodes.allSatisfy { node in (0..<4).allSatisfy { node.isUp($0) } } }
  }

  @Test(arguments: [1, 2])
  func `A node that starts again is found again`(_ restarted: Int) throws {
    let cluster = Cluster()
    let staying = try Node(cluster.settings(3 - restarted))
    defer { staying.link.stop() }
    var lives: Set<UInt64> = []
    for life in 1...3 {
      let other = try Node(cluster.settings(restarted))
      eventually("up in life \(life)") { staying.isUp() && other.isUp() }
      if let hello = staying.link.snapshot()[0].hello { lives.insert(hello.life) }
      other.link.stop()
      eventually("down after life \(life)") { !staying.isUp() }
    }
    #expect(lives.count == 3)
    #expect(staying.link.snapshot()[0].connections == 3)
  }

  @Test func `Without a secret in common there is no link, and why is said`() throws {
    let cluster = Cluster()
    let one = try Node(cluster.settings(1, secrets: [newSecret]))
    defer { one.link.stop() }
    let two = try Node(cluster.settings(2, secrets: [oldSecret]))
    defer { two.link.stop() }
    for node in [one, two] {
      eventually("said by both") { node.isTold("its certificate is not of this cluster: another secret?") }
      #expect(!node.isTold("internal error"))
    }
    #expect(!one.isUp() && !two.isUp())
    // And with one that knows both, there is.
    two.link.replace(cluster.settings(2, secrets: [newSecret, oldSecret]))
    eventually("up") { one.isUp() && two.isUp() }
  }

  @Test func `A secret is changed node by node, and the link ends once, when the old one goes`() throws {
    let cluster = Cluster()
    let one = try Node(cluster.settings(1))
    defer { one.link.stop() }
    let two = try Node(cluster.settings(2))
    defer { two.link.stop() }
    eventually("up") { one.isUp() && two.isUp() }
    func connections() -> [UInt64] { [one, two].map { $0.link.snapshot()[0].connections } }
    for (step, (node, number, secrets)) in [
      (one, 1, [oldSecret, newSecret]), (two, 2, [newSecret, oldSecret]), (one, 1, [newSecret, oldSecret]),
      (two, 2, [newSecret]), (one, 1, [newSecret]),
    ].enumerated() {
      node.link.replace(cluster.settings(number, secrets: secrets, hash: "step \(step)"))
      let other = node === one ? two : one
      // The hello shows that the step is done; the connection that carried it is the one that is there then.
      eventually("up, and told") { other.isUp() && other.link.snapshot()[0].hello?.configuration == "step \(step)" }
      eventually("up on both sides") { one.isUp() && two.isUp() }
      #expect(connections() == (step < 3 ? [1, 1] : [2, 2]), "step \(step)")
    }
  }

  @Test func `Another configuration is told without a new connection`() throws {
    let cluster = Cluster()
    let one = try Node(cluster.settings(1, hash: "before"))
    defer { one.link.stop() }
    let two = try Node(cluster.settings(2, hash: "before"))
    defer { two.link.stop() }
    eventually("up") { one.isUp() && two.isUp() }
    one.link.replace(cluster.settings(1, hash: "after"))
    eventually("told") { two.link.snapshot()[0].hello?.configuration == "after" }
    #expect(two.link.snapshot()[0].connections == 1)
  }

  @Test func `A node that is taken out of the configuration is let go`() throws {
    let cluster = Cluster()
    let one = try Node(cluster.settings(1, of: 3))
    defer { one.link.stop() }
    let two = try Node(cluster.settings(2, of: 3))
    defer { two.link.stop() }
    let three = try Node(cluster.settings(3, of: 3))
    defer { three.link.stop() }
    eventually("all up") { [one, two, three].allSatisfy { $0.isUp(0) && $0.isUp(1) } }
    var smaller = cluster.settings(1, of: 3)
    smaller.peers[0] = .init(name: "", addresses: [])
    one.link.replace(smaller)
    eventually("gone") { !two.isUp(0) }
    #expect(one.isUp(1) && three.isUp(0) && one.link.snapshot()[1].connections == 1)
  }

  @Test func `A node whose port is taken says so, and listens when it is free`() throws {
    let cluster = Cluster()
    let squatter = try Node(cluster.settings(2))
    let two = try Node(cluster.settings(2))
    defer { two.link.stop() }
    eventually("said") { two.isTold("can't listen") || squatter.isTold("can't listen") }
    squatter.link.stop()
    let one = try Node(cluster.settings(1))
    defer { one.link.stop() }
    eventually("up") { one.isUp() && two.isUp() }
  }

  @Test func `Each knows how far the other's clock is from its own, and says it once where that is too far`() throws {
    let cluster = Cluster()
    var strict = cluster.settings(1)
    // One machine has one clock, so only a limit below nothing is passed.
    strict.clockLimit = .seconds(-1)
    let one = try Node(strict)
    defer { one.link.stop() }
    var lenient = cluster.settings(2)
    lenient.clockLimit = .seconds(2)
    let two = try Node(lenient)
    defer { two.link.stop() }
    eventually("measured") { one.link.snapshot()[0].clock != nil && two.link.snapshot()[0].clock != nil }
    let clock = try #require(one.link.snapshot()[0].clock)
    // The truth is zero.
    #expect(clock.offset <= clock.error + .milliseconds(1) && clock.offset >= .zero - clock.error - .milliseconds(1))
    eventually("told") { !one.clocks.isEmpty }
    let pings = one.link.snapshot()[0].bytesIn
    eventually("asked again and again") { one.link.snapshot()[0].bytesIn > pings + 100 }
    #expect(one.clocks == [true] && two.clocks.isEmpty)
    strict.clockLimit = .seconds(2)
    one.link.replace(strict)
    eventually("told that it is over") { one.clocks == [true, false] }
  }
}
