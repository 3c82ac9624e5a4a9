import Basis
import CLinux
import Glibc
import Testing
import Wire

@testable import Linux

/// Two nodes that are the gateway between two networks, by turns:
/// ```
///   client 10.9.0.50 ───┬── lan ──┬─── a: eth0 10.9.0.11, eth1 10.8.0.11 ─┐
///     2001:db8:9::50    │         └─── b: eth0 10.9.0.12, eth1 10.8.0.12 ─┴─ wan ─── outside 10.8.0.50, 2001:db8:8::50
/// ```
/// Both networks' only gateway is a VIP: 10.9.0.1, 2001:db8:9::1 and 10.8.0.1, 2001:db8:8::1.
private struct Gateways {
  let client: NetworkNamespace
  let outside: NetworkNamespace
  let a: NetworkNamespace
  let b: NetworkNamespace

  static let vips = [
    AddressThread.VIP(
      id: 0, interface: "eth0", addresses: [IPAddress("10.9.0.1")!, IPAddress("2001:db8:9::1")!],
      virtualMAC: VirtualMAC(id: 51)),
    AddressThread.VIP(
      id: 1, interface: "eth1", addresses: [IPAddress("10.8.0.1")!, IPAddress("2001:db8:8::1")!],
      virtualMAC: VirtualMAC(id: 52)),
  ]

  static func run(_ body: (Gateways) throws -> Void) throws {
    let home = try NetworkNamespace.current()
    defer { do { try home.enter() } catch { fatalError("a thread of the pool is lost in a namespace: \(error)") } }
    let all = try (0..<5).map { _ in try NetworkNamespace.enterNew() }
    let (switches, client, outside, a, b) = (all[0], all[1], all[2], all[3], all[4])
    try switches.enter()
    try shell("for bridge in lan wan; do ip link add $bridge type bridge; ip link set $bridge up; done")
    for (index, (namespace, ports)) in [
      (client, [("lan", "eth0")]), (outside, [("wan", "eth0")]), (a, [("lan", "eth0"), ("wan", "eth1")]),
      (b, [("lan", "eth0"), ("wan", "eth1")]),
    ].enumerated() {
      for (bridge, name) in ports {
        let port = "\(bridge)\(index)"
        try switches.enter()
        try shell(
          """
          set -e
          ip link add \(port) type veth peer name \(name) netns /proc/\(getpid())/fd/\(namespace.descriptor)
          ip link set \(port) master \(bridge) up
          """)
        try namespace.enter()
        try shell(
          "echo 0 > /proc/sys/net/ipv6/conf/\(name)/accept_dad; ip link set lo up; ip link set \(name) up")
      }
    }
    func end(_ namespace: NetworkNamespace, _ net: Int) throws {
      try namespace.enter()
      try shell(
        """
        set -e
        ip address add 10.\(net).0.50/24 dev eth0; ip address add 2001:db8:\(net)::50/64 dev eth0 nodad
        ip route add default via 10.\(net).0.1; ip -6 route add default via 2001:db8:\(net)::1
        """)
    }
    try end(client, 9)
    try end(outside, 8)
    for (node, number) in [(a, 11), (b, 12)] {
      try node.enter()
      try shell(
        """
        set -e
        sysctl -q net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=1
        ip address add 10.9.0.\(number)/24 dev eth0; ip address add 10.8.0.\(number)/24 dev eth1
        ip address add 2001:db8:9::\(number)/64 dev eth0 nodad; ip address add 2001:db8:8::\(number)/64 dev eth1 nodad
        """)
    }
    try body(Gateways(client: client, outside: outside, a: a, b: b))
  }

  func on<Result>(_ namespace: NetworkNamespace, _ body: () throws -> Result) throws -> Result {
    let before = try NetworkNamespace.current()
    try namespace.enter()
    defer { try? before.enter() }
    return try body()
  }
}

