import Basis
import Glibc
import Testing
import Wire

@testable import Linux

@Suite struct JournalTextTests {
  private var journal: AddressJournal {
    AddressJournal(
      boot: "5f3c", namespace: 4_026_531_840,
      places: [
        .init(address: IPAddress("10.9.0.100")!, interface: "eth0", index: 2),
        .init(address: IPAddress("2001:db8::100")!, interface: "roost6.51", index: 0),
      ],
      devices: ["roost6.51"], tables: ["roost_accept"],
      settings: [.init(path: "net/ipv4/conf/eth0/arp_ignore", before: "0", after: "1")])
  }

  @Test func `a journal is read as it was written`() {
    #expect(AddressJournal(text: journal.text) == journal)
    let empty = AddressJournal(boot: "", namespace: 0)
    #expect(AddressJournal(text: empty.text) == empty)
  }

  @Test func `a journal that is cut or changed anywhere says nothing`() {
    let bytes = Array(journal.text.utf8)
    for length in 0..<bytes.count - 1 {
      #expect(AddressJournal(text: String(decoding: bytes[..<length], as: UTF8.self)) == nil)
    }
    for position in bytes.indices.dropLast() {
      var wrong = bytes
      wrong[position] ^= 0x11
      let read = String(validating: wrong, as: UTF8.self).flatMap { AddressJournal(text: $0) }
      #expect(read == nil || read == journal)  // the checksum in capitals is still the same number
    }
  }

  @Test func `a journal can't have anything but an interface's settings changed`() {
    var hostile = journal
    hostile.settings = [.init(path: "kernel/core_pattern", before: "|/bin/sh", after: "core")]
    #expect(AddressJournal(text: hostile.text) == nil)
    hostile.settings = [.init(path: "net/ipv4/conf/../../../kernel/core_pattern", before: "x", after: "core")]
    #expect(AddressJournal(text: hostile.text) == nil)
  }
}

@Suite(.serialized, .enabled(if: canMakeNamespaces, needsRoot))
struct JournalTests {
  private let web = AddressThread.VIP(
    id: 3, interface: "eth0", addresses: [IPAddress("10.9.0.100")!, IPAddress("2001:db8::100")!])

