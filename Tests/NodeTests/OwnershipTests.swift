import Basis
@testable import Node
import Testing
import VRRP
import Wire

struct OwnershipTests {
  @Test func `a lone node takes the VIP after three intervals and its skew`() {
    var bench = Bench()
    bench.give(.start)
    bench.give(Bench.linkUp)
    bench.advance(by: .milliseconds(300))
    #expect(bench.take().deeds.isEmpty)
    bench.advance(by: .milliseconds(1))
    #expect(bench.take().deeds == [.take(vip: 0, generation: 1, lease: .seconds(2), announcing: true)])
    #expect(bench.node.vips[0].state == .active)
  }

  @Test func `a node without a link takes nothing and says why`() {
    var bench = Bench()
    bench.give(.start)
    bench.advance(by: .seconds(5))
    #expect(bench.take().deeds.isEmpty)
    #expect(bench.node.vips[0].state == .fault)
    #expect(bench.node.vips[0].reason == "interface eth0 does not exist")
  }

  @Test func `the lease is renewed four times in its length`() {
    var bench = Bench.owner()
    bench.advance(by: .seconds(1))
    let renewals = bench.take().filter { if case .renew = $0 { true } else { false } }
    #expect(renewals.count == 2)
  }

  @Test func `leases that began at different times are renewed at the same instants, so that they end together`() {
    let lease = Duration.seconds(2)
    let instants = [0, 1, 499_999_999, 500_000_000, 750_000_000].map { Instant(nanoseconds: 10_000_000_000 + $0) }
    let renewals = instants.map { Node.renewal(of: lease, after: $0).nanoseconds }
    #expect(renewals == [10_500_000_000, 10_500_000_000, 10_500_000_000, 11_000_000_000, 11_000_000_000])
  }

  @Test func `a lease that nobody renewed means backup before another advert is sent`() {
    var bench = Bench.owner()
    // The loop sleeps past its lease, then wakes with one late timer.
    bench.now = bench.now + .seconds(10)
    bench.give(.timer)
    let effects = bench.take()
    #expect(effects.first { $0.priority == 254 } == nil)
    #expect(effects.deeds.contains(.release(vip: 0, generation: 1)))
    #expect(bench.node.vips[0].state == .backup)
  }

  @Test func `an owner that slept past its lease does not answer the adverts it then finds`() {
    var bench = Bench.owner()
    bench.now = bench.now + .seconds(4)
    bench.hear(priority: 253)
    let effects = bench.take()
    #expect(!effects.contains { ($0.priority ?? 0) > 0 }, "it would depose the node that took over")
    #expect(!effects.contains { if case .announce = $0 { true } else { false } })
    #expect(effects.deeds == [.release(vip: 0, generation: 1)])
    #expect(bench.node.vips[0].state == .backup)
  }

  @Test func `an owner that cannot be heard leaves the VIP to others until it can`() {
    var bench = Bench.owner()
    var state = LinkState(isUp: true, ipv4: Bench.own, linkLocal: nil)
    state.canAdvertise = false
    bench.give(.link(interface: "eth0", state))
    #expect(bench.take().deeds == [.release(vip: 0, generation: 1)])
    #expect(bench.node.vips[0].state == .fault)
    bench.give(.address(vip: 0, .removed(generation: 1)))
    bench.give(Bench.linkUp)
    bench.advance(by: .milliseconds(301))
    #expect(bench.node.vips[0].state == .active)
  }

  @Test func `an owner that hears a higher priority resets connections, then lets go`() {
    var bench = Bench.owner(backends: ["app1"])
    bench.hear(priority: 255)
    #expect(bench.take().deeds == [.closeConnections(vip: 0, generation: 1, within: .zero)])
    bench.give(.connectionsClosed(vip: 0, generation: 1))
    #expect(bench.take().deeds == [.release(vip: 0, generation: 1)])
    #expect(bench.node.vips[0].state == .backup)
  }

