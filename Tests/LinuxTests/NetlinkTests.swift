import Basis
import CLinux
import Glibc
import Testing
import Wire

@testable import Linux

// Bytes as a little-endian kernel writes them: netlink is in the host's order.
@Suite struct NetlinkTests {
  private func messages(_ bytes: [UInt8]) -> [NetlinkMessage] {
    var messages: [NetlinkMessage] = []
    bytes.withUnsafeBytes { NetlinkMessage.forEach(in: $0) { messages.append($1) } }
    return messages
  }

  /// RTM_NEWADDR of 192.0.2.7/24 on interface 2, as `ip monitor` would see it.
  private static let newAddress: [UInt8] = [
    68, 0, 0, 0, /* length */ 20, 0, /* RTM_NEWADDR */ 0, 0, /* flags */ 9, 0, 0, 0, /* sequence */ 0, 0, 0,
    0, /* port */
    2, 24, 0x80, 0, /* AF_INET, /24, IFA_F_PERMANENT, universe */ 2, 0, 0, 0, /* interface */
    8, 0, 1, 0, 192, 0, 2, 7, /* IFA_ADDRESS */
    8, 0, 2, 0, 192, 0, 2, 7, /* IFA_LOCAL */
    8, 0, 8, 0, 0x80, 2, 0, 0, /* IFA_FLAGS: permanent, no prefix route */
    20, 0, 6, 0, 255, 255, 255, 255, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, /* IFA_CACHEINFO: preferred for ever, valid 60 s */
  ]

  @Test func `an address is read`() throws {
    guard case .address(let record, removed: false)? = messages(Self.newAddress).first else {
      Issue.record("no address")
      return
    }
    #expect(record.index == 2 && record.address == .v4(IPv4Address(192, 0, 2, 7)) && record.prefixLength == 24)
    #expect(record.flags == 0x280 && record.scope == 0)
    #expect(record.validSeconds == 60 && record.preferredSeconds == nil)
    #expect(!record.isTentative && !record.isDuplicate)
  }

  @Test func `a link is read`() throws {
    let bytes: [UInt8] = [
      60, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  // RTM_NEWLINK
      0, 0, 1, 0, 7, 0, 0, 0, 0x43, 0, 1, 0, 0, 0, 0, 0,  // Ethernet, index 7, up, broadcast, running, lower up
      9, 0, 3, 0, 101, 116, 104, 48, 0, 0, 0, 0,  // IFLA_IFNAME "eth0"
      8, 0, 4, 0, 0xDC, 5, 0, 0,  // IFLA_MTU 1500
      8, 0, 99, 0, 0, 0, 0, 0,  // something newer
    ]
    guard case .link(let link, removed: false)? = messages(bytes).first else {
      Issue.record("no link")
      return
    }
    #expect(link.name == "eth0" && link.index == 7 && link.mtu == 1500)
    #expect(link.isAdministrativelyUp && link.isRunning && !link.isLoopback && link.macAddress == nil)
  }

  @Test func `an answer tells the errno`() throws {
    let bytes: [UInt8] = [
      36, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0,  // NLMSG_ERROR to request 5
      0x9D, 0xFF, 0xFF, 0xFF,  // -EADDRNOTAVAIL
      28, 0, 0, 0, 21, 0, 5, 0, 5, 0, 0, 0, 0, 0, 0, 0,  // the request's header
    ]
    guard case .acknowledgement(let code)? = messages(bytes).first else {
      Issue.record("no answer")
      return
    }
    #expect(code == EADDRNOTAVAIL)
  }

  @Test func `no cut and no flipped byte makes the reader leave its bytes`() {
    var random = SplitMix64(seed: 1)
    for length in 0...Self.newAddress.count { _ = messages(Array(Self.newAddress.prefix(length))) }
    for _ in 0..<20_000 {
      var bytes = Self.newAddress + Self.newAddress
      for _ in 0...random.next(below: 4) {
        bytes[Int(random.next(below: UInt64(bytes.count)))] = UInt8(truncatingIfNeeded: random.next())
      }
      _ = messages(bytes)
    }
  }

