import Basis
import Node
import Peering
import Testing
import VRRP
import Wire

struct WarmUpTests {
  private static let silent: Event = {
    var state = LinkState(isUp: true, ipv4: Bench.own, linkLocal: nil)
    state.hasReceived = false
    return .link(interface: "eth0", state)
  }()

  private func node(priority: UInt8 = 254) -> Bench {
    var bench = Bench(priority: priority) { $0.vips[0].warmUp = .seconds(10) }
    bench.give(.start)
    bench.give(Self.silent)
    return bench
  }

  @Test(arguments: [254, 255] as [UInt8])
  func `a node whose link has brought nothing yet only listens, and says so`(priority: UInt8) {
    var bench = node(priority: priority)
    bench.advance(by: .milliseconds(9_999))
    #expect(!bench.take().contains { $0.isTransmit || $0.isTake })
    #expect(bench.node.vips[0].state == .initialize)
    #expect(bench.node.vips[0].reason.contains("nothing was received on eth0"))
  }

  @Test func `but not for ever`() {
    var bench = node()
    bench.advance(by: .milliseconds(10_301))
    #expect(bench.node.vips[0].state == .active)
  }

  @Test func `when something is received its election begins with a full wait`() {
    var bench = node()
    bench.advance(by: .seconds(2))
    bench.give(Bench.linkUp)
    bench.advance(by: .milliseconds(300))
    #expect(bench.node.vips[0].state == .backup)
    bench.advance(by: .milliseconds(1))
    #expect(bench.node.vips[0].state == .active)
  }

  @Test func `an advert ends it, and is heard already`() {
    var bench = node()
    bench.advance(by: .seconds(2))
    bench.hear(priority: 255)
    #expect(bench.node.vips[0].state == .backup)
    #expect(bench.node.vips[0].router?.owner?.priority == 255)
  }

  @Test func `an advert for a virtual router of others ends it too`() {
    var bench = node()
    let envelope = Envelope(
      interface: "eth0", source: .v4(Bench.peer), destination: .v4(IPv4Address(224, 0, 0, 18)), hopLimit: 255)
    bench.give(.advert(envelope, [0x31, 52, 100, 1, 0, 10, 0, 0, 10, 0, 0, 100]))
    #expect(bench.node.vips[0].state == .backup)
  }

  @Test func `it begins again when the link was down`() {
    var bench = node()
    bench.give(Bench.linkUp)
    bench.advance(by: .milliseconds(400))
    #expect(bench.node.vips[0].state == .active)
    bench.give(.address(vip: 0, .added(generation: 1, until: nil)))
    bench.give(Bench.linkDown)
    bench.give(.address(vip: 0, .removed(generation: 1)))
    bench.give(Self.silent)
    bench.advance(by: .seconds(9))
    #expect(bench.node.vips[0].state == .initialize)
  }

  @Test func `a link that has received before the node started needs none`() {
    var bench = Bench { $0.vips[0].warmUp = .seconds(10) }
    bench.give(Bench.linkUp)
    bench.give(.start)
    bench.advance(by: .milliseconds(301))
    #expect(bench.node.vips[0].state == .active)
  }
}

struct IsolationTests {
  /// A backup of 10.0.0.12, with witnesses and a peer link.
  private var backup: Bench {
    var bench = Bench(priority: 253) {
      $0.hasWitnesses = true
      $0.peers = ["lb2"]
    }
    bench.give(.start)
    bench.give(Bench.linkUp)
    for _ in 1...5 {
      bench.hear(priority: 254)
      bench.advance(by: .milliseconds(100))
    }
    _ = bench.take()
    return bench
  }

  private func rounds(_ effects: [Effect]) -> [UInt64] {
    effects.compactMap { if case .askWitnesses(_, let round) = $0 { round } else { nil } }
  }

  @Test func `as long as the owner is heard nobody is asked`() {
    var bench = backup
    for _ in 1...20 {
      bench.hear(priority: 254)
      bench.advance(by: .milliseconds(100))
    }
    #expect(rounds(bench.take()).isEmpty)
  }

  @Test func `half an interval after a missing advert the witnesses are asked, and an answer in time delays nothing`() {
    var bench = backup
    // 100 ms have passed since the last advert.
    bench.advance(by: .milliseconds(50))
    #expect(rounds(bench.take()) == [1])
    bench.advance(by: .milliseconds(100))
    #expect(rounds(bench.take()) == [2, 3], "and each half interval from there on")
    bench.give(.witness(vip: 0, round: 3))
    bench.advance(by: .microseconds(51_100))
    #expect(bench.node.vips[0].state == .backup)
    bench.advance(by: .microseconds(100))
    #expect(bench.node.vips[0].state == .active)
  }

  @Test func `one answer of two may get lost`() {
    var bench = backup
    bench.advance(by: .milliseconds(100))
    #expect(rounds(bench.take()) == [1, 2])
    bench.give(.witness(vip: 0, round: 2))
    bench.advance(by: .milliseconds(102))
    #expect(bench.node.vips[0].state == .active)
  }