  @Test func `connections that nobody resets hold the addresses for 20 ms at most`() {
    var bench = Bench.owner(backends: ["app1"])
    bench.hear(priority: 255)
    bench.advance(by: .milliseconds(20))
    #expect(bench.take().deeds.contains(.release(vip: 0, generation: 1)))
  }

  @Test func `the winner of two owners announces again on every losing advert`() {
    var bench = Bench.owner(lease: nil)
    bench.advance(by: .seconds(5))
    _ = bench.take()
    for _ in 1...3 {
      bench.hear(priority: 100)
      #expect(bench.take().contains(.announce(vip: 0, generation: 1)))
      bench.advance(by: .milliseconds(100))
      _ = bench.take()
    }
  }

  @Test func `a polite stop drains first, then says priority 0, then lets go, then ends`() {
    var bench = Bench.owner(backends: ["app1"])
    bench.give(.stop)
    #expect(bench.take().deeds == [.closeConnections(vip: 0, generation: 1, within: .seconds(1))])
    bench.advance(by: .milliseconds(500))
    #expect(bench.take().contains { $0.priority == 254 }, "the owner goes on advertising while it drains")
    bench.give(.connectionsClosed(vip: 0, generation: 1))
    let leaving = bench.take()
    #expect(leaving.first { $0.isTransmit }?.priority == 0)
    #expect(leaving.deeds == [.release(vip: 0, generation: 1)])
    bench.give(.address(vip: 0, .removed(generation: 1)))
    #expect(bench.take().last == .stopped)
  }

  @Test func `a stop whose parts never answer ends all the same`() {
    var bench = Bench.owner(backends: ["app1"])
    bench.give(.stop)
    bench.advance(by: .seconds(10))
    let effects = bench.take()
    #expect(effects.deeds.contains(.release(vip: 0, generation: 1)))
    #expect(effects.last == .stopped)
    #expect(bench.node.deadline == nil)
  }

  @Test func `a node preempted while it stops does not become the owner again`() {
    var bench = Bench.owner(backends: ["app1"])
    bench.give(.stop)
    bench.hear(priority: 255)
    bench.advance(by: .seconds(1))
    #expect(!bench.take().deeds.contains { if case .take = $0 { true } else { false } })
  }

  @Test func `a link that goes down takes the addresses with it`() {
    var bench = Bench.owner()
    bench.give(Bench.linkDown)
    #expect(bench.take().deeds == [.release(vip: 0, generation: 1)])
    #expect(bench.node.vips[0].state == .fault)
    bench.give(.address(vip: 0, .removed(generation: 1)))
    bench.give(Bench.linkUp)
    bench.advance(by: .milliseconds(301))
    #expect(bench.take().deeds.contains(.take(vip: 0, generation: 2, lease: .seconds(2), announcing: true)))
  }

  @Test func `an address that the kernel refuses is left to a peer and tried again later and later`() {
    var bench = Bench.owner()
    bench.give(.address(vip: 0, .failed(generation: 1, code: 1)))
    let effects = bench.take()
    #expect(effects.contains { $0.priority == 0 })
    #expect(effects.deeds == [.release(vip: 0, generation: 1)])
    bench.give(.address(vip: 0, .removed(generation: 1)))
    bench.advance(by: .milliseconds(999))
    #expect(bench.take().deeds.isEmpty)
    bench.advance(by: .milliseconds(400))
    #expect(bench.take().deeds.contains(.take(vip: 0, generation: 2, lease: .seconds(2), announcing: true)))
  }

  @Test func `a proxy worker that is stuck makes the node unfit until it turns again`() {
    var bench = Bench.owner(backends: ["app1"])
    bench.give(.workers(healthy: false))
    #expect(bench.take().deeds.contains(.release(vip: 0, generation: 1)))
    #expect(bench.node.vips[0].state == .fault)
    bench.give(.address(vip: 0, .removed(generation: 1)))
    bench.give(.workers(healthy: true))
    bench.advance(by: .milliseconds(301))
    #expect(bench.node.vips[0].state == .active)
  }