@Suite(.serialized, .enabled(if: canMakeNamespaces, needsRoot))
struct VirtualMACTests {
  @Test func `MACs and devices are named by the RFC and the virtual router's number`() {
    let virtual = VirtualMAC(id: 51)
    #expect(virtual.address(.ipv4) == MACAddress("00:00:5e:00:01:33"))
    #expect(virtual.address(.ipv6) == MACAddress("00:00:5e:00:02:33"))
    #expect(virtual.deviceName(.ipv4) == "roost.51" && virtual.deviceName(.ipv6) == "roost6.51")
    #expect(VirtualMAC.isVirtual(MACAddress("00:00:5e:00:02:ff")!))
    #expect(!VirtualMAC.isVirtual(MACAddress("00:00:5e:00:03:01")!))
    #expect(!VirtualMAC.isVirtual(MACAddress("02:00:5e:00:01:01")!))
  }

  @Test func `the same number on two interfaces makes two devices`() {
    let vips = (0..<3).map { id in
      AddressThread.VIP(id: id, interface: "eth\(id)", addresses: [], virtualMAC: VirtualMAC(id: id == 2 ? 7 : 255))
    }
    let names = AddressThread.VIP.withDistinctDevices(vips).map { $0.device(.ipv6) }
    #expect(names == ["roost6.255", "roost6.255-1", "roost6.7"])
    #expect(VirtualMAC(id: 255).address(.ipv4) == vips[1].virtualMAC?.address(.ipv4))
  }

