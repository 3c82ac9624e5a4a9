import Testing
import Wire

@testable import Configuration

@Test func `preference becomes priorities from 254 down`() {
  let vip = Configuration.VIP(
    name: "web", addresses: [.v4(IPv4Address(10, 0, 0, 100))], prefer: ["lb2", "lb1"], election: .static)
  #expect(vip.priority(of: "lb2") == 254)
  #expect(vip.priority(of: "lb1") == 253)
  #expect(vip.priority(of: "lb3") == nil)
}