  @Test func `an answer from before the link was cut is no proof when the claim is due`() {
    var bench = backup
    bench.advance(by: .milliseconds(50))
    bench.give(.witness(vip: 0, round: 1))
    // Two more questions stay without an answer.
    bench.advance(by: .seconds(2))
    #expect(bench.node.vips[0].state == .backup)
    #expect(bench.node.vips[0].reason.hasPrefix("isolated"))
  }

  @Test func `an answer counts from when its question was asked, not from when it is read`() {
    var bench = backup
    bench.advance(by: .milliseconds(195))
    bench.give(.witness(vip: 0, round: 1))
    bench.advance(by: .seconds(1))
    #expect(bench.node.vips[0].state == .backup)
  }

  @Test func `where answers take longer than a proof is good for, the first to a question of the waiting ends it`() {
    var bench = backup
    bench.advance(by: .milliseconds(210))
    let round = rounds(bench.take()).last!
    bench.advance(by: .milliseconds(180))
    bench.give(.witness(vip: 0, round: round))
    #expect(bench.node.vips[0].state == .active)
  }

  @Test func `without an answer it stays a backup, says why, asks on, and claims with the first answer`() {
    var bench = backup
    bench.advance(by: .seconds(2))
    let effects = bench.take()
    #expect(!effects.contains { $0.isTake } && !effects.contains { $0.isTransmit })
    #expect(rounds(effects).count >= 19)
    #expect(bench.node.vips[0].state == .backup)
    #expect(bench.node.vips[0].reason.hasPrefix("isolated: nothing is heard on eth0"))
    #expect(effects.count(where: { $0.isReport }) == 1)
    bench.give(.witness(vip: 0, round: rounds(effects).last!))
    #expect(bench.take().contains { $0.isTake })
  }

  @Test func `an answer to a question of an earlier silence is none`() {
    var bench = backup
    bench.advance(by: .milliseconds(60))
    bench.hear(priority: 254)
    bench.give(.witness(vip: 0, round: 1))
    bench.give(.witness(vip: 0, round: 99))
    bench.give(.witness(vip: 9, round: 1))
    bench.advance(by: .seconds(1))
    #expect(bench.node.vips[0].state == .backup)
  }

  @Test func `adverts that come back make it an ordinary backup again`() {
    var bench = backup
    bench.advance(by: .seconds(2))
    bench.hear(priority: 254)
    #expect(bench.node.vips[0].reason == "adverts are heard again")
    _ = bench.take()
    bench.advance(by: .milliseconds(140))
    #expect(rounds(bench.take()).isEmpty)
    #expect(bench.node.vips[0].state == .backup)
  }

  @Test func `a word of a peer is an answer`() {
    var bench = backup
    bench.advance(by: .milliseconds(190))
    bench.give(.peer(0, .said(.vips([]))))
    bench.advance(by: .milliseconds(20))
    #expect(bench.node.vips[0].state == .active)
  }

  @Test func `a peer link that is still up long after the adverts ended is one, too`() {
    var bench = backup
    bench.give(.peer(0, .up))
    bench.advance(by: .seconds(4))
    #expect(bench.node.vips[0].state == .backup, "a cut link is noticed later than missing adverts")
    bench.advance(by: .seconds(2))
    #expect(bench.node.vips[0].state == .active)
  }

  @Test func `but not of a silence of which the node was no backup`() {
    var bench = backup
    bench.give(.peer(0, .up))
    bench.give(.command(.standby, ticket: 1))
    bench.advance(by: .seconds(60))
    bench.give(.command(.resume, ticket: 2))
    bench.advance(by: .seconds(4))
    #expect(bench.node.vips[0].state == .backup, "the link may have been cut just before")
    bench.advance(by: .seconds(2))
    #expect(bench.node.vips[0].state == .active)
  }

  @Test func `a priority 0 needs no witness`() {
    var bench = backup
    bench.hear(priority: 0)
    bench.advance(by: .milliseconds(2))
    #expect(bench.node.vips[0].state == .active)
  }

  @Test func `nor does a worse owner that is heard`() {
    var bench = Bench(priority: 253) { $0.hasWitnesses = true }
    bench.give(.start)
    bench.give(Bench.linkUp)
    for _ in 1...4 {
      bench.hear(priority: 100)
      bench.advance(by: .milliseconds(100))
    }
    #expect(bench.node.vips[0].state == .active)
  }

  @Test func `a node that starts alone waits for a witness`() {
    var bench = Bench { $0.hasWitnesses = true }
    bench.give(.start)
    bench.give(Bench.linkUp)
    bench.advance(by: .seconds(5))
    #expect(bench.node.vips[0].state == .backup)
    let asked = rounds(bench.take())
    bench.give(.witness(vip: 0, round: asked.last!))
    #expect(bench.node.vips[0].state == .active)
  }

  @Test func `an owner that hears nothing any more keeps its VIP`() {
    var bench = backup
    bench.hear(priority: 0)
    bench.advance(by: .milliseconds(2))
    bench.confirm(generation: 1)
    _ = bench.take()
    bench.confirmRenewals(for: .seconds(20))
    #expect(bench.node.vips[0].state == .active)
    #expect(rounds(bench.take()).isEmpty)
  }
}
