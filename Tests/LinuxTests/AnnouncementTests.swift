import Basis
import Glibc
import Testing
import Wire

@testable import Linux

@Suite struct AnnouncementQueueTests {
  private func item(_ vip: Int, nudge: Bool = false) -> AnnouncementQueue.Item {
    .init(vip: vip, generation: 1, address: .v4(IPv4Address(10, 9, 1, UInt8(vip))), isNudge: nudge)
  }

  @Test func `every VIP is announced once before any is announced again`() {
    var queue = AnnouncementQueue()
    var now = Instant(nanoseconds: 1_000_000_000)
    for vip in 0..<255 {
      queue.add(item(vip), isFirst: true)
      queue.add(item(vip, nudge: true), isFirst: false)
      queue.add(item(vip), isFirst: false)  // not said yet: the same as the first
    }
    var order: [AnnouncementQueue.Item] = []
    var atOnce = 0
    while !queue.isEmpty {
      if let next = queue.next(at: now) {
        order.append(next)
      } else {
        if atOnce == 0 { atOnce = order.count }
        now = queue.deadline ?? now
      }
    }
    #expect(atOnce == 32)
    #expect(order == (0..<255).map { item($0) } + (0..<255).map { item($0, nudge: true) })
    // 510 in all, 32 at once, the others half a millisecond apart.
    let elapsed = now - Instant(nanoseconds: 1_000_000_000)
    #expect(elapsed > .milliseconds(238) && elapsed < .milliseconds(241))
  }

  @Test func `what is no longer owned is taken out`() {
    var queue = AnnouncementQueue()
    for vip in 0..<4 { queue.add(item(vip), isFirst: vip < 2) }
    queue.removeAll { $0.vip % 2 == 0 }
    let now = Instant(nanoseconds: 1)
    #expect(queue.next(at: now) == item(1))
    #expect(queue.next(at: now) == item(3))
    #expect(queue.next(at: now) == nil && queue.deadline == nil)
  }
}

@Suite(.serialized, .enabled(if: canMakeNamespaces, needsRoot))
struct AnnouncementTests {
  private let web = AddressThread.VIP(
    id: 3, interface: "eth0", addresses: [IPAddress("10.9.0.100")!, IPAddress("2001:db8::100")!])

  @Test func `a neighbour that learned another MAC a moment ago takes the new one at once`() throws {
    // Within a second of the last change (locktime) Linux heeds no reply that is not for it.
    try TwoHosts.run { hosts in
      let index = try #require(try InterfaceState.all().first { $0.name == "eth0" }).index
      let announcer = try Announcer()
      let vip = IPv4Address(10, 9, 0, 100)
      try hosts.on(hosts.there) {
        _ = try shell("echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_accept")
      }
      func knows(_ mac: String) throws -> Bool {
        try eventually {
          try hosts.on(hosts.there) { try shell("ip neighbour show 10.9.0.100").contains(mac) }
        }
      }
      // Each right behind the other, request and reply alone: both have to work.
      for (operation, number) in [(ARP.Operation.request, 1), (.reply, 2), (.request, 3), (.reply, 4)] {
        let mac = MACAddress(rawValue: 0x0200_0000_0100 | UInt64(number))
        try announcer.send(operation, vip, mac, on: index)
        #expect(try knows("lladdr \(mac)"))
      }
    }
  }

  @Test func `the gateways are asked from the VIP, known or not`() throws {
    try addressStory([web]) { hosts, thread, reports in
      try hosts.on(hosts.there) {
        _ = try shell("ip address add 2001:db8::2/64 dev eth0 nodad; echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_accept")
      }
      try shell(
        """
        ip address add 2001:db8::1/64 dev eth0 nodad
        ip route add default via 10.9.0.2; ip route add 10.77.0.0/16 via 10.9.0.2
        ip -6 route add default via 2001:db8::2
        ip neighbour replace 2001:db8::2 lladdr 02:00:00:00:00:02 dev eth0 nud reachable
        """)
      let index = try #require(try InterfaceState.all().first { $0.name == "eth0" }).index
      let gateways = try Gateway.all(on: index)
      #expect(gateways.map(\.address) == [IPAddress("10.9.0.2"), IPAddress("2001:db8::2")])
      #expect(gateways.last?.macAddress == MACAddress("02:00:00:00:00:02"))
      #expect(thread.takeNow(3, generation: 1, reports))
      #expect(eventually { thread.counters.nudges == 2 })
      for address in ["10.9.0.100", "2001:db8::100"] {
        #expect(
          try eventually {
            try hosts.on(hosts.there) { try shell("ip neighbour show \(address)").contains("02:00:00:00:00:01") }
          })
      }
    }
  }

  @Test func `255 VIPs are all announced, a burst at first and then evenly`() throws {
    let many = (0..<255).map {
      AddressThread.VIP(id: $0, interface: "eth0", addresses: [.v4(IPv4Address(10, 9, 1, UInt8($0)))])
    }
    try addressStory(many) { hosts, thread, reports in
      try hosts.on(hosts.there) { _ = try shell("echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_accept") }
      for vip in many { thread.take(vip.id, generation: 1, lease: .seconds(60)) }
      #expect(eventually { thread.counters.announcements == 255 })
      #expect(
        try eventually {
          try hosts.on(hosts.there) { try shell("ip neighbour show dev eth0") }.split(separator: "\n").count {
            $0.hasPrefix("10.9.1.") && $0.contains("02:00:00:00:00:01")
          } == 255
        })
    }
  }

  @Test func `a VIP is not announced before it is asked for`() throws {
    try addressStory([web]) { _, thread, reports in
      thread.take(3, generation: 1, lease: .seconds(60), announcing: false)
      #expect(reports.has { if case .added(3, 1, _) = $0 { true } else { false } })
      #expect(thread.counters.announcements == 0)
      try shell("ip address del 10.9.0.100/32 dev eth0")
      #expect(reports.has { $0 == .putBack(3, 1, web.addresses[0]) })
      #expect(thread.counters.announcements == 0)
      thread.announce(3, generation: 1)
      #expect(eventually { thread.counters.announcements == 2 })
    }
  }
}

extension Announcer {
  /// One of the two forms by itself.
  fileprivate func send(_ operation: ARP.Operation, _ address: IPv4Address, _ mac: MACAddress, on index: Int32) throws {
    try send(ARP.announcement(operation, mac: mac, address: address), on: index, about: .v4(address))
  }
}
