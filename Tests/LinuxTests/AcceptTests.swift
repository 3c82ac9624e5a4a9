import Basis
import Glibc
import Testing
import Wire

@testable import Linux

@Suite(.serialized, .enabled(if: canMakeNamespaces && NFT.path != nil, "needs root and nft"))
struct AcceptTests {
  private let refusing = AddressThread.VIP(
    id: 0, interface: "eth0", addresses: [IPAddress("10.9.0.100")!, IPAddress("2001:db8::100")!], accepts: false)
  private let open = AddressThread.VIP(
    id: 1, interface: "eth0", addresses: [IPAddress("10.9.0.101")!, IPAddress("2001:db8::101")!])

  private func answers(_ hosts: TwoHosts, _ address: String) throws -> Bool {
    try hosts.on(hosts.there) { try reaches(address) }
  }

  @Test func `a VIP that accepts nothing is found by its neighbours but answers nothing else`() throws {
    try addressStory(
      [refusing, open],
      before: { hosts in
        for (namespace, number) in [(hosts.here, 1), (hosts.there, 2)] {
          try hosts.on(namespace) { _ = try shell("ip address add 2001:db8::\(number)/64 dev eth0 nodad") }
        }
      }
    ) { hosts, thread, reports in
      for id in 0...1 { #expect(thread.takeNow(id, generation: 1, reports)) }
      for address in ["10.9.0.101", "2001:db8::101", "10.9.0.1", "2001:db8::1"] {
        #expect(try answers(hosts, address))
      }
      for address in ["10.9.0.100", "2001:db8::100"] {
        try hosts.on(hosts.there) { _ = try shell("ip neighbour flush all") }
        #expect(try !answers(hosts, address))
        // Its MAC was asked for and told; and a neighbour that makes sure of it by asking the VIP itself is answered.
        try hosts.on(hosts.there) {
          let known = try shell("ip neighbour show \(address)")
          #expect(known.contains("02:00:00:00:00:01"))
          let isReachable = try eventually {
            _ = try reaches(address)
            return try shell("ip neighbour show \(address)").contains("REACHABLE")
          }
          #expect(isReachable)
        }
      }
      // The list follows the configuration, as one change.
      var other = refusing
      other.accepts = true
      thread.configure([other, open], watching: ["eth0"])
      #expect(try eventually { try answers(hosts, "10.9.0.100") })
      #expect(try !shell("nft list tables").contains("roost"))
      thread.configure([refusing, open], watching: ["eth0"])
      #expect(try eventually { try !answers(hosts, "2001:db8::100") })
      for id in 0...1 {
        thread.release(id, generation: 1)
        #expect(reports.has { $0 == .removed(id, 1) })
      }
      thread.stop()
      #expect(try !shell("nft list tables").contains("roost"))
    }
  }

  @Test func `what is forwarded through a VIP that accepts nothing passes`() throws {
    try addressStory(
      [refusing],
      before: { hosts in
        try shell(
          """
          echo 1 > /proc/sys/net/ipv4/ip_forward
          ip link add inner0 type veth peer name inner1; ip address add 10.99.0.1/24 dev inner0
          ip link set inner0 up
          """)
        try shell("ip link set inner1 netns /proc/\(getpid())/fd/\(hosts.there.descriptor)")
        try hosts.on(hosts.there) {
          // The same host at the other end: the packets go out by the VIP and come back on another interface.
          _ = try shell(
            """
            ip link set inner1 up; ip address add 10.99.0.2/24 dev inner1; ip route add 10.98.0.0/24 via 10.9.0.100
            """)
        }
        try shell("ip address add 10.98.0.1/24 dev inner0; ip route add 10.97.0.0/24 via 10.99.0.2")
      }
    ) { hosts, thread, reports in
      #expect(thread.takeNow(0, generation: 1, reports))
      // To another address of the node, by the VIP as the gateway: not a packet to the VIP itself.
      let passes = try eventually { try answers(hosts, "10.98.0.1") }
      #expect(passes)
    }
  }

  @Test func `without the firewall's program such a VIP is refused at the start, in words`() throws {
    let error = SystemError(call: "nft", code: ENOENT, subject: "(install nftables, or let every VIP accept packets)")
    #expect("\(error)".contains("install nftables"))
    // A program that refuses is told in its own words.
    try TwoHosts.run { _ in
      let refusal = #expect(throws: SystemError.self) { try NFT.load("add rule inet nowhere nothing drop\n") }
      #expect(refusal?.call == "nft" && refusal?.subject.contains("No such file") == true)
    }
  }

  @Test func `when somebody empties the firewall the table comes back, again and again`() throws {
    try addressStory([refusing]) { hosts, thread, reports in
      #expect(thread.takeNow(0, generation: 1, reports))
      for time in 1...3 {
        try shell("nft flush ruleset")
        #expect(eventually { reports.all.count { $0 == .firewallRestored } == time })
        let tables = try shell("nft list tables")
        #expect(tables.contains("roost_accept"))
      }
      // Others' tables are others' business.
      try shell("nft add table inet other; nft delete table inet other")
      let answered = try answers(hosts, "10.9.0.100")
      #expect(!answered)
      #expect(reports.all.count { $0 == .firewallRestored } == 3)
    }
  }

  @Test func `a table with 255 VIPs of both families is loaded in one step, and twice`() throws {
    try TwoHosts.run { _ in
      var table = AcceptTable()
      let many = Set(
        (1...255).flatMap { number in
          [
            IPAddress.v4(IPv4Address(10, 9, 1, UInt8(number))),
            .v6(IPv6Address(rawValue: 0x2001_0DB8 << 96 | UInt128(number))),
          ]
        })
      try table.load(many)
      try table.load(many.filter { $0.family == .ipv6 })
      let rules = try shell("nft list table inet roost_accept")
      #expect(rules.contains("2001:db8::ff") && !rules.contains("10.9.1.1"))
      #expect(table.covers(.v6(IPv6Address("2001:db8::1")!)) && !table.covers(.v4(IPv4Address(10, 9, 1, 1))))
    }
  }
}