  /// Leaves what a life that was killed leaves.
  private func crash(_ vips: [AddressThread.VIP], _ path: String) throws {
    let reports = Reports()
    let thread = try AddressThread(vips, watching: ["eth0"], record: OwnershipRecord(capacity: 8), journal: path) {
      reports.append($0)
    }
    for vip in vips { #expect(thread.takeNow(vip.id, generation: 1, lease: nil, reports)) }
    thread.stop()
  }

  private func hasVIPs() throws -> Bool {
    let shown = try shell("ip address show")
    return shown.contains("10.9.0.100/32") || shown.contains("2001:db8::100/128")
  }

  @Test func `a new life removes what an old one left, VIPs that are no longer configured included, and only that`()
    throws
  {
    try withFolder { folder in
      try TwoHosts.run { _ in
        let path = folder + "/addresses.journal"
        try crash([web], path)
        // The interface has another name now; others' addresses stand beside.
        try shell(
          """
          ip link set eth0 down; ip link set eth0 name wan0; ip link set wan0 up
          ip address add 10.9.0.101/32 dev wan0; ip address add 10.9.0.100/32 dev lo
          ip address add 2001:db8::100/128 dev wan0 nodad preferred_lft 0 noprefixroute 2>/dev/null; true
          """)
        let reports = Reports()
        let other = AddressThread.VIP(id: 0, interface: "wan0", addresses: [IPAddress("10.9.0.55")!])
        let thread = try AddressThread([other], watching: ["wan0"], record: OwnershipRecord(capacity: 8), journal: path)
        {
          reports.append($0)
        }
        for address in web.addresses {
          #expect(reports.has { $0 == .swept(.address(address, interface: "wan0")) })
        }
        let shown = try shell("ip address show dev wan0")
        #expect(shown.contains("10.9.0.101/32") && shown.contains("10.9.0.1/24"))
        #expect(!shown.contains("10.9.0.100") && !shown.contains("2001:db8::100/128"))
        #expect(try shell("ip address show dev lo").contains("10.9.0.100/32"))
        thread.stop()
        #expect(access(path, F_OK) != 0)  // nothing was held: nothing to remember
      }
    }
  }

  @Test func `an address that another program made is not swept, whatever the journal says`() throws {
    try withFolder { folder in
      try TwoHosts.run { _ in
        let path = folder + "/addresses.journal"
        try crash([web], path)
        try shell("ip address flush to 10.9.0.100/32; ip address add 10.9.0.100/32 dev eth0")
        let outcome = try Sweeper.release(journal: path)
        #expect(outcome.removed == [.address(web.addresses[1], interface: "eth0")])
        #expect(try shell("ip address show dev eth0").contains("10.9.0.100/32"))
      }
    }
  }

  @Test func `release removes everything without a daemon, and says what`() throws {
    try withFolder { folder in
      try TwoHosts.run { _ in
        let path = folder + "/addresses.journal"
        var vip = web
        vip.virtualMAC = VirtualMAC(id: 51)
        vip.accepts = false
        try crash([vip], path)
        #expect(try shell("ip link show").contains("roost.51"))
        let outcome = try Sweeper.release(journal: path)
        #expect(outcome.troubles == [])
        let expected: Set<Removal> = [
          .address(web.addresses[0], interface: "roost.51"), .address(web.addresses[1], interface: "roost6.51"),
          .device("roost.51"), .device("roost6.51"), .table("roost_accept"),
          .setting("net/ipv4/conf/eth0/arp_ignore", value: "0"),
          .setting("net/ipv4/conf/eth0/arp_announce", value: "0"),
        ]
        #expect(Set(outcome.removed) == expected)
        #expect(try !shell("ip link show").contains("roost"))
        #expect(try !shell("nft list tables").contains("roost"))
        #expect(try !hasVIPs())
        // A second time there is nothing to do.
        let again = try Sweeper.release(journal: path)
        #expect(again.removed == [] && again.troubles == [])
      }
    }
  }

  @Test(arguments: ["rm '%'", "truncate -s 40 '%'", "rm '%.copy'", "truncate -s 40 '%.copy'"])
  func `where one of the two journals is lost or damaged, settings are given back all the same`(_ harm: String) throws {
    try withFolder { folder in
      try TwoHosts.run { _ in
        let path = folder + "/addresses.journal"
        var vip = web
        vip.virtualMAC = VirtualMAC(id: 51)
        try crash([vip], path)
        func settings() throws -> String { try shell("cd /proc/sys/net/ipv4/conf/eth0; cat arp_ignore arp_announce") }
        #expect(try settings() == "1\n2\n")
        try shell(harm.replacing("%", with: path))
        let reports = Reports()
        let thread = try AddressThread([], watching: ["eth0"], record: OwnershipRecord(capacity: 8), journal: path) {
          reports.append($0)
        }
        #expect(try settings() == "0\n0\n")
        #expect(try !hasVIPs())
        let isOfCopy = harm.contains(".copy")
        #expect(
          reports.all.contains { if case .journal(let word) = $0 { word.contains("copy") } else { false } } != isOfCopy)
        thread.stop()
        #expect(access(path, F_OK) != 0 && access(path + ".copy", F_OK) != 0)
      }
    }
  }

  @Test func `on a full disk what was written stays, and the copy knows the rest`() throws {
    try withFolder { folder in
      try TwoHosts.run { _ in
        let disk = folder + "/disk"
        try shell("mkdir '\(disk)'; mount -t tmpfs -o size=64k tmpfs '\(disk)'")
        defer { _ = try? shell("umount '\(disk)'") }
        let path = disk + "/addresses.journal"
        var vip = web
        vip.virtualMAC = VirtualMAC(id: 51)
        try crash([vip], path)
        try shell("head -c 100000 /dev/zero > '\(disk)/rest' 2>/dev/null; true")
        let file = JournalFile(path: path)
        let before = try #require(file.read().journal)
        #expect(before.settings.count == 2)
        var bigger = before
        for number in 0..<500 {
          bigger.places.append(.init(address: .v4(IPv4Address(rawValue: UInt32(number))), interface: "eth0", index: 2))
        }
        #expect(file.write(bigger, waiting: .seconds(5)) != nil)
        #expect(file.read().journal == before)
      }
    }
  }

