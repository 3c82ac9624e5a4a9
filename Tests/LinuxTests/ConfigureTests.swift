import Basis
import Glibc
import Testing
import Wire

@testable import Linux

/// VIPs that come, go and change while the daemon runs.
@Suite(.serialized, .enabled(if: canMakeNamespaces, needsRoot))
struct ConfigureTests {
  private func vip(_ id: Int, _ addresses: String..., on interface: String = "eth0") -> AddressThread.VIP {
    AddressThread.VIP(id: id, interface: interface, addresses: addresses.compactMap { IPAddress($0) })
  }

  /// A host that accepts packets refuses that; one that drops them says nothing.
  private let connecting = "timeout 1 bash -c 'true < /dev/tcp/10.9.0.100/9' 2>&1"

  private func shown(on interface: String = "eth0") throws -> String { try shell("ip address show dev \(interface)") }

  @Test func `what did not change is not touched`() throws {
    let vips = [vip(0, "10.9.0.100", "2001:db8::100"), vip(1, "10.9.0.101")]
    try addressStory(vips) { _, thread, reports in
      for vip in vips { #expect(thread.takeNow(vip.id, generation: 1, reports)) }
      #expect(eventually { thread.counters.announcements == 3 })
      let monitor = "timeout 1 ip -timestamp monitor address route link neigh"
      // A renewal's notification may still be on its way: the monitor begins after this.
      usleep(100_000)
      let quiet = try TwoHosts.background(monitor)
      usleep(200_000)
      thread.configure(vips, watching: ["eth0"])
      thread.renew(9, generation: 1, lease: nil)
      let seen = try quiet.output()
      #expect(!seen.contains("10.9.0.100") && !seen.contains("10.9.0.101") && !seen.contains("2001:db8::100"))
      #expect(thread.counters.announcements == 3)
    }
  }

  @Test func `a VIP whose list changes while it is held gets just the difference, in its generation`() throws {
    try addressStory([vip(0, "10.9.0.100", "10.9.0.110")]) { hosts, thread, reports in
      #expect(thread.takeNow(0, generation: 1, reports))
      #expect(eventually { thread.counters.announcements == 2 })
      thread.configure([vip(0, "10.9.0.100", "10.9.0.120", "2001:db8::120")], watching: ["eth0"])
      #expect(
        try eventually {
          let text = try shown()
          return text.contains("10.9.0.100/32") && text.contains("10.9.0.120/32") && text.contains("2001:db8::120/128")
            && !text.contains("10.9.0.110")
        })
      #expect(eventually { thread.counters.announcements == 4 })
      // The new addresses have the lease's rest, and are renewed and released with it.
      let held = try shell("ip -oneline address show dev eth0").split(separator: "\n")
      #expect(!held.contains { $0.contains("valid_lft forever") && $0.contains("10.9.0.120") })
      thread.renew(0, generation: 1, lease: .seconds(90))
      #expect(reports.has { if case .renewed(0, 1, .some) = $0 { true } else { false } })
      thread.release(0, generation: 1)
      #expect(reports.has { $0 == .removed(0, 1) })
      #expect(try !shown().contains("10.9.0.120"))
      let lost = reports.all.filter {
        if case .vanished = $0 { true } else if case .strayRemoved = $0 { true } else { false }
      }
      #expect(lost == [])
    }
  }

