import Basis
import Node
import Testing
import VRRP
import Wire

/// The guardian gave the VIP up while this process was stalled. Every order in which that can meet renewal, expiry, removal and
/// putting back: at no point does a node that lost the VIP speak as its owner, and no late report touches the next ownership.
struct RevocationTests {
  private static let revoked = Event.address(vip: 0, .revoked(generation: 1))

  /// Effects that tell others, or the kernel, that this node owns the VIP.
  private func claims(_ effects: [Effect]) -> [Effect] {
    effects.filter { effect in
      switch effect {
      case .transmit: effect.priority != 0
      case .take, .renew, .announce: true
      default: false
      }
    }
  }

  @Test func `a revoked owner is a backup without a word`() {
    var bench = Bench.owner()
    bench.now = bench.now + .milliseconds(400)
    bench.give(Self.revoked)
    let effects = bench.take()
    #expect(!effects.contains { $0.isTransmit })
    #expect(effects.deeds == [.release(vip: 0, generation: 1)])
    #expect(effects.contains(.report(.revoked(vip: 0))))
    #expect(bench.node.vips[0].state == .backup)
    #expect(bench.node.vips[0].reason.contains("guardian"))
  }

  @Test func `other elections whose time is up wait once more: the held process could hear nothing`() {
    var bench = Bench.owner { settings in
      var other = settings.vips[0]
      other.name = "db"
      other.addresses = [.v4(IPv4Address(10, 0, 0, 101))]
      other.election = .vrrp(
        VRRP.Settings(
          id: 52, family: .ipv4, priority: 253, interval: .milliseconds(100), preempt: false, addresses: other.addresses
        ))
      settings.vips.append(other)
    }
    bench.hear(priority: 255, id: 52)
    #expect(bench.node.vips[1].state == .backup)
    _ = bench.take()
    bench.now = bench.now + .seconds(1)
    bench.give(Self.revoked)
    bench.give(.timer)
    #expect(!bench.take().contains { if case .take(1, _, _, _) = $0 { true } else { false } })
    // Its owner is there after all.
    bench.hear(priority: 255, id: 52)
    bench.advance(by: .milliseconds(250))
    #expect(bench.node.vips[1].state == .backup)
    // Or is not: then it is taken as ever.
    bench.advance(by: .milliseconds(400))
    #expect(bench.node.vips[1].state == .active)
  }

  @Test func `connections are reset, and nothing waits for them`() {
    var bench = Bench.owner(backends: ["app1"])
    bench.give(Self.revoked)
    #expect(
      bench.take().deeds == [
        .closeConnections(vip: 0, generation: 1, within: .zero), .release(vip: 0, generation: 1),
      ])
  }

  @Test func `it is no owner again before an Active_Down_Interval, whatever it hears`() {
    var bench = Bench.owner()
    bench.give(Self.revoked)
    bench.hear(priority: 0)
    bench.advance(by: .milliseconds(300))
    #expect(!bench.take().contains { $0.isTake })
    bench.advance(by: .milliseconds(1))
    #expect(bench.take().contains { $0.isTake })
  }

  @Test func `its successor's adverts keep it a backup until it preempts by the ordinary rules`() {
    var bench = Bench.owner()
    bench.give(Self.revoked)
    for _ in 1...3 {
      bench.hear(priority: 253)
      bench.advance(by: .milliseconds(100))
      #expect(bench.node.vips[0].state == .backup)
    }
    bench.hear(priority: 253)
    bench.advance(by: .milliseconds(10))
    #expect(bench.node.vips[0].state == .active)
  }

  @Test func `a renewal that was on its way confirms nothing`() {
    var bench = Bench.owner()
    bench.advance(by: .milliseconds(100))
    bench.give(Self.revoked)
    _ = bench.take()
    bench.give(.address(vip: 0, .renewed(generation: 1, until: bench.now + .seconds(2))))
    bench.give(.address(vip: 0, .added(generation: 1, until: bench.now + .seconds(2))))
    #expect(bench.node.vips[0].holding == .releasing(generation: 1))
    #expect(claims(bench.take()).isEmpty)
  }

  @Test func `an expiry seen first is the end, and the revocation behind it is none`() {
    var bench = Bench.owner()
    bench.give(.address(vip: 0, .vanished(generation: 1)))
    _ = bench.take()
    bench.give(Self.revoked)
    #expect(bench.take().isEmpty)
    #expect(bench.node.vips[0].state == .backup)
  }

  @Test func `a lease that ran out in the same stall changes nothing: not even a priority 0 is said`() {
    var bench = Bench.owner()
    bench.now = bench.now + .seconds(10)
    bench.give(Self.revoked)
    #expect(!bench.take().contains { $0.isTransmit })
    bench.give(.timer)
    #expect(bench.node.vips[0].state == .active || bench.node.vips[0].state == .backup)
  }

  @Test func `the removal that the guardian made is no loss of its own`() {
    var bench = Bench.owner()
    bench.give(Self.revoked)
    _ = bench.take()
    bench.give(.address(vip: 0, .vanished(generation: 1)))
    bench.give(.address(vip: 0, .putBack(generation: 1)))
    #expect(bench.take().isEmpty)
  }

  @Test func `an address put back before the revocation is released with it`() {
    var bench = Bench.owner()
    bench.give(.address(vip: 0, .putBack(generation: 1)))
    bench.give(Self.revoked)
    #expect(bench.take().deeds == [.release(vip: 0, generation: 1)])
  }

  @Test func `a revocation of an earlier ownership leaves the present one alone`() {
    var bench = Bench.owner()
    bench.give(Self.revoked)
    bench.give(.address(vip: 0, .removed(generation: 1)))
    bench.advance(by: .milliseconds(400))
    #expect(bench.node.vips[0].state == .active)
    _ = bench.take()
    bench.give(Self.revoked)
    bench.give(.address(vip: 0, .removed(generation: 1)))
    bench.give(.address(vip: 0, .failed(generation: 1, code: 1)))
    #expect(bench.take().isEmpty)
    #expect(bench.node.vips[0].holding == .held(generation: 2, until: bench.node.vips[0].leaseEnd))
  }

  @Test func `a backup has nothing to be revoked`() {
    var bench = Bench()
    bench.give(.start)
    bench.give(Bench.linkUp)
    _ = bench.take()
    bench.give(.address(vip: 0, .revoked(generation: 0)))
    #expect(bench.take().isEmpty)
  }

  @Test func `revoked while it drains, a stopping node goes without a word`() {
    var bench = Bench.owner(backends: ["app1"])
    bench.give(.stop)
    _ = bench.take()
    bench.give(Self.revoked)
    let effects = bench.take()
    #expect(!effects.contains { $0.isTransmit })
    #expect(effects.deeds.contains(.release(vip: 0, generation: 1)))
    bench.give(.address(vip: 0, .removed(generation: 1)))
    #expect(bench.take().last == .stopped)
  }

  @Test func `revoked while connections are reset for a better owner, it lets go at once`() {
    var bench = Bench.owner(backends: ["app1"])
    bench.hear(priority: 255)
    _ = bench.take()
    bench.give(Self.revoked)
    #expect(bench.take().deeds == [.release(vip: 0, generation: 1)])
  }

  @Test func `a fixed owner that was revoked takes the VIP again when it is gone`() {
    var bench = Bench(election: .fixed(owner: true))
    bench.give(.start)
    bench.give(Bench.linkUp)
    bench.confirm(generation: 1)
    _ = bench.take()
    bench.give(Self.revoked)
    #expect(bench.take().deeds == [.release(vip: 0, generation: 1)])
    bench.give(.address(vip: 0, .removed(generation: 1)))
    #expect(bench.take().deeds == [.take(vip: 0, generation: 2, lease: .seconds(2), announcing: true)])
  }
}