  @Test func `a VIP's address is added with its lease, host-sized, without route`() {
    var batch = NetlinkBatch()
    batch.append(.set(leaseSeconds: 3), .v4(IPv4Address(10, 0, 0, 100)), on: 2, sequence: 1)
    #expect(
      batch.bytes == [
        68, 0, 0, 0, 20, 0, 0x05, 0x05, 1, 0, 0, 0, 0, 0, 0, 0,  // RTM_NEWADDR: request, acknowledge, create, replace
        2, 32, 0, 254, 2, 0, 0, 0,  // AF_INET, /32, scope host, interface 2
        8, 0, 2, 0, 10, 0, 0, 100,  // IFA_LOCAL
        8, 0, 1, 0, 10, 0, 0, 100,  // IFA_ADDRESS
        8, 0, 8, 0, 0, 2, 0, 0,  // IFA_FLAGS: no prefix route
        20, 0, 6, 0, 3, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  // IFA_CACHEINFO: preferred and valid for 3 s
      ])
    batch.removeAll()
    batch.append(.set(leaseSeconds: nil), IPAddress("2001:db8::100")!, on: 2, sequence: 1)
    let deprecatedForEver: [UInt8] = [20, 0, 6, 0, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0]
    #expect(Array(batch.bytes.suffix(20)) == deprecatedForEver)
    #expect(batch.bytes[17] == 128)
  }

  @Test(.enabled(if: canMakeNamespaces, needsRoot))
  func `after more changes than the socket holds the state is read anew`() throws {
    try TwoHosts.run { _ in
      let reports = Reports()
      let vip = AddressThread.VIP(id: 0, interface: "eth0", addresses: [IPAddress("10.9.0.100")!])
      nonisolated(unsafe) let keeper = try AddressKeeper(
        [vip], watching: ["eth0"], try OwnershipRecord(capacity: 1), report: { reports.append($0) })
      try keeper.start()
      // A tiny buffer instead of thousands of changes.
      var size: Int32 = 1
      setsockopt(keeper.monitorDescriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
      try shell("for i in $(seq 1 30); do ip address add 10.9.2.$i/32 dev eth0; done")
      keeper.readChanges()
      #expect(reports.interfaces.last?.addresses.contains { $0.address == .v4(IPv4Address(10, 9, 2, 30)) } == true)
    }
  }
}

@Suite struct InterfaceTableTests {
  @Test func `an interface that is made anew under its name has the new index and none of the old addresses`() throws {
    func link(_ index: UInt8) -> NetlinkMessage {
      let bytes: [UInt8] = [
        0, 0, 1, 0, index, 0, 0, 0, 0x43, 0, 1, 0, 0, 0, 0, 0, 9, 0, 3, 0, 101, 116, 104, 48, 0, 0, 0, 0,
      ]
      return bytes.withUnsafeBytes { .link(LinkRecord(NetlinkBytes(base: $0))!, removed: false) }
    }
    var table = InterfaceTable()
    table.apply(link(7))
    let address: [UInt8] = [2, 24, 0, 0, 7, 0, 0, 0, 8, 0, 2, 0, 10, 0, 0, 1]
    address.withUnsafeBytes { table.apply(.address(AddressRecord(NetlinkBytes(base: $0))!, removed: false)) }
    #expect(table.state(of: "eth0", excluding: []).ipv4?.address == IPv4Address(10, 0, 0, 1))
    guard case .link(let old, _) = link(7) else { return }
    table.apply(.link(old, removed: true))
    #expect(table.state(of: "eth0", excluding: []) == .missing("eth0"))
    table.apply(link(9))
    #expect(table.state(of: "eth0", excluding: []).index == 9)
    #expect(table.state(of: "eth0", excluding: []).addresses.isEmpty)
  }
}

@Suite struct SmallPartsTests {
  @Test func `what is missing is said in one line with what to do`() {
    let none = Capabilities([])
    #expect(
      none.complaint(needing: [.networkAdministration, .rawNetwork])
        == "this process lacks CAP_NET_ADMIN and CAP_NET_RAW: run as root, or add "
        + "AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW to the systemd unit")
    #expect(Capabilities.rawNetwork.complaint(needing: .rawNetwork) == nil)
  }

  @Test func `a bucket gives its burst at once and then so many a second`() {
    var bucket = TokenBucket(burst: 2, perSecond: 5)
    var now = Instant(nanoseconds: 0)
    #expect([bucket.take(at: now), bucket.take(at: now), bucket.take(at: now)] == [true, true, false])
    #expect(bucket.wait <= .milliseconds(201))
    now = now + .milliseconds(201)
    #expect([bucket.take(at: now), bucket.take(at: now)] == [true, false])
  }

  @Test func `an ownership record knows who owns a VIP now`() throws {
    let record = try OwnershipRecord(capacity: 4)
    record.grant(2, generation: 7)
    #expect(record.holds(2, generation: 7) && record.owner(2) == 7)
    #expect(record.owner(1) == nil && !record.holds(2, generation: 6))
    record.revoke(2, generation: 7)
    #expect(!record.holds(2, generation: 7))
    // A late revocation of what is long over does not touch the present.
    record.grant(2, generation: 8)
    record.revoke(2, generation: 7)
    #expect(record.holds(2, generation: 8))
  }

  @Test func `signals are read in turn`() throws {
    let outcome = try Pipe()
    let thread = try Thread.start(named: "signals") {
      guard let reader = try? SignalReader([SIGUSR1]) else { return }
      pthread_kill(pthread_self(), SIGUSR1)
      if reader.next()?.signal == SIGUSR1, reader.next() == nil { outcome.writeByte() }
    }
    thread.join()
    var entry = pollfd(fd: outcome.reading, events: Int16(POLLIN), revents: 0)
    #expect(poll(&entry, 1, 0) == 1)
  }
}
