import Basis
import Glibc
import Testing
import Wire

@testable import Linux

/// What interfaces do while the daemon runs.
@Suite(.serialized, .enabled(if: canMakeNamespaces, needsRoot))
struct InterfaceTests {
  private let web = AddressThread.VIP(
    id: 3, interface: "eth0", addresses: [IPAddress("10.9.0.100")!, IPAddress("2001:db8::100")!])

  @Test func `an interface that gets its name back has the VIP again`() throws {
    try addressStory([web]) { _, thread, reports in
      #expect(thread.takeNow(3, generation: 1, lease: nil, reports))
      try shell("ip link set eth0 down; ip link set eth0 name wan0; ip link set wan0 up")
      #expect(reports.has { $0 == .vanished(3, 1, .interfaceLost) })
      #expect(reports.has { $0 == .interface(.missing("eth0")) })
      #expect(try eventually { try !shell("ip address show").contains("10.9.0.100") })
      try shell("ip link set wan0 down; ip link set wan0 name eth0; ip link set eth0 up")
      #expect(eventually { reports.interfaces.last?.isUp == true })
      #expect(thread.takeNow(3, generation: 2, reports))
      #expect(try shell("ip address show dev eth0").contains("10.9.0.100/32"))
    }
  }

  @Test func `a rename while the interface stays up loses the VIP as well`() throws {
    try addressStory([web]) { _, thread, reports in
      #expect(thread.takeNow(3, generation: 1, lease: nil, reports))
      // Since Linux 6.2 an interface may be renamed while it is up.
      guard (try? shell("ip link set eth0 name wan0")) != nil else { return }
      #expect(reports.has { $0 == .vanished(3, 1, .interfaceLost) })
      let isGone = try eventually { try !shell("ip address show dev wan0").contains("10.9.0.100") }
      #expect(isGone)
    }
  }

  @Test func `an interface that is made anew in one go has the VIP again`() throws {
    try addressStory([web]) { _, thread, reports in
      for generation in 1...3 as ClosedRange<UInt64> {
        #expect(thread.takeNow(3, generation: generation, lease: nil, reports))
        try shell(
          "ip link del eth0; ip link add eth0 type veth peer name eth1; ip link set eth1 up; ip link set eth0 up")
        #expect(reports.has { $0 == .vanished(3, generation, .interfaceLost) })
      }
      #expect(thread.takeNow(3, generation: 4, reports))
      #expect(try shell("ip address show dev eth0").contains("10.9.0.100/32"))
    }
  }

  @Test func `an interface has received nothing until something came since its carrier rose`() throws {
    try addressStory([web]) { hosts, _, reports in
      // The neighbour is silent from now on: no router solicitations, no reports of groups.
      try hosts.on(hosts.there) {
        _ = try shell("ip link set eth0 down; echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6")
      }
      #expect(eventually { reports.interfaces.last?.isUp == false })
      try hosts.on(hosts.there) { _ = try shell("ip link set eth0 up") }
      #expect(eventually { reports.interfaces.last?.isUp == true })
      usleep(200_000)
      #expect(reports.interfaces.last?.hasReceived == false)
      try hosts.on(hosts.there) { _ = try reaches("10.9.0.1") }
      #expect(eventually { reports.interfaces.last?.hasReceived == true })
      // And again, when the carrier comes back.
      try hosts.on(hosts.there) { _ = try shell("ip link set eth0 down") }
      #expect(eventually { reports.interfaces.last?.isUp == false })
      try hosts.on(hosts.there) { _ = try shell("ip link set eth0 up") }
      #expect(eventually { reports.interfaces.last?.isUp == true })
      #expect(reports.interfaces.last?.hasReceived == false)
    }
  }

  @Test func `a VIP with another prefix length, or on another interface, is told once and counted`() throws {
    try addressStory(
      [web], watching: ["eth0"],
      before: { _ in
        try shell("ip link add other0 type veth peer name other1; ip address add 10.9.0.100/24 dev other0")
      }
    ) { _, thread, reports in
      let address = web.addresses[0]
      #expect(reports.has { $0 == .foreign(3, address, prefixLength: 24, interface: "other0") })
      #expect(thread.takeNow(3, generation: 1, reports))
      try shell("ip address add 10.9.0.100/24 dev eth0")
      #expect(reports.has { $0 == .foreign(3, address, prefixLength: 24, interface: "eth0") })
      try shell("ip address add 10.9.0.100/32 dev other0")
      #expect(reports.has { $0 == .foreign(3, address, prefixLength: 32, interface: "other0") })
      #expect(thread.counters.foreign == 3)
      // It goes, and comes again.
      try shell("ip address del 10.9.0.100/24 dev eth0; ip address add 10.9.0.100/24 dev eth0")
      #expect(eventually { thread.counters.foreign == 4 })
      #expect(reports.has { $0 == .foreignGone(3, address, prefixLength: 24, interface: "eth0") })
      try shell("ip link del other0")
      #expect(reports.has { $0 == .foreignGone(3, address, prefixLength: 32, interface: "other0") })
      // What it owns itself is nobody else's.
      #expect(!reports.all.contains { if case .foreign(_, _, 32, "eth0") = $0 { true } else { false } })
    }
  }
}

/// Which source the kernel picks where nobody says.
@Suite(.serialized, .enabled(if: canMakeNamespaces, needsRoot))
struct SourceSelectionTests {
  @Test func `no VIP is ever picked as a source address`() throws {
    let vips = [
      AddressThread.VIP(id: 0, interface: "eth0", addresses: [IPAddress("10.9.0.100")!, IPAddress("2001:db8::100")!]),
      // Nearer to what is asked for than the interface's own address, by RFC 6724's rule 8.
      AddressThread.VIP(id: 1, interface: "eth0", addresses: [IPAddress("10.50.0.2")!, IPAddress("2001:db8:50::2")!]),
      AddressThread.VIP(
        id: 2, interface: "eth0", addresses: [IPAddress("10.9.0.101")!, IPAddress("2001:db8::101")!],
        virtualMAC: VirtualMAC(id: 7)),
    ]
    try addressStory(vips) { _, thread, reports in
      try shell(
        """
        ip address add 2001:db8::1/64 dev eth0 nodad
        ip route add 10.50.0.0/24 dev eth0; ip route add 10.60.0.0/24 via 10.9.0.2; ip route add default via 10.9.0.2
        ip -6 route add 2001:db8:50::/64 dev eth0; ip -6 route add default via 2001:db8::2
        """)
      for vip in vips { #expect(thread.takeNow(vip.id, generation: 1, reports)) }
      let destinations = [
        "10.9.0.2", "10.50.0.1", "10.60.0.1", "192.0.2.1", "224.0.0.18 oif eth0", "224.0.0.251 oif eth0",
        "239.1.2.3 oif eth0", "255.255.255.255 oif eth0", "2001:db8::2", "2001:db8:50::1", "2001:db8:99::1",
        "ff02::12 oif eth0", "ff05::1 oif eth0",
      ]
      for destination in destinations {
        let route = try shell("ip route get \(destination)")
        let words = route.split(whereSeparator: \.isWhitespace)
        let source = words.firstIndex(of: "src").map { words[words.index(after: $0)] }
        #expect(["10.9.0.1", "2001:db8::1", "fe80::1"].contains(source), "\(destination): \(route)")
      }
    }
  }
}