  @Test func `a journal for which the disk had no room at the start is written when it has some`() throws {
    try withFolder { folder in
      try TwoHosts.run { _ in
        let disk = folder + "/disk"
        try shell("mkdir '\(disk)'; mount -t tmpfs -o size=64k tmpfs '\(disk)'")
        defer { _ = try? shell("umount '\(disk)'") }
        let path = disk + "/addresses.journal"
        try shell("head -c 100000 /dev/zero > '\(disk)/rest' 2>/dev/null; true")
        let reports = Reports()
        let thread = try AddressThread([web], watching: ["eth0"], record: OwnershipRecord(capacity: 8), journal: path) {
          reports.append($0)
        }
        defer { thread.stop() }
        #expect(reports.has { if case .journalState(let word?) = $0 { word.contains(disk) } else { false } })
        #expect(!reports.all.contains(.journalState(nil)))
        try shell("rm '\(disk)/rest'")
        #expect(reports.has { $0 == .journalState(nil) })
        #expect(JournalFile(path: path).read().journal?.places.isEmpty == false)
      }
    }
  }

  @Test func `a damaged journal is told, and the new life goes on`() throws {
    try withFolder { folder in
      try TwoHosts.run { _ in
        let path = folder + "/addresses.journal"
        try crash([web], path)
        try shell("truncate -s 40 '\(path)' '\(path).copy'")
        let reports = Reports()
        let thread = try AddressThread([web], watching: ["eth0"], record: OwnershipRecord(capacity: 8), journal: path) {
          reports.append($0)
        }
        defer { thread.stop() }
        #expect(reports.has { if case .journal(let word) = $0 { word.contains("damaged") } else { false } })
        #expect(access(path + ".damaged", F_OK) == 0)
        // It is a VIP of this life's, and nobody owns it.
        #expect(reports.has { $0 == .strayRemoved(3, web.addresses[0]) })
        #expect(try eventually { try !hasVIPs() })
        #expect(thread.takeNow(3, generation: 1, reports))
      }
    }
  }

  @Test func `a folder that can't be written is told, and the new life goes on`() throws {
    try addressStory([web], journal: "/proc/no-such-folder/journal") { _, thread, reports in
      #expect(
        reports.has { if case .journalState(let word?) = $0 { word.contains("/proc/no-such-folder") } else { false } })
      #expect(thread.takeNow(3, generation: 1, reports))
    }
  }

  @Test func `a journal of another network namespace or boot removes nothing here`() throws {
    try withFolder { folder in
      try TwoHosts.run { hosts in
        let path = folder + "/addresses.journal"
        try crash([web], path)
        let elsewhere = try hosts.on(hosts.there) { try Sweeper.release(journal: path) }
        #expect(elsewhere.removed == [] && elsewhere.troubles.count == 1)
        guard var journal = JournalFile(path: path).read().journal else {
          Issue.record("no journal")
          return
        }
        journal.boot = "another"
        #expect(JournalFile(path: path).write(journal, waiting: .seconds(5)) == nil)
        #expect(try Sweeper.release(journal: path).removed == [])
        #expect(try hasVIPs())
      }
    }
  }

  @Test func `what the record says is owned is kept by a process that takes over`() throws {
    try withFolder { folder in
      try TwoHosts.run { _ in
        let path = folder + "/addresses.journal"
        let record = try OwnershipRecord(capacity: 8)
        for life in 1...2 as ClosedRange<UInt64> {
          let reports = Reports()
          let thread = try AddressThread([web], watching: ["eth0"], record: record, journal: path) {
            reports.append($0)
          }
          if life == 1 {
            #expect(thread.takeNow(3, generation: 1, lease: nil, reports))
          } else {
            #expect(reports.has { if case .interface = $0 { true } else { false } })
            #expect(!reports.all.contains { if case .swept = $0 { true } else { false } })
            #expect(try hasVIPs())
            thread.renew(3, generation: 1, lease: .seconds(30))
            #expect(reports.has { if case .renewed(3, 1, .some) = $0 { true } else { false } })
          }
          thread.stop()
        }
      }
    }
  }
}
