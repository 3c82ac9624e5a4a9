import Basis
import Health
import Node
import Testing
import VRRP
import Wire

struct ReloadTests {
  private static let second = IPAddress.v4(IPv4Address(10, 0, 0, 101))

  private static func vip(_ name: String, id: UInt8, _ address: IPAddress) -> VIPSettings {
    let router = VRRP.Settings(
      id: id, family: .ipv4, priority: 254, interval: .milliseconds(100), addresses: [address])
    return VIPSettings(
      name: name, interface: "eth0", addresses: [address], election: .vrrp(router), lease: .seconds(2),
      drain: .seconds(1))
  }

  private static func edit(_ vip: inout VIPSettings, _ change: (inout VRRP.Settings) -> Void) {
    guard case .vrrp(var router) = vip.election else { return }
    change(&router)
    vip.election = .vrrp(router)
  }

  // MARK: VIPs

  @Test func `with the same settings nothing happens at all`() {
    var bench = Bench.owner(backends: ["app1"])
    let deadline = bench.node.deadline
    bench.reload { _ in }
    #expect(bench.take().isEmpty)
    #expect(bench.node.deadline == deadline)
  }

  @Test func `a VIP that is added starts, and the others see nothing of it`() {
    var bench = Bench.owner()
    bench.reload { $0.vips.append(Self.vip("db", id: 52, Self.second)) }
    let effects = bench.take()
    #expect(effects.deeds == [.configure(vip: 1, bench.node.settings.vips[1])])
    #expect(!effects.contains { $0.isTransmit })
    #expect(bench.node.vips[1].state == .backup)
    bench.advance(by: .milliseconds(301))
    #expect(bench.take().contains(.take(vip: 1, generation: 1, lease: .seconds(2), announcing: true)))
    #expect(bench.node.vips[0].holding == .held(generation: 1, until: bench.node.vips[0].leaseEnd))
  }

  @Test func `a VIP on an interface that nobody knew waits for news of it`() {
    var bench = Bench.owner()
    bench.reload {
      $0.vips.append(Self.vip("db", id: 52, Self.second))
      $0.vips[1].interface = "eth1"
    }
    #expect(bench.node.vips[1].state == .fault)
    bench.give(.link(interface: "eth1", LinkState(isUp: true, ipv4: Bench.own, linkLocal: nil)))
    #expect(bench.node.vips[1].state == .backup)
  }

  @Test func `a VIP that is removed leaves politely, and then its place is empty`() {
    var bench = Bench.owner(backends: ["app1"])
    bench.reload {
      $0.vips[0] = .vacant
      $0.services[0] = .vacant
    }
    #expect(bench.take().deeds == [.closeConnections(vip: 0, generation: 1, within: .seconds(1))])
    bench.advance(by: .milliseconds(200))
    #expect(bench.take().contains { $0.priority == 254 }, "it is served until its connections have ended")
    bench.give(.connectionsClosed(vip: 0, generation: 1))
    let leaving = bench.take()
    #expect(leaving.first { $0.isTransmit }?.priority == 0)
    #expect(leaving.deeds == [.release(vip: 0, generation: 1)])
    #expect(bench.node.vips[0].reason == "no longer configured")
    bench.give(.address(vip: 0, .removed(generation: 1)))
    #expect(bench.take().deeds == [.configure(vip: 0, .vacant)])
    bench.give(Bench.linkDown)
    bench.give(Bench.linkUp)
    bench.advance(by: .seconds(10))
    #expect(bench.take().isEmpty)
  }

  @Test func `a shorter list of VIPs is one with empty places`() {
    var bench = Bench.owner()
    bench.reload { $0.vips = [] }
    bench.give(.address(vip: 0, .removed(generation: 1)))
    #expect(bench.node.vips[0].settings.isVacant)
    #expect(bench.node.settings.vips == [.vacant])
  }

  @Test func `a place that is taken again knows the reports of the VIP before`() {
    var bench = Bench.owner()
    bench.reload { $0.vips[0] = .vacant }
    bench.reload { $0.vips[0] = Self.vip("db", id: 52, Self.second) }
    #expect(bench.node.vips[0].settings.name == "web", "until its addresses are gone")
    bench.give(.address(vip: 0, .removed(generation: 1)))
    #expect(bench.node.vips[0].settings.name == "db")
    bench.advance(by: .milliseconds(301))
    #expect(bench.take().deeds.last == .take(vip: 0, generation: 2, lease: .seconds(2), announcing: true))
    bench.give(.address(vip: 0, .vanished(generation: 1)))
    #expect(bench.node.vips[0].state == .active)
  }

