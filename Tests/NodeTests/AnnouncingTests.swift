import Basis
import Node
import Peering
import Testing
import VRRP
import Wire

struct ClaimTests {
  private static let stranger = MACAddress(rawValue: 0x02_00_00_00_00_66)
  private static let other = MACAddress(rawValue: 0x02_00_00_00_00_77)

  /// An owner whose burst is over.
  private var owner: Bench {
    var bench = Bench.owner(lease: nil)
    bench.advance(by: .seconds(5))
    _ = bench.take()
    return bench
  }

  private func claim(_ mac: MACAddress = Self.stranger) -> Event { .address(vip: 0, .claimed(Bench.vip, by: mac)) }

  @Test func `a foreign claim is answered, a moment later`() {
    var bench = owner
    bench.give(claim())
    #expect(bench.take() == [.report(.claimed(Bench.vip, by: Self.stranger, vip: 0))])
    bench.advance(by: .milliseconds(5))
    #expect(bench.take().deeds == [.announce(vip: 0, generation: 1)])
  }

  @Test func `the first announcement of a new owner is none: its advert is heard before the answer`() {
    var bench = owner
    bench.give(claim())
    bench.hear(priority: 255)
    bench.advance(by: .milliseconds(50))
    #expect(!bench.take().contains { $0.isAnnouncement })
  }

  @Test func `claims without end are answered at most four times an interval, and the last one always`() {
    var bench = owner
    for _ in 1...1_000 {
      bench.give(claim())
      bench.advance(by: .milliseconds(1))
    }
    let during = bench.take().count(where: { $0.isAnnouncement })
    #expect(during >= 30 && during <= 41)
    bench.advance(by: .milliseconds(50))
    #expect(bench.take().count(where: { $0.isAnnouncement }) == 1)
    bench.advance(by: .seconds(1))
    #expect(!bench.take().contains { $0.isAnnouncement })
  }

  @Test func `after ten seconds of it haste does not help, and it slows down`() {
    var bench = owner
    for _ in 1...1_100 {
      bench.give(claim())
      bench.advance(by: .milliseconds(10))
    }
    _ = bench.take()
    for _ in 1...100 {
      bench.give(claim())
      bench.advance(by: .milliseconds(10))
    }
    #expect(bench.take().count(where: { $0.isAnnouncement }) <= 5)
  }

  @Test func `each claimant is told of once`() {
    var bench = owner
    for mac in [Self.stranger, Self.stranger, Self.other, Self.other] {
      bench.give(claim(mac))
      bench.advance(by: .seconds(11))
    }
    #expect(bench.take().count(where: { $0.isReport }) == 2)
  }

  @Test func `claimants that take turns are told of every ten seconds at most`() {
    var bench = owner
    for _ in 1...10 {
      bench.give(claim(Self.stranger))
      bench.give(claim(Self.other))
      bench.advance(by: .milliseconds(500))
    }
    #expect(bench.take().count(where: { $0.isReport }) == 1)
  }

  @Test func `what this node does not own, anybody may announce`() {
    var backup = Bench()
    backup.give(.start)
    backup.give(Bench.linkUp)
    _ = backup.take()
    backup.give(claim())
    #expect(backup.take().isEmpty)
    var bench = owner
    bench.give(.address(vip: 0, .claimed(.v4(IPv4Address(10, 0, 0, 200)), by: Self.stranger)))
    bench.give(.address(vip: 7, .claimed(Bench.vip, by: Self.stranger)))
    #expect(bench.take().isEmpty)
  }

  @Test func `an owner that drains defends the VIP still`() {
    var bench = Bench.owner(backends: ["app1"])
    bench.give(.stop)
    _ = bench.take()
    bench.give(claim())
    bench.advance(by: .milliseconds(5))
    #expect(bench.take().contains(.announce(vip: 0, generation: 1)))
  }

  @Test func `a peer that is heard of again, or says that it owns the VIP no longer, is followed by an announcement`() {
    var bench = Bench.owner(lease: nil) { $0.peers = ["lb2"] }
    bench.advance(by: .seconds(5))
    func said(_ state: PeerMessage.VIPReport.State) -> Event {
      .peer(0, .said(.vips([.init(name: "web", state: state, priority: 100, isEligible: true)])))
    }
    _ = bench.take()
    bench.give(.peer(0, .up))
    #expect(bench.take().count { $0.isAnnouncement } == 1)
    bench.give(said(.backup))
    bench.give(said(.active))
    #expect(!bench.take().contains { $0.isAnnouncement })
    bench.give(said(.backup))
    #expect(bench.take().count { $0.isAnnouncement } == 1)
    bench.give(said(.backup))
    #expect(!bench.take().contains { $0.isAnnouncement })
  }

