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

  @Test func `the journal knows what the configuration no longer has, until it is gone`() throws {
    try withFolder { folder in
      let path = folder + "/addresses.journal"
      try addressStory([vip(0, "10.9.0.100")], journal: path) { _, thread, reports in
        thread.configure([vip(0, "10.9.0.100"), vip(1, "10.9.0.101")], watching: ["eth0"])
        #expect(thread.takeNow(1, generation: 1, reports))
        func named() -> [IPAddress] {
          guard case .journal(let journal) = JournalFile(path: path).read() else { return [] }
          return journal.places.map(\.address)
        }
        #expect(eventually { named() == [IPAddress("10.9.0.100")!, IPAddress("10.9.0.101")!] })
        thread.configure([vip(0, "10.9.0.100")], watching: ["eth0"])
        #expect(eventually { named() == [IPAddress("10.9.0.100")!] })
      }
    }
  }
}
