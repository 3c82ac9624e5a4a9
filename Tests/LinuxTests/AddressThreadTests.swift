import Basis
import Glibc
import Testing
import Wire

@testable import Linux

private let web = AddressThread.VIP(
  id: 3, interface: "eth0", addresses: [IPAddress("10.9.0.100")!, IPAddress("2001:db8::100")!])

@Suite(.serialized, .enabled(if: canMakeNamespaces, needsRoot))
struct AddressThreadTests {
  private func story(
    _ vips: [AddressThread.VIP] = [web], watching: [String] = ["eth0"],
    _ body: (TwoHosts, AddressThread, Reports) throws -> Void
  ) throws {
    try addressStory(vips, watching: watching) { hosts, thread, reports in try body(hosts, thread, reports) }
  }

  /// Which addresses of the VIP are on the interface.
  private func present() throws -> [String] {
    let shown = try shell("ip address show dev eth0")
    return ["10.9.0.100/32", "2001:db8::100/128"].filter { shown.contains(" \($0) ") }
  }

  @Test func `a VIP is taken, renewed and released, and is never picked as a source`() throws {
    try story { _, thread, reports in
      thread.take(3, generation: 1, lease: .seconds(30))
      #expect(reports.has { if case .added(3, 1, .some) = $0 { true } else { false } })
      let shown = try shell("ip -details address show dev eth0")
      #expect(shown.contains("inet 10.9.0.100/32 scope host"))
      #expect(shown.contains("noprefixroute"))
      let inet6 = try #require(shown.split(separator: "\n").first { $0.contains("2001:db8::100/128") })
      #expect(["nodad", "deprecated", "noprefixroute"].allSatisfy(inet6.contains))
      #expect(thread.record.leaseEnd(3) != nil)
      #expect(try shell("ip route get 10.9.0.2").contains("src 10.9.0.1"))
      thread.renew(3, generation: 1, lease: .seconds(60))
      #expect(reports.has { if case .renewed(3, 1, .some) = $0 { true } else { false } })
      thread.release(3, generation: 1)
      #expect(reports.has { $0 == .removed(3, 1) })
      let left = try present()
      #expect(left == [])
      #expect(thread.record.owner(3) == nil)
    }
  }

