import Basis
import CLinux
import Glibc
import Synchronization
import Testing
import Wire

@testable import Linux

@Suite(.serialized, .enabled(if: canMakeNamespaces, needsRoot))
struct VRRPSocketTests {
  /// What a socket receives next, within a generous while.
  private func next(_ socket: VRRPSocket) throws -> (VRRPSocket.Received, [UInt8])? {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1500, alignment: 8)
    defer { buffer.deallocate() }
    var result: (VRRPSocket.Received, [UInt8])?
    _ = try eventually {
      guard let received = try socket.receive(into: buffer) else { return false }
      result = (received, Array(buffer[received.payload]))
      return true
    }
    return result
  }

  private func open(_ hosts: TwoHosts, _ host: NetworkNamespace, _ family: AddressFamily) throws -> VRRPSocket {
    try hosts.on(host) {
      let index = try #require(try InterfaceState.all().first { $0.name == "eth0" }).index
      return try VRRPSocket(interface: "eth0", index: index, family: family)
    }
  }

  private static let message: [UInt8] = [0x31, 51, 254, 1, 0, 100, 0xAB, 0xCD, 10, 9, 0, 100]

  @Test(arguments: [
    ("10.9.0.1", "10.9.0.2", "224.0.0.18"), ("fe80::1", "fe80::2", "ff02::12"),
  ])
  func `a message reaches the other host by multicast and by unicast, with 255 hops`(
    mine: String, theirs: String, group: String
  ) throws {
    try TwoHosts.run { hosts in
      let source = try #require(IPAddress(mine))
      let here = try open(hosts, hosts.here, source.family)
      let there = try open(hosts, hosts.there, source.family)
      #expect(VRRPSocket.group(source.family).description == group)
      for destination in [group, theirs].compactMap({ IPAddress($0) }) {
        try here.send(Self.message, to: destination, from: source)
        let (received, payload) = try #require(try next(there))
        #expect(received.source == source)
        #expect(received.destination == destination)
        #expect(received.hopLimit == 255)
        #expect(payload == Self.message)
      }
      // It doesn't hear itself.
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1500, alignment: 8)
      defer { buffer.deallocate() }
      #expect(try here.receive(into: buffer) == nil)
      #expect(here.malformed == 0)
    }
  }

  @Test(.timeLimit(.minutes(2)))
  func `a flood is read in portions, and keeps no loop from its deadlines`() throws {
    try TwoHosts.run { hosts in
      let here = try open(hosts, hosts.here, .ipv4)
      let there = try open(hosts, hosts.there, .ipv4)
      let (source, group) = (try #require(IPAddress("10.9.0.1")), VRRPSocket.group(.ipv4))
      // What waits is bounded by the socket's buffer, and more than a portion fits.
      for _ in 0..<2 * VRRPSocket.portion { try here.send(Self.message, to: group, from: source) }
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1500, alignment: 8)
      defer { buffer.deallocate() }
      var (most, count) = (VRRPSocket.portion, 0)
      while try there.receive(into: buffer, most: &most) != nil { count += 1 }
      #expect(count == VRRPSocket.portion)
      #expect(most == 0)

      let isOver = Atomic(false)
      let flood = Handover(value: here)
      let thread = try Thread.start(named: "flood", stackSize: 512 * 1024) {
        while !isOver.load(ordering: .relaxed) { try? flood.value.send(Self.message, to: group, from: source) }
      }
      defer {
        isOver.store(true, ordering: .relaxed)
        thread.join()
      }
      let reactor = try Reactor()
      var (heard, acted, largest) = (0, 0, 0)
      try reactor.register(there.descriptor, .readable) { _ in
        // As the daemon does it; were there no bound, this would never end.
        var most = VRRPSocket.portion
        var read = 0
        while (try? there.receive(into: buffer, most: &most)) != nil { read += 1 }
        heard += read
        largest = max(largest, read)
      }
      var due = Clock.now()
      while acted < 50 {
        try reactor.turn(deadline: { due }) { now in
          acted += 1
          due = now + .milliseconds(10)
        }
      }
      #expect(heard > 0)
      #expect(largest <= VRRPSocket.portion)
    }
  }

  /// One thread's at a time: the flood only sends, the test only hears.
  private struct Handover: @unchecked Sendable {
    let value: VRRPSocket
  }

  @Test func `a hop limit below 255 is told as it came`() throws {
    try TwoHosts.run { hosts in
      let there = try open(hosts, hosts.there, .ipv6)
      let raw = try Descriptor.socket(AF_INET6, SOCK_RAW, protocol: 112)
      try raw.setOption(Int32(IPPROTO_IPV6), clinux_ipv6_unicast_hops, Int32(64), "setsockopt")
      let index = try #require(try InterfaceState.all().first { $0.name == "eth0" }).index
      var (to, from) = (in6_addr(IPv6Address("fe80::2")!), in6_addr(IPv6Address("fe80::1")!))
      #expect(
        clinux_vrrp_send6(raw.rawValue, Self.message, Self.message.count, &to, &from, index) == Self.message.count)
      #expect(try #require(try next(there)).0.hopLimit == 64)
    }
  }

  @Test func `a source that is not here is refused with advice`() throws {
    try TwoHosts.run { hosts in
      let here = try open(hosts, hosts.here, .ipv6)
      let error = #expect(throws: SystemError.self) {
        try here.send(Self.message, to: VRRPSocket.group(.ipv6), from: IPAddress("2001:db8::9")!)
      }
      #expect(error?.description.contains("2001:db8::9") == true)
    }
  }

  @Test(
    arguments: [
      [],
      [0x45],
      // Header length 16.
      [0x44, 0, 0, 20, 0, 0, 0, 0, 255, 112, 0, 0, 10, 0, 0, 1, 224, 0, 0, 18],
      // Header length 60 in 20 bytes.
      [0x4F, 0, 0, 20, 0, 0, 0, 0, 255, 112, 0, 0, 10, 0, 0, 1, 224, 0, 0, 18],
      // Total length 1,500 in 20 bytes.
      [0x45, 0, 5, 220, 0, 0, 0, 0, 255, 112, 0, 0, 10, 0, 0, 1, 224, 0, 0, 18],
      // Version 6.
      [0x65, 0, 0, 20, 0, 0, 0, 0, 255, 112, 0, 0, 10, 0, 0, 1, 224, 0, 0, 18],
    ] as [[UInt8]])
  func `an IPv4 header that contradicts itself is no packet`(bytes: [UInt8]) {
    #expect(bytes.withUnsafeBytes { VRRPSocket.Received(ipv4Packet: $0) } == nil)
  }

  @Test func `announcements are a request, a reply and an advertisement, to everybody`() throws {
    try TwoHosts.run { hosts in
      let index = try #require(try InterfaceState.all().first { $0.name == "eth0" }).index
      let reader = try hosts.on(hosts.there) {
        let reader = try Descriptor.socket(AF_PACKET, SOCK_RAW)
        #expect(clinux_packet_bind(reader.rawValue, 0, 0x0003) == 0)  // ETH_P_ALL
        return reader.release()
      }
      defer { close(reader) }
      let announcer = try Announcer()
      let mac = MACAddress("02:00:00:00:00:01")!
      try announcer.announce(IPAddress("10.9.0.100")!, at: mac, on: index)
      try announcer.announce(IPAddress("2001:db8::100")!, at: mac, on: index)
      var frames: [[UInt8]] = []
      let found = eventually {
        var buffer = [UInt8](repeating: 0, count: 2048)
        while case let count = read(reader, &buffer, buffer.count), count > 0 { frames.append(Array(buffer[..<count])) }
        return frames.contains(
          NeighborAdvertisement.announcement(mac: mac, address: IPv6Address("2001:db8::100")!, isRouter: false))
      }
      #expect(found)
      let address = IPv4Address(10, 9, 0, 100)
      #expect(frames.contains(ARP.announcement(.request, mac: mac, address: address)))
      #expect(frames.contains(ARP.announcement(.reply, mac: mac, address: address)))
    }
  }
}
