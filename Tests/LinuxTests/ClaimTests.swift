import Basis
import CLinux
import Glibc
import Testing
import Wire

@testable import Linux

@Suite struct ClaimFrameTests {
  private func claim(_ frame: [UInt8]) -> Claim? { frame.withUnsafeBytes { Claim(frame: $0) } }
  private let mac = MACAddress("02:00:00:00:00:99")!

  @Test func `an announcement claims its address, whatever its kind`() throws {
    for operation in [ARP.Operation.request, .reply] {
      let found = try #require(claim(ARP.announcement(operation, mac: mac, address: IPv4Address(10, 9, 0, 100))))
      #expect(found.address == IPAddress("10.9.0.100") && found.mac == mac)
    }
    let address = IPv6Address("2001:db8::100")!
    let found = try #require(claim(NeighborAdvertisement.announcement(mac: mac, address: address, isRouter: true)))
    #expect(found.address == .v6(address) && found.mac == mac)
  }

  @Test func `who is about to use an IPv6 address claims it, too`() throws {
    let address = IPv6Address("2001:db8::100")!
    var message: [UInt8] = []
    NeighborSolicitation(target: address).append(to: &message, from: .any, to: address.solicitedNode)
    var frame: [UInt8] = []
    EthernetHeader(destination: MACAddress(multicast: address.solicitedNode), source: mac, type: .ipv6).append(
      to: &frame)
    IPv6Header(source: .any, destination: address.solicitedNode, nextHeader: ICMPv6.ipProtocol, hopLimit: 255)
      .append(to: &frame, payloadLength: message.count)
    let found = try #require(claim(frame + message))
    #expect(found.address == .v6(address) && found.mac == mac)
  }

  @Test func `a frame that is cut anywhere claims nothing or the same`() throws {
    let frames = [
      ARP.announcement(.reply, mac: mac, address: IPv4Address(10, 9, 0, 100)),
      NeighborAdvertisement.announcement(mac: mac, address: IPv6Address("2001:db8::100")!, isRouter: false),
    ]
    for frame in frames {
      for length in 0..<frame.count { #expect(claim(Array(frame[..<length])) == nil) }
      for position in frame.indices {
        var wrong = frame
        wrong[position] ^= 0xFF
        _ = claim(wrong)
      }
    }
  }
}

@Suite(.serialized, .enabled(if: canMakeNamespaces, needsRoot))
struct ClaimTests {
  private let web = AddressThread.VIP(
    id: 3, interface: "eth0", addresses: [IPAddress("10.9.0.100")!, IPAddress("2001:db8::100")!])

  @Test func `who else announces a VIP that is held here is told with the MAC, and nobody else is`() throws {
    try addressStory([web]) { hosts, thread, reports in
      let announcer = try hosts.on(hosts.there) { try Announcer() }
      let index = try hosts.on(hosts.there) { try #require(try InterfaceState.all().first { $0.name == "eth0" }).index }
      let stranger = MACAddress("02:00:00:00:00:99")!
      // Not held yet: whoever announces it may be its owner.
      #expect(eventually { !reports.interfaces.isEmpty })
      for address in web.addresses { try announcer.announce(address, at: stranger, on: index) }
      #expect(thread.takeNow(3, generation: 1, reports))
      #expect(!reports.all.contains { if case .claimed = $0 { true } else { false } })
      // Somebody else's address, and this node's own MAC that comes back by another way.
      try announcer.announce(IPAddress("10.9.0.99")!, at: stranger, on: index)
      try announcer.announce(web.addresses[0], at: MACAddress("02:00:00:00:00:01")!, on: index)
      for address in web.addresses {
        try announcer.announce(address, at: stranger, on: index)
        #expect(reports.has { $0 == .claimed(3, address, by: stranger) })
      }
      let told = Set(reports.all.filter { if case .claimed = $0 { true } else { false } })
      #expect(told == Set(web.addresses.map { .claimed(3, $0, by: stranger) }))
    }
  }

  @Test func `a storm of claims is counted, but told only now and then`() throws {
    try addressStory([web]) { hosts, thread, reports in
      let announcer = try hosts.on(hosts.there) { try Announcer() }
      let index = try hosts.on(hosts.there) { try #require(try InterfaceState.all().first { $0.name == "eth0" }).index }
      #expect(thread.takeNow(3, generation: 1, reports))
      for _ in 0..<500 {
        try announcer.announce(web.addresses[0], at: MACAddress("02:00:00:00:00:99")!, on: index)
        usleep(100)
      }
      #expect(eventually { thread.counters.claims > 100 })
      let told = reports.all.count { if case .claimed = $0 { true } else { false } }
      #expect(told >= 10 && told < 100)
      // The storm keeps nobody from anything.
      thread.renew(3, generation: 1, lease: .seconds(30))
      #expect(reports.has { if case .renewed = $0 { true } else { false } })
    }
  }

  @Test func `claims are heard on an interface that was made anew`() throws {
    try addressStory([web]) { _, thread, reports in
      #expect(thread.takeNow(3, generation: 1, reports))
      try shell("ip link del eth0")
      #expect(reports.has { $0 == .vanished(3, 1, .interfaceLost) })
      try shell("ip link add eth0 type veth peer name eth1; ip link set eth1 up; ip link set eth0 up")
      #expect(eventually { reports.interfaces.last?.isUp == true })
      #expect(thread.takeNow(3, generation: 2, reports))
      let index = try #require(try InterfaceState.all().first { $0.name == "eth1" }).index
      let stranger = MACAddress("02:00:00:00:00:99")!
      let announcer = try Announcer()
      #expect(
        try eventually {
          try announcer.announce(web.addresses[0], at: stranger, on: index)
          return reports.all.contains(.claimed(3, web.addresses[0], by: stranger))
        })
    }
  }

  @Test func `the kernel's word that another machine has an address is told`() throws {
    try addressStory(
      [web],
      before: { hosts in
        try shell("cd /proc/sys/net/ipv6/conf/eth0; echo 1 > accept_dad; echo 1 > keep_addr_on_down")
        try hosts.on(hosts.there) { _ = try shell("ip address add 2001:db8::100/64 dev eth0 nodad") }
      }
    ) { _, thread, reports in
      #expect(thread.takeNow(3, generation: 1, lease: nil, reports))
      // Another program takes away what keeps the kernel from looking for duplicates, and it looks when the link comes up.
      try shell("ip address change 2001:db8::100/128 dev eth0; ip link set eth0 down; ip link set eth0 up")
      #expect(reports.has { $0 == .duplicate(3, web.addresses[1]) })
      #expect(thread.counters.duplicates > 0)
    }
  }
}