  @Test func `the neighbours learn the new MAC from the announcement alone`() throws {
    try story { hosts, thread, reports in
      // The neighbour believes that somebody else has both addresses.
      try hosts.on(hosts.there) {
        _ = try shell(
          """
          ip address add 2001:db8::2/64 dev eth0 nodad
          ip neighbour add 10.9.0.100 lladdr 02:00:00:00:00:99 nud stale dev eth0
          ip neighbour add 2001:db8::100 lladdr 02:00:00:00:00:99 nud stale dev eth0
          """)
      }
      thread.take(3, generation: 1, lease: nil)
      #expect(reports.has { if case .added(3, 1, nil) = $0 { true } else { false } })
      for address in ["10.9.0.100", "2001:db8::100"] {
        #expect(
          try eventually {
            try hosts.on(hosts.there) { try shell("ip neighbour show \(address)").contains("lladdr 02:00:00:00:00:01") }
          })
      }
    }
  }

  @Test func `the kernel takes back what nobody renews, even if the thread is gone`() throws {
    try TwoHosts.run { _ in
      let reports = Reports()
      let thread = try AddressThread([web], watching: [], record: try OwnershipRecord(capacity: 8)) {
        reports.append($0)
      }
      thread.take(3, generation: 1, lease: .seconds(1))
      #expect(reports.has { if case .added = $0 { true } else { false } })
      thread.stop()
      #expect(try eventually { try present() == [] })
    }
  }

  @Test func `a lease that runs out is reported as expired and is never put back or renewed`() throws {
    try story { _, thread, reports in
      thread.take(3, generation: 1, lease: .seconds(1))
      #expect(reports.has { $0 == .vanished(3, 1, .expired) })
      thread.renew(3, generation: 1, lease: .seconds(30))
      thread.release(3, generation: 1)
      #expect(reports.has { $0 == .removed(3, 1) })
      let wrong = reports.all.filter {
        if case .renewed = $0 { true } else if case .putBack = $0 { true } else { false }
      }
      #expect(wrong == [])
      let left = try present()
      #expect(left == [])
    }
  }

  @Test func `a renewal that is queued behind a release does nothing`() throws {
    try story { _, thread, reports in
      for generation in 1...20 as ClosedRange<UInt64> {
        thread.take(3, generation: generation, lease: .seconds(30))
        thread.renew(3, generation: generation, lease: .seconds(30))
        thread.release(3, generation: generation)
        thread.renew(3, generation: generation, lease: .seconds(30))
        thread.announce(3, generation: generation)
      }
      #expect(reports.has { $0 == .removed(3, 20) })
      thread.renew(3, generation: 20, lease: .seconds(30))
      thread.release(3, generation: 20)
      #expect(eventually { reports.all.filter { $0 == .removed(3, 20) }.count == 2 })
      let left = try present()
      #expect(left == [])
    }
  }

  @Test func `a renewal of a revoked generation never recreates the address`() throws {
    try story { _, thread, reports in
      thread.take(3, generation: 1, lease: .seconds(30))
      #expect(reports.has { if case .added = $0 { true } else { false } })
      // Whoever has the record may do it: revoke, then remove.
      thread.record.revoke(3, generation: 1)
      try shell("ip address del 10.9.0.100/32 dev eth0; true")
      thread.renew(3, generation: 1, lease: .seconds(30))
      #expect(reports.has { $0 == .vanished(3, 1, .revoked) })
      let left = try present()
      #expect(left == [])
    }
  }

  @Test func `what turns up while nobody owns it is removed again`() throws {
    try story { _, thread, reports in
      thread.take(3, generation: 1, lease: .seconds(30))
      thread.release(3, generation: 1)
      #expect(reports.has { $0 == .removed(3, 1) })
      // A renewal from elsewhere that came too late.
      try shell("ip address add 10.9.0.100/32 dev eth0 valid_lft 30 preferred_lft 30")
      #expect(reports.has { $0 == .strayRemoved(3, web.addresses[0]) })
      #expect(try eventually { try present() == [] })
    }
  }

  @Test func `what another program removes is put back while the ownership holds`() throws {
    try story { _, thread, reports in
      thread.take(3, generation: 1, lease: .seconds(60))
      #expect(reports.has { if case .added = $0 { true } else { false } })
      for (index, text) in ["10.9.0.100/32", "2001:db8::100/128"].enumerated() {
        try shell("ip address del \(text) dev eth0")
        #expect(reports.has { $0 == .putBack(3, 1, web.addresses[index]) })
        #expect(try eventually { try shell("ip address show dev eth0").contains(text) })
      }
    }
  }

  @Test func `an interface that is missing fails with ENODEV, until a command finds it`() throws {
    var vip = web
    vip.interface = "later0"
    try story([vip], watching: ["later0"]) { _, thread, reports in
      thread.take(3, generation: 1, lease: .seconds(30))
      #expect(reports.has { if case .failed(3, 1, let error) = $0 { error.code == ENODEV } else { false } })
      try shell("ip link set eth0 down; ip link set eth0 name later0; ip link set later0 up")
      thread.take(3, generation: 2, lease: .seconds(30))
      #expect(reports.has { if case .added(3, 2, .some) = $0 { true } else { false } })
      #expect(reports.interfaces.first == .missing("later0"))
    }
  }

  @Test func `when the interface goes the VIP is lost, and it is taken anew on its successor`() throws {
    try story { _, thread, reports in
      thread.take(3, generation: 1, lease: .seconds(30))
      #expect(reports.has { if case .added = $0 { true } else { false } })
      try shell("ip link del eth0")
      #expect(reports.has { $0 == .vanished(3, 1, .interfaceLost) })
      #expect(reports.has { $0 == .interface(.missing("eth0")) })
      try shell("ip link add eth0 type veth peer name eth1; ip link set eth1 up; ip link set eth0 up")
      #expect(eventually { reports.interfaces.last?.isUp == true })
      thread.take(3, generation: 2, lease: .seconds(30))
      #expect(reports.has { if case .added(3, 2, .some) = $0 { true } else { false } })
    }
  }

  @Test func `a carrier that goes and comes is reported, and what else an interface has`() throws {
    try story { hosts, _, reports in
      #expect(eventually { reports.interfaces.last?.isUp == true })
      let first = try #require(reports.interfaces.last)
      #expect(first.ipv4?.address == IPv4Address(10, 9, 0, 1) && first.ipv4?.prefixLength == 24)
      #expect(first.linkLocal == IPv6Address("fe80::1"))
      #expect(first.macAddress == MACAddress("02:00:00:00:00:01"))
      #expect(first.prefixes == [Prefix(IPAddress("10.9.0.0")!, length: 24)!])
      try hosts.on(hosts.there) { _ = try shell("ip link set eth0 down") }
      #expect(eventually { reports.interfaces.last?.isUp == false })
      try hosts.on(hosts.there) { _ = try shell("ip link set eth0 up") }
      #expect(eventually { reports.interfaces.last?.isUp == true })
      try shell("ip address del 10.9.0.1/24 dev eth0")
      #expect(eventually { reports.interfaces.last?.ipv4 == nil })
    }
  }

  @Test func `neighbours that could not answer without a carrier are asked anew when it is back`() throws {
    try story { hosts, _, reports in
      #expect(eventually { reports.interfaces.last?.isUp == true })
      try hosts.on(hosts.there) { _ = try shell("ip link set eth0 down") }
      #expect(eventually { reports.interfaces.last?.isUp == false })
      // An entry as it stands while the kernel waits for an answer in vain.
      try shell("ip neigh replace 10.9.0.77 dev eth0 nud failed")
      let netlink = try NetlinkSocket()
      func isKnown() throws -> Bool { try netlink.neighbours().contains { $0.address == IPAddress("10.9.0.77") } }
      #expect(try isKnown())
      try hosts.on(hosts.there) { _ = try shell("ip link set eth0 up") }
      #expect(try eventually { try !isKnown() })
    }
  }

  @Test func `many VIPs are renewed at once`() throws {
    let many = (0..<100).map {
      AddressThread.VIP(id: $0, interface: "eth0", addresses: [.v4(IPv4Address(10, 9, 1, UInt8($0)))])
    }
    try TwoHosts.run { _ in
      let reports = Reports()
      let thread = try AddressThread(many, watching: [], record: try OwnershipRecord(capacity: 100)) {
        reports.append($0)
      }
      defer { thread.stop() }
      for vip in many { thread.take(vip.id, generation: 1, lease: .seconds(60)) }
      for vip in many { thread.renew(vip.id, generation: 1, lease: .seconds(60)) }
      #expect(eventually { reports.all.count { if case .renewed = $0 { true } else { false } } == 100 })
      for vip in many { thread.release(vip.id, generation: 1) }
      #expect(eventually { reports.all.count { if case .removed = $0 { true } else { false } } == 100 })
      #expect(try shell("ip address show dev eth0").contains("10.9.1.") == false)
    }
  }

  @Test func `an interface that is renamed loses the VIP, and keeps nothing of it`() throws {
    try story { _, thread, reports in
      thread.take(3, generation: 1, lease: nil)
      #expect(reports.has { if case .added = $0 { true } else { false } })
      try shell("ip link set eth0 down; ip link set eth0 name wan0; ip link set wan0 up")
      #expect(reports.has { $0 == .vanished(3, 1, .interfaceLost) })
      let left = try shell("ip address show dev wan0")
      #expect(!left.contains("10.9.0.100"))
    }
  }

  @Test func `an expired VIP among others that are renewed does not disturb them`() throws {
    let other = AddressThread.VIP(id: 4, interface: "eth0", addresses: [IPAddress("10.9.0.101")!])
    try TwoHosts.run { _ in
      // The keeper itself, without its thread: commands come in one burst, after the first lease ran out.
      let reports = Reports()
      let record = try OwnershipRecord(capacity: 8)
      let keeper = try AddressKeeper([web, other], watching: [], record, report: { reports.append($0) })
      try keeper.start()
      for (id, lease) in [(3, Duration.seconds(1)), (4, .seconds(30))] {
        record.grant(id, generation: 1)
        keeper.handle(.take(id, 1, lease, announcing: true))
      }
      let end = try #require(record.leaseEnd(3))
      #expect(eventually { Clock.now() > end })
      for id in [4, 3, 4] { keeper.handle(.renew(id, 1, .seconds(30))) }
      keeper.flush()
      #expect(reports.all.contains(.vanished(3, 1, .expired)))
      let renewed = reports.all.count { if case .renewed(4, 1, .some) = $0 { true } else { false } }
      #expect(renewed == 2)
    }
  }
}