  @Test func `reports of an earlier ownership change nothing`() {
    var bench = Bench.owner()
    bench.give(.address(vip: 0, .vanished(generation: 0)))
    bench.give(.address(vip: 0, .failed(generation: 7, code: 1)))
    bench.give(.address(vip: 9, .vanished(generation: 1)))
    bench.give(.connectionsClosed(vip: 0, generation: 1))
    #expect(bench.take().deeds.isEmpty)
    #expect(bench.node.vips[0].state == .active)
  }

  @Test func `a fixed owner takes the VIP at once and sends no advert`() {
    var bench = Bench(election: .fixed(owner: true))
    bench.give(.start)
    bench.give(Bench.linkUp)
    let effects = bench.take()
    #expect(effects.deeds == [.take(vip: 0, generation: 1, lease: .seconds(2), announcing: true)])
    #expect(!effects.contains { $0.isTransmit })
  }

  @Test(arguments: [AddressFamily.ipv4, .ipv6])
  func `unicast adverts come from the node's own address, and without it there are none`(family: AddressFamily) {
    let peer = IPAddress.v6(IPv6Address(rawValue: 0x2001_0DB8 << 96 | 12))
    let own = IPv6Address(rawValue: 0x2001_0DB8 << 96 | 11)
    let router = VRRP.Settings(
      id: 51, family: family, priority: 254, interval: .milliseconds(100), addresses: [Bench.vip],
      peers: .unicast([family == .ipv4 ? .v4(Bench.peer) : peer]))
    var bench = Bench(election: .vrrp(router))
    bench.give(.start)
    // What multicast would take: another address of the interface, and its link-local one.
    var link = LinkState(
      isUp: true, ipv4: IPv4Address(10, 0, 0, 1), linkLocal: IPv6Address(rawValue: 0xFE80 << 112 | 1))
    bench.give(.link(interface: "eth0", link))
    #expect(bench.node.vips[0].state == .fault)
    #expect(bench.node.vips[0].reason.contains("lacks this node's own address"))
    link.unicastIPv4 = Bench.own
    link.unicastIPv6 = own
    bench.give(.link(interface: "eth0", link))
    bench.advance(by: .milliseconds(400))
    #expect(bench.node.vips[0].state == .active)
    #expect(link.source(of: router) == (family == .ipv4 ? .v4(Bench.own) : .v6(own)))
  }

  @Test func `the addresses of a link are the same after a recording`() throws {
    let link = LinkState(
      isUp: true, ipv4: Bench.own, linkLocal: IPv6Address(rawValue: 0xFE80 << 112 | 1), unicastIPv4: Bench.peer,
      unicastIPv6: IPv6Address(rawValue: 0x2001_0DB8 << 96 | 11))
    let event = Event.link(interface: "eth0", link)
    var bytes = Recording.header(Bench().node.settings, seed: 1)
    bytes.reserveCapacity(4096)
    var writer = RecordingWriter()
    let written = writer.write(event, at: Instant(nanoseconds: 5), into: &bytes)
    #expect(written)
    var reader = try RecordingReader(bytes)
    guard case .event(let read, _, _)? = try reader.next() else {
      Issue.record("no event was read")
      return
    }
    #expect(read == event)
  }

  @Test func `a message for no virtual router of ours is counted, and a short one too`() {
    var bench = Bench()
    bench.give(.start)
    let envelope = Envelope(
      interface: "eth0", source: .v4(Bench.peer), destination: .v4(IPv4Address(224, 0, 0, 18)), hopLimit: 255)
    bench.give(.advert(envelope, [0x31, 52, 100, 1, 0, 10, 0, 0, 10, 0, 0, 100]))
    bench.give(.advert(envelope, [0x31]))
    #expect(bench.node.counters.unknownRouter == 1)
    #expect(bench.node.counters.unidentified == 1)
  }
}