  @Test func `a VIP that becomes another virtual router leaves politely and joins anew`() {
    let changes: [@Sendable (inout VIPSettings) -> Void] = [
      { Self.edit(&$0) { $0.id = 52 } }, { Self.edit(&$0) { $0.version = .v2 } },
      { Self.edit(&$0) { $0.peers = .unicast([.v4(Bench.peer)]) } }, { $0.name = "other" },
      { $0.election = .fixed(owner: true) },
    ]
    for change in changes {
      var bench = Bench.owner()
      bench.reload { change(&$0.vips[0]) }
      let leaving = bench.take()
      #expect(leaving.first { $0.isTransmit }?.priority == 0)
      #expect(leaving.deeds == [.release(vip: 0, generation: 1)])
      bench.give(.address(vip: 0, .removed(generation: 1)))
      #expect(bench.take().deeds.first == .configure(vip: 0, bench.node.settings.vips[0]))
    }
  }

  @Test func `preempted while it leaves for good, it doesn't come back`() {
    var bench = Bench.owner(backends: ["app1"])
    bench.reload { $0.vips[0] = .vacant }
    bench.hear(priority: 255)
    bench.give(.connectionsClosed(vip: 0, generation: 1))
    bench.give(.address(vip: 0, .removed(generation: 1)))
    bench.advance(by: .seconds(2))
    #expect(!bench.take().contains { $0.isTake })
    #expect(bench.node.vips[0].settings.isVacant)
  }

  @Test func `a stop while a VIP leaves ends as ever`() {
    var bench = Bench.owner(backends: ["app1"])
    bench.reload { $0.vips[0] = .vacant }
    bench.give(.stop)
    bench.give(.connectionsClosed(vip: 0, generation: 1))
    bench.give(.address(vip: 0, .removed(generation: 1)))
    #expect(bench.take().last == .stopped)
  }

  @Test func `other addresses do not cost the ownership`() {
    var bench = Bench.owner()
    bench.reload {
      $0.vips[0].addresses.append(Self.second)
      Self.edit(&$0.vips[0]) { $0.addresses.append(Self.second) }
    }
    #expect(bench.take() == [.configure(vip: 0, bench.node.settings.vips[0])])
    bench.advance(by: .milliseconds(120))
    let next = bench.take()
    #expect(next.contains { $0.isAnnouncement })
    guard case .transmit(_, let message, _)? = next.first(where: \.isTransmit) else {
      Issue.record("no advert")
      return
    }
    #expect(message[3] == 2, "two addresses are listed")
    #expect(bench.node.vips[0].holding == .held(generation: 1, until: bench.node.vips[0].leaseEnd))
  }

  @Test func `another lease is asked for at once`() {
    var bench = Bench.owner()
    bench.reload { $0.vips[0].lease = .seconds(8) }
    #expect(bench.take().deeds.last == .renew(vip: 0, generation: 1, lease: .seconds(8)))
    bench.give(.address(vip: 0, .renewed(generation: 1, until: bench.now + .seconds(8))))
    bench.advance(by: .milliseconds(7_900))
    let renewals = bench.take().deeds.filter { $0 == .renew(vip: 0, generation: 1, lease: .seconds(8)) }
    #expect((3...4).contains(renewals.count), "a quarter of the lease apart")
    bench.reload { $0.vips[0].lease = nil }
    #expect(bench.take().deeds.last == .renew(vip: 0, generation: 1, lease: nil))
    bench.give(.address(vip: 0, .renewed(generation: 1, until: nil)))
    bench.advance(by: .seconds(60))
    #expect(bench.node.vips[0].state == .active)
  }

  @Test func `priority and interval change in place`() {
    var bench = Bench.owner(lease: nil)
    bench.reload {
      Self.edit(&$0.vips[0]) {
        $0.priority = 99
        $0.interval = .milliseconds(50)
      }
    }
    #expect(!bench.take().contains { $0.isTransmit })
    bench.advance(by: .milliseconds(50))
    #expect(bench.take().first { $0.isTransmit }?.priority == 99)
  }

  @Test func `before the start settings are simply other settings`() {
    var bench = Bench()
    bench.reload { $0.vips[0] = Self.vip("db", id: 52, Self.second) }
    bench.give(.start)
    bench.give(Bench.linkUp)
    bench.advance(by: .milliseconds(301))
    #expect(bench.node.vips[0].state == .active)
  }

  // MARK: Services

