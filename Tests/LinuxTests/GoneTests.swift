import Basis
import Glibc
import Testing
import Wire

@testable import Linux

private let web = AddressThread.VIP(
  id: 3, interface: "eth0", addresses: [IPAddress("10.9.0.100")!, IPAddress("2001:db8::100")!])

/// What the address thread says in the record of addresses that are gone.
@Suite(.serialized, .enabled(if: canMakeNamespaces, needsRoot))
struct GoneTests {
  private func present() throws -> Bool { try shell("ip address show dev eth0").contains(" 10.9.0.100/32 ") }

  @Test func `a VIP may be present from its taking until the removal is done, and no longer`() throws {
    try addressStory([web]) { _, thread, reports in
      let record = thread.record
      #expect(record.leftover(3) == nil && !record.mayBePresent(3, generation: 0))
      #expect(thread.takeNow(3, generation: 1, reports))
      #expect(record.mayBePresent(3, generation: 1) && record.leftover(3) == nil)
      thread.release(3, generation: 1)
      #expect(reports.has { $0 == .removed(3, 1) })
      #expect(!record.mayBePresent(3, generation: 1) && record.leftover(3) == nil)
      // The next one begins anew.
      #expect(thread.takeNow(3, generation: 2, reports))
      #expect(record.mayBePresent(3, generation: 2))
    }
  }

  @Test func `what somebody else ended is gone when the thread has found out`() throws {
    try addressStory([web]) { _, thread, reports in
      #expect(thread.takeNow(3, generation: 1, reports))
      #expect(thread.record.depose(3) == 1)
      #expect(thread.record.leftover(3) == 1)
      try shell("ip address del 10.9.0.100/32 dev eth0")
      #expect(eventually { thread.record.leftover(3) == nil })
      let isThere = try present()
      #expect(!isThere)
    }
  }

  @Test func `a taking that is over before it begins leaves nothing`() throws {
    try addressStory([web]) { _, thread, _ in
      thread.record.revoke(3, generation: 7)
      thread.take(3, generation: 7, lease: nil)
      #expect(eventually { thread.record.leftover(3) == nil && thread.record.lastGranted(3) == 7 })
      let isThere = try present()
      #expect(!isThere)
    }
  }

  @Test func `a lease that ran out leaves nothing, and neither does a VIP that is configured away`() throws {
    try addressStory([web]) { _, thread, reports in
      #expect(thread.takeNow(3, generation: 1, lease: .seconds(1), reports))
      #expect(eventually { !thread.record.mayBePresent(3, generation: 1) })
      #expect(thread.takeNow(3, generation: 2, reports))
      thread.configure([], watching: ["eth0"])
      #expect(eventually { !thread.record.mayBePresent(3, generation: 2) })
      let isThere = try present()
      #expect(!isThere)
    }
  }

  @Test func `while the interface is away a release is done at once`() throws {
    try addressStory([web]) { _, thread, reports in
      #expect(thread.takeNow(3, generation: 1, reports))
      try shell("ip link del eth0")
      thread.release(3, generation: 1)
      #expect(eventually { thread.record.leftover(3) == nil })
    }
  }

  @Test func `each VIP is told its own device, also where another had one of the same name`() throws {
    var gateway = web
    gateway.virtualMAC = VirtualMAC(id: 9)
    try addressStory([gateway]) { _, thread, reports in
      #expect(reports.has { if case .device(3, .ipv6, _) = $0 { true } else { false } })
      var other = gateway
      other.id = 4
      thread.configure([other], watching: ["eth0"])
      let index = Int32(if_nametoindex("roost.9"))
      #expect(reports.has { $0 == .device(4, .ipv4, index: index) })
    }
  }
}