  @Test func `an address that another machine has is left to it, and tried later and later`() {
    var bench = Bench.owner()
    bench.give(.address(vip: 0, .duplicate(Bench.vip)))
    let effects = bench.take()
    #expect(effects.contains(.report(.duplicate(Bench.vip, vip: 0))))
    #expect(effects.deeds == [.release(vip: 0, generation: 1)])
    #expect(bench.node.vips[0].state == .fault)
    #expect(bench.node.vips[0].reason == "another machine has 10.0.0.100")
    bench.give(.address(vip: 0, .removed(generation: 1)))
    bench.advance(by: .milliseconds(1_400))
    #expect(bench.take().contains { $0.isTake })
    bench.give(.address(vip: 0, .duplicate(Bench.vip)))
    bench.give(.address(vip: 0, .removed(generation: 2)))
    _ = bench.take()
    bench.advance(by: .milliseconds(1_900))
    #expect(!bench.take().contains { $0.isTake })
  }
}

struct RefreshTests {
  @Test func `an owner announces again from time to time when the burst is over`() {
    var bench = Bench.owner(lease: nil) { $0.vips[0].refresh = .seconds(30) }
    bench.advance(by: .seconds(5))
    _ = bench.take()
    bench.advance(by: .seconds(120))
    #expect(bench.take().count(where: { $0.isAnnouncement }) == 4)
  }

  @Test func `and without refresh never`() {
    var bench = Bench.owner(lease: nil)
    bench.advance(by: .seconds(5))
    _ = bench.take()
    bench.advance(by: .seconds(120))
    #expect(!bench.take().contains { $0.isAnnouncement })
  }
}

struct PreparationTests {
  private var preparing: Bench {
    var bench = Bench { $0.vips[0].preparation = .seconds(3) }
    bench.give(.start)
    bench.give(Bench.linkUp)
    bench.advance(by: .milliseconds(301))
    return bench
  }

  @Test func `addresses are taken at once and announced when the command has ended`() {
    var bench = preparing
    #expect(
      bench.take().deeds == [
        .prepare(vip: 0, generation: 1), .take(vip: 0, generation: 1, lease: .seconds(2), announcing: false),
      ])
    bench.confirm(generation: 1)
    bench.advance(by: .milliseconds(500))
    let waiting = bench.take()
    #expect(waiting.contains { $0.isTransmit }, "adverts go on")
    #expect(!waiting.contains { $0.isAnnouncement })
    bench.give(.prepared(vip: 0, generation: 1, succeeded: true))
    #expect(bench.take() == [.announce(vip: 0, generation: 1)])
    bench.advance(by: .milliseconds(650))
    #expect(bench.take().count(where: { $0.isAnnouncement }) == 3)
  }

  @Test func `losing adverts and claims are not answered with an announcement before that`() {
    var bench = preparing
    bench.confirm(generation: 1)
    bench.hear(priority: 100)
    bench.give(.address(vip: 0, .claimed(Bench.vip, by: MACAddress(rawValue: 7))))
    bench.advance(by: .milliseconds(100))
    #expect(!bench.take().contains { $0.isAnnouncement })
  }

  @Test(arguments: [false, true])
  func `one that fails, or does not end, is told, and the VIP is announced all the same`(timesOut: Bool) {
    var bench = preparing
    bench.confirm(generation: 1)
    _ = bench.take()
    if timesOut {
      bench.confirmRenewals(for: .seconds(3))
    } else {
      bench.give(.prepared(vip: 0, generation: 1, succeeded: false))
    }
    let effects = bench.take()
    #expect(effects.contains(.report(.preparationFailed(vip: 0, timedOut: timesOut))))
    #expect(effects.contains(.announce(vip: 0, generation: 1)))
  }

  @Test func `an answer for an earlier ownership, or a second one, is none`() {
    var bench = preparing
    _ = bench.take()
    bench.give(.prepared(vip: 0, generation: 7, succeeded: true))
    bench.give(.prepared(vip: 9, generation: 1, succeeded: true))
    #expect(bench.take().isEmpty)
    bench.give(.prepared(vip: 0, generation: 1, succeeded: true))
    _ = bench.take()
    bench.give(.prepared(vip: 0, generation: 1, succeeded: true))
    #expect(bench.take().isEmpty)
  }

  @Test func `an owner that lost the VIP meanwhile announces nothing`() {
    var bench = preparing
    bench.confirm(generation: 1)
    bench.hear(priority: 255)
    _ = bench.take()
    bench.give(.prepared(vip: 0, generation: 1, succeeded: true))
    bench.advance(by: .milliseconds(100))
    #expect(!bench.take().contains { $0.isAnnouncement })
  }
}