  private static let check = Health.Settings(interval: .seconds(1), timeout: .milliseconds(500))

  private func probes(_ effects: [Effect]) -> [(backend: Int, number: UInt64)] {
    effects.compactMap { if case .probe(_, let backend, let number) = $0 { (backend, number) } else { nil } }
  }

  /// Two backends: app1 is up, app2 is down.
  private var checked: Bench {
    var bench = Bench(backends: ["app1", "app2"], check: Self.check)
    bench.give(Bench.linkUp)
    bench.give(.start)
    bench.advance(by: .milliseconds(101))
    for probe in probes(bench.take()) {
      let verdict: CheckResult.Verdict = probe.backend == 0 ? .passed : .failed
      bench.give(
        .check(
          service: 0, backend: probe.backend, probe: probe.number, CheckResult(verdict, latency: .zero, message: "")))
    }
    _ = bench.take()
    return bench
  }

  @Test func `backends that stay keep what is known of them, by name`() {
    var bench = checked
    bench.reload { $0.services[0].backends = ["app3", "app2", "app1"] }
    let states = bench.node.services[0].backends.map(\.state)
    #expect(states == [.unknown, .down, .up])
    #expect(
      bench.take() == [
        .backend(service: 0, backend: 1, .down), .backend(service: 0, backend: 2, .up),
      ])
    bench.advance(by: .milliseconds(101))
    #expect(probes(bench.take()).contains { $0.backend == 0 }, "the new one is checked at once")
  }

  @Test func `a late result under an old number says nothing of another backend`() throws {
    var bench = checked
    bench.advance(by: .milliseconds(1_200))
    let old = try #require(probes(bench.take()).first { $0.backend == 0 })
    bench.reload { $0.services[0].backends = ["app2", "app1"] }
    _ = bench.take()
    bench.advance(by: .zero)
    let new = try #require(probes(bench.take()).first { $0.backend == 0 })
    #expect(new.number != old.number)
    bench.give(.check(service: 0, backend: 0, probe: old.number, CheckResult(.passed, latency: .zero, message: "")))
    #expect(bench.node.services[0].backends[0].monitor?.successes == 0)
    bench.give(.check(service: 0, backend: 0, probe: new.number, CheckResult(.passed, latency: .zero, message: "")))
    #expect(bench.node.services[0].backends[0].monitor?.successes == 1)
  }

  @Test func `a check that was under way is made again, not taken for failed`() {
    var bench = checked
    bench.advance(by: .milliseconds(1_200))
    _ = bench.take()
    bench.reload { $0.services[0].backends = ["app1", "app2", "app3"] }
    bench.advance(by: .milliseconds(10))
    #expect(probes(bench.take()).contains { $0.backend == 0 })
    #expect(bench.node.services[0].backends[0].monitor?.failures == 0)
  }

  @Test func `a service that did not change is not touched when another does`() {
    var bench = Bench(backends: ["app1"], check: Self.check) {
      $0.services.append(ServiceSettings(name: "api", vip: 0, backends: ["app9"], check: Self.check))
    }
    bench.give(Bench.linkUp)
    bench.give(.start)
    bench.advance(by: .milliseconds(101))
    _ = bench.take()
    bench.reload { $0.services[0].backends = ["app1", "app2"] }
    #expect(
      !bench.take().contains {
        switch $0 {
        case .probe(1, _, _), .backend(1, _, _): true
        default: false
        }
      })
    #expect(bench.node.services[1].backends[0].monitor?.probes == 1)
    // Its results go to it still, though its deadlines stand elsewhere now.
    bench.give(.check(service: 1, backend: 0, probe: 1, CheckResult(.passed, latency: .zero, message: "")))
    #expect(bench.node.services[1].backends[0].state == .up)
    bench.advance(by: .milliseconds(1_200))
    #expect(bench.take().contains { if case .probe(1, 0, 2) = $0 { true } else { false } })
  }

  @Test func `checks of a removed service stop`() {
    var bench = checked
    bench.reload { $0.services[0] = .vacant }
    _ = bench.take()
    bench.advance(by: .seconds(5))
    #expect(probes(bench.take()).isEmpty)
  }

  @Test func `that no backend is left up is said after a reload, too`() {
    var bench = checked
    bench.reload { $0.services[0].backends = ["app2"] }
    #expect(bench.take().contains(.report(.allBackendsDown(service: 0))))
    bench.reload { $0.services[0].backends = ["app2", "app3"] }
    #expect(bench.take().contains(.report(.backendsAgain(service: 0))))
  }
}