  @Test func `a gateway keeps its MAC when another node takes it, in both families`() throws {
    try Gateways.run { net in
      let (reportsA, reportsB) = (Reports(), Reports())
      let a = try net.on(net.a) {
        try AddressThread(Gateways.vips, watching: ["eth0", "eth1"], record: OwnershipRecord(capacity: 8)) {
          reportsA.append($0)
        }
      }
      defer { a.stop() }
      let b = try net.on(net.b) {
        try AddressThread(Gateways.vips, watching: ["eth0", "eth1"], record: OwnershipRecord(capacity: 8)) {
          reportsB.append($0)
        }
      }
      defer { b.stop() }
      let watching = try net.on(net.client) { try TwoHosts.background("timeout 8 ip monitor neigh") }

      func passes() throws -> Bool {
        try eventually {
          try net.on(net.client) {
            try reaches("10.8.0.50") && reaches("2001:db8:8::50")
          }
        }
      }
      for generation in 1...3 as ClosedRange<UInt64> {
        let (owner, reports, other, otherReports) =
          generation % 2 == 1 ? (a, reportsA, b, reportsB) : (b, reportsB, a, reportsA)
        if generation > 1 {
          for id in 0...1 {
            other.release(id, generation: generation - 1)
            #expect(otherReports.has { $0 == .removed(id, generation - 1) })
          }
        }
        for id in 0...1 { #expect(owner.takeNow(id, generation: generation, reports)) }
        #expect(try passes())
        // The client uses the VIP itself, too: answers leave by the interface, and teach nobody its MAC.
        try net.on(net.client) {
          try shell("ip neighbour flush all")
          let answers = try (reaches("10.9.0.1"), reaches("2001:db8:9::1"))
          #expect(answers == (true, true))
          let known = try (shell("ip neighbour show 10.9.0.1"), shell("ip neighbour show 2001:db8:9::1"))
          #expect(known.0.contains("00:00:5e:00:01:33") && known.1.contains("00:00:5e:00:02:33"))
        }
        // The owner looks for the client by itself, and its question must not name the VIP with its own MAC.
        try net.on(generation % 2 == 1 ? net.a : net.b) {
          try shell("ip neighbour flush all")
          let answers = try (
            reaches("10.9.0.50", from: "10.9.0.1"), reaches("2001:db8:9::50", from: "2001:db8:9::1")
          )
          #expect(answers == (true, true))
        }
      }
      // Nobody was told another way.
      let redirects = try net.on(net.client) {
        try shell(
          #"""
          awk '/^Icmp: InMsgs/ { for (i = 1; i <= NF; i++) if ($i == "InRedirects") column = i; next }
               /^Icmp:/ { print "IPv4", $column }' /proc/net/snmp
          awk '/InRedirects/ { print "IPv6", $2 }' /proc/net/snmp6
          """#)
      }
      #expect(redirects == "IPv4 0\nIPv6 0\n")
      let seen = try watching.output().split(separator: "\n")
      let entries = seen.filter { $0.contains("lladdr") }
      #expect(entries.contains { $0.hasPrefix("10.9.0.1 ") } && entries.contains { $0.hasPrefix("2001:db8:9::1 ") })
      for entry in entries where entry.hasPrefix("10.9.0.1 ") { #expect(entry.contains("lladdr 00:00:5e:00:01:33")) }
      for entry in entries where entry.hasPrefix("2001:db8:9::1 ") {
        #expect(entry.contains("lladdr 00:00:5e:00:02:33"))
      }
    }
  }

  @Test func `the node's own address keeps its own MAC`() throws {
    try Gateways.run { net in
      let reports = Reports()
      let a = try net.on(net.a) {
        try AddressThread(Gateways.vips, watching: ["eth0", "eth1"], record: OwnershipRecord(capacity: 8)) {
          reports.append($0)
        }
      }
      defer { a.stop() }
      for id in 0...1 { #expect(a.takeNow(id, generation: 1, reports)) }
      let own = try net.on(net.a) { try #require(try InterfaceState.all().first { $0.name == "eth0" }?.macAddress) }
      try net.on(net.client) {
        let answers = try (reaches("10.9.0.11"), reaches("2001:db8:9::11"))
        #expect(answers == (true, true))
        let known = try (shell("ip neighbour show 10.9.0.11"), shell("ip neighbour show 2001:db8:9::11"))
        #expect(known.0.contains("\(own)") && known.1.contains("\(own)"))
      }
    }
  }

  @Test func `the device is down until the VIP is taken, has no address of its own, and goes at the end`() throws {
    try TwoHosts.run { _ in
      let reports = Reports()
      var vip = Gateways.vips[0]
      vip.addresses = [IPAddress("10.9.0.100")!, IPAddress("2001:db8::100")!]
      let thread = try AddressThread([vip], watching: ["eth0"], record: OwnershipRecord(capacity: 8)) {
        reports.append($0)
      }
      #expect(eventually { !reports.interfaces.isEmpty })
      for name in ["roost.51", "roost6.51"] {
        #expect(try shell("ip -details link show \(name)").contains("macvlan mode bridge"))
        #expect(try !shell("ip link show \(name)").contains(",UP"))
      }
      #expect(thread.takeNow(0, generation: 1, reports))
      func addresses(_ name: String) throws -> [String] {
        try shell("ip -oneline address show dev \(name)").split(separator: "\n").map { line in
          let words = line.split(separator: " ")
          return words.count > 3 ? String(words[3]) : ""
        }
      }
      #expect(try addresses("roost.51") == ["10.9.0.100/32"])
      #expect(try addresses("roost6.51") == ["2001:db8::100/128"])
      // Somebody sets it down: the VIP is lost, and taken anew.
      try shell("ip link set roost6.51 down")
      #expect(reports.has { $0 == .vanished(0, 1, .interfaceLost) })
      #expect(thread.takeNow(0, generation: 2, reports))
      try shell("ip link del roost.51")
      #expect(reports.has { $0 == .vanished(0, 2, .interfaceLost) })
      #expect(thread.takeNow(0, generation: 3, reports))
      let index = try #require(try InterfaceState.all().first { $0.name == "roost.51" }).index
      #expect(reports.all.contains(.device(0, .ipv4, index: index)))
      #expect(try addresses("roost.51") == ["10.9.0.100/32"])
      #expect(try shell("cat /proc/sys/net/ipv4/conf/eth0/arp_ignore") == "1\n")
      thread.release(0, generation: 3)
      #expect(reports.has { $0 == .removed(0, 3) })
      for name in ["roost.51", "roost6.51"] { #expect(try !shell("ip link show \(name)").contains(",UP")) }
      thread.stop()
      #expect(try !shell("ip link show").contains("roost"))
      #expect(try shell("cat /proc/sys/net/ipv4/conf/eth0/arp_ignore") == "0\n")
    }
  }

  @Test func `a device of that name that is somebody else's is refused`() throws {
    try TwoHosts.run { _ in
      try shell("ip link add roost.51 type veth peer name roost-peer")
      let error = #expect(throws: SystemError.self) {
        var vip = Gateways.vips[0]
        vip.addresses = [IPAddress("10.9.0.100")!]
        _ = try AddressThread([vip], watching: ["eth0"], record: OwnershipRecord(capacity: 8)) { _ in }
      }
      #expect(error?.code == EEXIST && error?.subject == "roost.51")
    }
  }

  @Test(arguments: [("10.9.0.1", "224.0.0.18"), ("fe80::1", "ff02::12")])
  func `adverts carry the virtual MAC, and are heard by a node that is owner itself`(
    mine: String, group: String
  ) throws {
    try TwoHosts.run { hosts in
      let source = try #require(IPAddress(mine))
      let mac = VirtualMAC(id: 51).address(source.family)
      func index() throws -> Int32 { try #require(try InterfaceState.all().first { $0.name == "eth0" }).index }
      let reports = Reports()
      var vip = Gateways.vips[0]
      vip.addresses = [IPAddress("10.9.0.100")!, IPAddress("2001:db8::100")!]
      // The other host has the same MAC, up.
      let thread = try hosts.on(hosts.there) {
        try AddressThread([vip], watching: ["eth0"], record: OwnershipRecord(capacity: 8)) { reports.append($0) }
      }
      defer { thread.stop() }
      #expect(thread.takeNow(0, generation: 1, reports))
      let here = try VRRPSocket(interface: "eth0", index: try index(), family: source.family)
      let (there, frames) = try hosts.on(hosts.there) {
        let frames = try Descriptor.socket(AF_PACKET, SOCK_RAW).release()
        try SystemError.check("bind") {
          clinux_packet_bind(frames, (try? index()) ?? 0, source.family == .ipv4 ? 0x0800 : 0x86DD)
        }
        return (try VRRPSocket(interface: "eth0", index: try index(), family: source.family), frames)
      }
      defer { close(frames) }
      let message: [UInt8] = [0x31, 51, 254, 1, 0, 100, 0xAB, 0xCD, 10, 9, 0, 100]
      try here.send(message, to: try #require(IPAddress(group)), from: source, virtualMAC: mac)
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1500, alignment: 8)
      defer { buffer.deallocate() }
      var received: VRRPSocket.Received?
      #expect(
        try eventually {
          received = try there.receive(into: buffer)
          return received != nil
        })
      #expect(received?.source == source && received?.hopLimit == 255)
      #expect(received.map { Array(buffer[$0.payload]) } == message)
      var sender: MACAddress?
      _ = eventually {
        var (from, outgoing): (Int32, Int32) = (0, 0)
        let count = clinux_packet_receive(frames, buffer.baseAddress, buffer.count, &from, &outgoing)
        guard count > 14, outgoing == 0,
          let header = try? EthernetHeader(parsing: UnsafeRawBufferPointer(rebasing: buffer[..<count]).bytes)
        else { return false }
        let isMulticast = header.destination.rawValue >> 40 & 1 == 1
        if isMulticast, header.source == mac { sender = header.source }
        return sender != nil
      }
      #expect(sender == mac)
    }
  }

  /// What leaves a device, by what is asked of it.
  @Test func `a device sends answers, and drops what it would say by itself`() throws {
    try TwoHosts.run { hosts in
      let reports = Reports()
      var vip = Gateways.vips[0]
      vip.addresses = [IPAddress("10.9.0.100")!, IPAddress("2001:db8::100")!]
      let thread = try AddressThread([vip], watching: ["eth0"], record: OwnershipRecord(capacity: 8)) {
        reports.append($0)
      }
      defer { thread.stop() }
      #expect(thread.takeNow(0, generation: 1, reports))
      #expect(!reports.all.contains { if case .notSilenced = $0 { true } else { false } })
      let device = try #require(try InterfaceState.all().first { $0.name == "roost6.51" }).index
      let sender = try Descriptor.socket(AF_PACKET, SOCK_RAW)
      let receiver = try hosts.on(hosts.there) {
        let receiver = try Descriptor.socket(AF_PACKET, SOCK_RAW).release()
        try SystemError.check("bind") { clinux_packet_bind(receiver, 0, 3) }
        return receiver
      }
      defer { close(receiver) }

      let (group, host): ([UInt8], [UInt8]) = ([0x33, 0x33, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
      let (somebody, nobody) = ([0x20, 1] + [UInt8](repeating: 0, count: 14), [UInt8](repeating: 0, count: 16))
      let lastByteOnly: [UInt8] = nobody.dropLast() + [1]
      func ipv6(_ next: UInt8, _ type: UInt8, from source: [UInt8]) -> [UInt8] {
        [0x86, 0xDD, 0x60, 0, 0, 0, 0, 30, next, 255] + source + somebody + [type]
      }
      let frames: [(name: String, destination: [UInt8], rest: [UInt8], passes: Bool)] = [
        ("ARP", host, [0x08, 0x06, 0, 1], true),
        ("ARP to all", [UInt8](repeating: 0xFF, count: 6), [0x08, 0x06], true),
        ("IPv4", host, [0x08, 0x00, 0x45], true), ("IGMP", [1, 0, 0x5E, 0, 0, 0x16], [0x08, 0x00, 0x46], false),
        ("LLDP", [1, 0x80, 0xC2, 0, 0, 0x0E], [0x88, 0xCC], false), ("LLDP to one", host, [0x88, 0xCC], false),
        ("IPv6", host, ipv6(6, 0, from: somebody), true), ("IPv6 from ::", host, ipv6(6, 0, from: nobody), false),
        ("from ::1", host, ipv6(6, 0, from: lastByteOnly), true),
        ("solicitation", group, ipv6(58, 135, from: somebody), true),
        ("advertisement", group, ipv6(58, 136, from: somebody), true),
        ("probe", group, ipv6(58, 135, from: nobody), false),
        ("router solicitation", group, ipv6(58, 133, from: somebody), false),
        ("report", group, ipv6(0, 58, from: nobody), false),
        ("old report", group, ipv6(58, 131, from: somebody), false),
        ("mDNS", group, ipv6(17, 135, from: somebody), false),
      ]
      for (number, frame) in frames.enumerated() {
        // The number is in the sender's address, to be told from the kernel's own.
        var bytes = frame.destination + [2, 0xAB, 0, 0, 0, UInt8(number)] + frame.rest
        bytes += [UInt8](repeating: 0, count: max(0, 90 - bytes.count))
        let sent = bytes.withUnsafeBytes { clinux_packet_send(sender.rawValue, $0.baseAddress, $0.count, device) }
        // A frame that a filter drops may be refused, or counted as sent.
        #expect(sent >= 0 || !frame.passes, "\(frame.name): \(errno)")
      }
      // What came is here by now: all of it is one host's kernel.
      var passed: Set<Int> = []
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1500, alignment: 8)
      defer { buffer.deallocate() }
      _ = eventually {
        var (from, outgoing): (Int32, Int32) = (0, 0)
        while clinux_packet_receive(receiver, buffer.baseAddress, buffer.count, &from, &outgoing) > 14 {
          if buffer[6] == 2, buffer[7] == 0xAB { passed.insert(Int(buffer[11])) }
        }
        return passed.contains(10)
      }
      for (number, frame) in frames.enumerated() {
        #expect(passed.contains(number) == frame.passes, "\(frame.name)")
      }
    }
  }

  @Test func `the interface listens for questions about the addresses, also before and after they are here`() throws {
    try TwoHosts.run { _ in
      let reports = Reports()
      var vip = Gateways.vips[0]
      vip.addresses = [IPAddress("2001:db8::12:3456")!]
      /// On which interfaces the group is joined.
      func listening() throws -> [Substring] {
        try shell("cat /proc/net/igmp6").split(separator: "\n")
          .filter { $0.contains("ff0200000000000000000001ff123456") }.map { $0.split(separator: " ")[1] }.sorted()
      }
      let thread = try AddressThread([vip], watching: ["eth0"], record: OwnershipRecord(capacity: 8)) {
        reports.append($0)
      }
      #expect(try eventually { try listening() == ["eth0"] })
      #expect(thread.takeNow(0, generation: 1, reports))
      #expect(try listening() == ["eth0", "roost6.51"])
      thread.release(0, generation: 1)
      #expect(reports.has { $0 == .removed(0, 1) })
      #expect(try listening() == ["eth0"])
      thread.stop()
      #expect(try eventually { try listening() == [] })
      #expect(!reports.all.contains { if case .notListening = $0 { true } else { false } })
    }
  }
}
