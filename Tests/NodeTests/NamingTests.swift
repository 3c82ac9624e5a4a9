import Basis
import Node
import Peering
import Testing
import VRRP
import Wire

/// What a node says of the owner that it hears.
struct NamingTests {
  private static let theirs = IPv6Address(rawValue: 0xFE80 << 112 | 0x12)
  private static let vip = IPAddress.v6(IPv6Address(rawValue: 0x2001_0DB8 << 96 | 0x100))

  /// A backup over IPv6 whose peer has said of itself what it says.
  private func backup(linkLocal: IPv6Address?) -> Bench {
    let router = VRRP.Settings(
      id: 51, family: .ipv6, priority: 200, interval: .milliseconds(100), addresses: [Self.vip])
    var bench = Bench(election: .vrrp(router)) { settings in
      settings.vips[0].addresses = [Self.vip]
      settings.peers = ["lb2"]
    }
    bench.give(.start)
    bench.give(
      .link(
        interface: "eth0",
        LinkState(isUp: true, ipv4: nil, linkLocal: IPv6Address(rawValue: 0xFE80 << 112 | 0x11))))
    bench.give(.peer(0, .up))
    bench.give(
      .peer(
        0,
        .said(
          .vips([
            .init(
              name: "web", state: .active, priority: 254, isEligible: true,
              router: .init(id: 51, version: 3, usesIPv6: true, isUnicast: false), linkLocal: linkLocal?.rawValue)
          ]))))
    return bench
  }

  private func hear(_ bench: inout Bench, priority: UInt8) {
    let advert = Advert(
      version: .v3, id: 51, priority: priority, interval: .milliseconds(100),
      addresses: [.v6(IPv6Address(rawValue: 0xFE80 << 112 | 0x100)), Self.vip])
    let (source, group) = (IPAddress.v6(Self.theirs), IPAddress.v6(.vrrpGroup))
    bench.give(
      .advert(
        Envelope(interface: "eth0", source: source, destination: group, hopLimit: 255),
        advert.encoded(from: source, to: group, coverage: .pseudoHeader)))
  }

  @Test func `a node says which link-local address its adverts come from`() throws {
    let bench = backup(linkLocal: nil)
    let told = bench.effects.compactMap { effect -> [PeerMessage.VIPReport]? in
      if case .tell(_, .vips(let reports)) = effect { reports } else { nil }
    }
    #expect(try #require(told.last?.first).linkLocal == 0xFE80 << 112 | 0x11)
  }

  @Test func `an owner over IPv6 goes by its name, also when its link is down`() {
    var bench = backup(linkLocal: Self.theirs)
    hear(&bench, priority: 254)
    #expect(bench.node.peer(advertisingFrom: .v6(Self.theirs), ofVIP: 0) == "lb2")
    bench.give(.peer(0, .down))
    bench.advance(by: .milliseconds(400))
    #expect(bench.node.vips[0].state == .active)
    #expect(bench.node.vips[0].reason.contains("no advert from lb2 (fe80::12) for"))
  }

  @Test func `whose name nobody said goes by its address`() {
    var bench = backup(linkLocal: nil)
    hear(&bench, priority: 254)
    #expect(bench.node.peer(advertisingFrom: .v6(Self.theirs), ofVIP: 0) == nil)
    bench.advance(by: .milliseconds(400))
    #expect(bench.node.vips[0].reason.contains("no advert from fe80::12 for"))
  }

  @Test func `why a node is a backup is about the owner that it hears now`() {
    var bench = Bench.owner()
    bench.hear(priority: 255)
    #expect(bench.node.vips[0].reason == "higher priority 255 > 254 heard from 10.0.0.12")
    _ = bench.take()
    bench.hear(priority: 255)
    #expect(bench.node.vips[0].reason == "higher priority 255 > 254 heard from 10.0.0.12")
    bench.hear(priority: 0)
    bench.hear(priority: 255, from: IPv4Address(10, 0, 0, 13))
    #expect(bench.node.vips[0].state == .backup)
    #expect(bench.node.vips[0].reason == "10.0.0.13 owns it (priority 255)")
    // No news of this node.
    #expect(!bench.take().contains { $0.isReport })
  }
}