  @Test func `VIPs come and go, and keep their numbers`() throws {
    try addressStory([vip(0, "10.9.0.100"), vip(1, "10.9.0.101")]) { _, thread, reports in
      for id in 0...1 { #expect(thread.takeNow(id, generation: 1, reports)) }
      thread.configure([vip(1, "10.9.0.101"), vip(2, "10.9.0.102")], watching: ["eth0"])
      #expect(reports.has { $0 == .vanished(0, 1, .reconfigured) })
      #expect(thread.takeNow(2, generation: 1, reports))
      let text = try shown()
      #expect(!text.contains("10.9.0.100/32") && text.contains("10.9.0.101/32") && text.contains("10.9.0.102/32"))
      // Its number is used again, for another.
      thread.configure([vip(0, "10.9.0.103"), vip(1, "10.9.0.101")], watching: ["eth0"])
      #expect(thread.takeNow(0, generation: 2, reports))
      #expect(try shown().contains("10.9.0.103/32"))
      #expect(try eventually { try !shown().contains("10.9.0.102") })
    }
  }

  @Test func `a VIP that gets another interface is lost, and taken on the new one`() throws {
    try addressStory(
      [vip(0, "10.9.0.100")],
      before: { _ in
        try shell("ip link add two0 type veth peer name two1; ip link set two0 up; ip link set two1 up")
      }
    ) { _, thread, reports in
      #expect(thread.takeNow(0, generation: 1, reports))
      thread.configure([vip(0, "10.9.0.100", on: "two0")], watching: ["two0"])
      #expect(reports.has { $0 == .vanished(0, 1, .reconfigured) })
      #expect(reports.has { if case .interface(let state) = $0 { state.name == "two0" && state.isUp } else { false } })
      #expect(thread.takeNow(0, generation: 2, reports))
      let (there, here) = (try shown(on: "two0"), try shown())
      #expect(there.contains("10.9.0.100/32") && !here.contains("10.9.0.100"))
    }
  }

  @Test(arguments: [true, false])
  func `a VIP that gets or loses a virtual MAC stays where it is, and nothing false is told`(_ gets: Bool) throws {
    let plain = vip(0, "10.9.0.100", "2001:db8::100")
    var virtual = plain
    virtual.virtualMAC = VirtualMAC(id: 51)
    let (first, second) = gets ? (plain, virtual) : (virtual, plain)
    func setting(_ name: String) -> String? { Sysctl.read("net/ipv4/conf/eth0/\(name)") }
    try addressStory([first]) { hosts, thread, reports in
      let before = setting("arp_announce")
      #expect(thread.takeNow(0, generation: 1, reports))
      #expect(eventually { thread.counters.announcements == 2 })
      let watch = try TwoHosts.background("timeout 3 ip -oneline monitor address")
      usleep(300_000)
      thread.configure([second], watching: ["eth0"])
      let (there, gone) = gets ? ("roost", "eth0") : ("eth0", "roost")
      func lines(_ part: String) throws -> Int {
        try shell("ip -oneline address show").split(separator: "\n").count {
          ($0.contains("10.9.0.100/32") || $0.contains("2001:db8::100/128")) && $0.contains(part)
        }
      }
      let hasMoved = try eventually { try lines(there) == 2 && lines(gone) == 0 }
      #expect(hasMoved)
      #expect(eventually { thread.counters.announcements == 4 })
      // There was no moment without the address: the new place came before the old one went.
      let seen = try watch.output().split(separator: "\n").filter { $0.contains("10.9.0.100/32") }
      let added = seen.firstIndex { !$0.hasPrefix("Deleted") && $0.contains(there) }
      let deleted = seen.firstIndex { $0.hasPrefix("Deleted") }
      #expect(added != nil && deleted != nil && added ?? 0 < deleted ?? 0, "\(seen)")
      thread.renew(0, generation: 1, lease: .seconds(90))
      #expect(reports.has { if case .renewed(0, 1, .some) = $0 { true } else { false } })
      let answer = try hosts.on(hosts.there) { try shell(connecting + "; ip neigh show 10.9.0.100") }
      #expect(answer.contains("refused") && answer.contains(gets ? "00:00:5e:00:01:33" : "02:00:00:00:00:01"))
      let wrong = reports.all.filter {
        switch $0 {
        case .vanished, .strayRemoved, .foreign, .failed, .putBack, .journal: true
        default: false
        }
      }
      #expect(wrong == [])
      if !gets { #expect(setting("arp_announce") == "0" && before == "2" && setting("arp_ignore") == "0") }
      thread.release(0, generation: 1)
      #expect(reports.has { $0 == .removed(0, 1) })
      let left = try lines("")
      #expect(left == 0)
    }
  }

  @Test(arguments: [true, false])
  func `a VIP that accepts, or no longer, stays where it is`(_ accepts: Bool) throws {
    var first = vip(0, "10.9.0.100")
    first.accepts = !accepts
    var second = first
    second.accepts = accepts
    try addressStory([first]) { hosts, thread, reports in
      #expect(thread.takeNow(0, generation: 1, reports))
      thread.configure([second], watching: ["eth0"])
      func isHeard() throws -> Bool {
        try hosts.on(hosts.there) { try shell(connecting + "; true") }.contains("refused")
      }
      let isRight = try eventually { try isHeard() == accepts }
      #expect(isRight)
      thread.renew(0, generation: 1, lease: .seconds(90))
      #expect(reports.has { if case .renewed(0, 1, .some) = $0 { true } else { false } })
      #expect(
        !reports.all.contains {
          switch $0 {
          case .vanished, .strayRemoved, .foreign, .failed, .putBack, .firewallRestored: true
          default: false
          }
        })
    }
  }

  @Test func `the journal knows what the configuration no longer has, until it is gone`() throws {
    try withFolder { folder in
      let path = folder + "/addresses.journal"
      try addressStory([vip(0, "10.9.0.100")], journal: path) { _, thread, reports in
        thread.configure([vip(0, "10.9.0.100"), vip(1, "10.9.0.101")], watching: ["eth0"])
        #expect(thread.takeNow(1, generation: 1, reports))
        func named() -> [IPAddress] {
          guard let journal = JournalFile(path: path).read().journal else { return [] }
          return journal.places.map(\.address)
        }
        #expect(eventually { named() == [IPAddress("10.9.0.100")!, IPAddress("10.9.0.101")!] })
        thread.configure([vip(0, "10.9.0.100")], watching: ["eth0"])
        #expect(eventually { named() == [IPAddress("10.9.0.100")!] })
      }
    }
  }
}