struct GroupRevocationTests {
  /// The owner of two VIPs that move together.
  private var owner: Bench {
    var bench = Bench {
      let second = IPAddress.v4(IPv4Address(10, 0, 0, 101))
      let router = VRRP.Settings(
        id: 52, family: .ipv4, priority: 254, interval: .milliseconds(100), addresses: [second])
      $0.vips.append(
        VIPSettings(
          name: "db", interface: "eth0", addresses: [second], election: .vrrp(router), lease: .seconds(2),
          drain: .seconds(1)))
      $0.groups = [[0, 1]]
    }
    bench.give(.start)
    bench.give(Bench.linkUp)
    bench.advance(by: .milliseconds(350))
    for vip in 0...1 { bench.give(.address(vip: vip, .added(generation: 1, until: bench.now + .seconds(2)))) }
    _ = bench.take()
    return bench
  }

  @Test func `when one VIP of a group was revoked, nothing is said of the others either`() {
    var bench = owner
    #expect(bench.node.vips.allSatisfy { $0.state == .active })
    for vip in 0...1 { bench.give(.address(vip: vip, .revoked(generation: 1))) }
    let effects = bench.take()
    #expect(!effects.contains { $0.isTransmit })
    #expect(effects.deeds.count(where: { if case .release = $0 { true } else { false } }) == 2)
    #expect(bench.node.vips.allSatisfy { $0.state == .backup })
  }

  @Test func `an owner that wakes to the successor of one makes way with all`() {
    var bench = owner
    bench.now = bench.now + .milliseconds(450)
    bench.hear(priority: 253)
    #expect(!bench.take().contains { $0.isTransmit })
    #expect(bench.node.vips.allSatisfy { $0.state == .backup })
  }
}

extension VirtualAddress {
  /// When the kernel removes the addresses, as far as this node knows.
  var leaseEnd: Instant? { if case .held(_, let until) = holding { until } else { nil } }
}

struct StallTests {
  @Test func `an owner that wakes to its successor's adverts lets go without a word`() {
    var bench = Bench.owner()
    bench.now = bench.now + .milliseconds(450)
    bench.hear(priority: 253)
    let effects = bench.take()
    #expect(!effects.contains { $0.isTransmit })
    #expect(effects.deeds == [.release(vip: 0, generation: 1)])
    #expect(bench.node.vips[0].reason.contains("another one took over"))
  }

  @Test func `an owner that wakes to silence goes on and announces`() {
    var bench = Bench.owner(lease: nil)
    bench.advance(by: .seconds(5))
    _ = bench.take()
    bench.now = bench.now + .milliseconds(450)
    bench.give(.timer)
    let effects = bench.take()
    #expect(effects.filter(\.isTransmit).count == 1)
    #expect(effects.filter(\.isAnnouncement).count == 1)
    #expect(bench.node.vips[0].state == .active)
  }

  @Test func `news that waited with the adverts does not make a late owner speak`() {
    var bench = Bench.owner()
    bench.now = bench.now + .milliseconds(450)
    bench.give(.address(vip: 0, .renewed(generation: 1, until: bench.now + .seconds(2))))
    bench.give(.workers(healthy: true))
    bench.give(Bench.linkUp)
    #expect(!bench.take().contains { $0.isTransmit })
  }
}
