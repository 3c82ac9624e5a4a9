import Basis
import Testing
import VRRP
import Wire

/// One way to be dropped: a good advert with one thing wrong.
private struct Wrong: Sendable, CustomTestStringConvertible {
  let reason: Discard
  let what: String
  var settings = Settings(id: 51, family: .ipv4, priority: 200, addresses: [vip])
  var started = true
  var advert = Advert(version: .v3, id: 51, priority: 210, interval: .seconds(1), addresses: [vip])
  var source = node11
  var destination = group
  var hopLimit: UInt8 = 255
  /// Changes the bytes; the checksum is made right again unless it is the wrong thing.
  var edit: (@Sendable (inout [UInt8]) -> Void)?

  var testDescription: String { "\(reason): \(what)" }

  static let unicast = Settings(id: 51, family: .ipv4, priority: 200, addresses: [vip], peers: .unicast([node11]))
  static let v2 = Settings(id: 51, version: .v2, family: .ipv4, priority: 200, addresses: [vip])
  static let v2Advert = Advert(version: .v2, id: 51, priority: 210, interval: .seconds(1), addresses: [vip])
  static let ipv6 = Settings(id: 51, family: .ipv6, priority: 200, addresses: [v6("2001:db8::100")])
  static let ipv6Advert = Advert(
    version: .v3, id: 51, priority: 210, interval: .seconds(1), addresses: [v6("fe80::100"), v6("2001:db8::100")])

  static let all: [Wrong] = [
    Wrong(reason: .notRunning, what: "before the start", started: false),
    Wrong(reason: .family, what: "IPv6 for a router of IPv4", source: v6("fe80::1"), destination: .v6(.vrrpGroup)),
    Wrong(reason: .family, what: "IPv4 for a router of IPv6", settings: ipv6),
    Wrong(reason: .source, what: "0.0.0.0", source: .v4(.any)),
    Wrong(reason: .source, what: "255.255.255.255", source: .v4(.broadcast)),
    Wrong(reason: .source, what: "a group", source: group),
    Wrong(reason: .source, what: "the VIP, by a router that it isn't the own address of", source: vip),
    Wrong(
      reason: .source, what: "::", settings: ipv6, advert: ipv6Advert, source: .v6(.any), destination: .v6(.vrrpGroup)),
    Wrong(
      reason: .source, what: "an IPv6 group", settings: ipv6, advert: ipv6Advert, source: .v6(.vrrpGroup),
      destination: .v6(.vrrpGroup)),
    Wrong(reason: .reflected, what: "our own source", source: node12),
    Wrong(reason: .hopLimit, what: "TTL 254", hopLimit: 254),
    Wrong(reason: .hopLimit, what: "TTL 1", hopLimit: 1),
    Wrong(
      reason: .unicastHopLimit, what: "unicast, TTL 254", settings: unicast, source: node13, destination: node12,
      hopLimit: 254),
    Wrong(reason: .destination, what: "unicast to a router of the group", destination: node12),
    Wrong(reason: .destination, what: "another group", destination: .v4(IPv4Address(224, 0, 0, 5))),
    Wrong(reason: .destination, what: "the group to a router of unicast", settings: unicast),
    Wrong(reason: .stranger, what: "unicast from no peer", settings: unicast, source: node13, destination: node12),
    Wrong(reason: .truncated, what: "7 bytes", edit: { $0.removeLast($0.count - 7) }),
    Wrong(reason: .truncated, what: "nothing", edit: { $0.removeAll() }),
    Wrong(reason: .version, what: "v2 to v3", advert: v2Advert),
    Wrong(reason: .version, what: "v3 to v2", settings: v2),
    Wrong(reason: .version, what: "version 0", edit: { $0[0] = 0x01 }),
    Wrong(
      reason: .version, what: "v2 over IPv6", settings: ipv6, advert: ipv6Advert, source: v6("fe80::1"),
      destination: .v6(.vrrpGroup), edit: { $0[0] = 0x21 }),
    Wrong(reason: .type, what: "type 2", edit: { $0[0] = 0x32 }),
    Wrong(reason: .type, what: "type 0", edit: { $0[0] = 0x30 }),
    Wrong(
      reason: .noAddresses, what: "count 0",
      edit: {
        $0[3] = 0; $0.removeLast(4)
      }),
    Wrong(reason: .length, what: "an address too few", edit: { $0[3] = 2 }),
    Wrong(reason: .length, what: "an address too many", edit: { $0 += [10, 0, 0, 101] }),
    Wrong(reason: .length, what: "a byte too many", edit: { $0.append(0) }),
    Wrong(
      reason: .length, what: "v2 without authentication data", settings: v2, advert: v2Advert,
      edit: { $0.removeLast(8) }),
    Wrong(
      reason: .length, what: "IPv6 with an IPv4 address", settings: ipv6, source: v6("fe80::1"),
      destination: .v6(.vrrpGroup)),
    Wrong(reason: .authentication, what: "v2 with a password", settings: v2, advert: v2Advert, edit: { $0[4] = 1 }),
    Wrong(reason: .checksum, what: "wrong by one", edit: { $0[7] ^= 1 }),
    Wrong(reason: .checksum, what: "v2 wrong by one", settings: v2, advert: v2Advert, edit: { $0[7] ^= 1 }),
    Wrong(
      reason: .checksum, what: "IPv6 without the pseudo-header", settings: ipv6, advert: ipv6Advert,
      source: v6("fe80::1"),
      destination: .v6(.vrrpGroup),
      edit: { bytes in
        bytes[6...7] = [0, 0]
        var sum = Checksum()
        sum.add(bytes)
        bytes[6...7] = [UInt8(sum.value >> 8), UInt8(sum.value & 255)]
      }),
    Wrong(
      reason: .id, what: "another VRID",
      advert: Advert(version: .v3, id: 52, priority: 210, interval: .seconds(1), addresses: [vip])),
    Wrong(
      reason: .zeroInterval, what: "v3",
      edit: {
        $0[4] = 0; $0[5] = 0
      }),
    Wrong(reason: .zeroInterval, what: "v2", settings: v2, advert: v2Advert, edit: { $0[5] = 0 }),
    Wrong(
      reason: .notLinkLocal, what: "a global address first", settings: ipv6,
      advert: Advert(
        version: .v3, id: 51, priority: 210, interval: .seconds(1), addresses: [v6("2001:db8::100"), v6("fe80::100")]),
      source: v6("fe80::1"), destination: .v6(.vrrpGroup)),
  ]

  /// The message, with a right checksum unless the checksum is what is wrong.
  var message: [UInt8] {
    var bytes = advert.encoded(from: source, to: destination, coverage: .pseudoHeader)
    edit?(&bytes)
    guard reason != .checksum, bytes.count >= 8 else { return bytes }
    bytes[6...7] = [0, 0]
    var sum = Checksum()
    sum.add(bytes)
    if advert.version == .v3 { sum.addPseudoHeader(from: source, to: destination, protocol: 112, length: bytes.count) }
    bytes[6...7] = [UInt8(sum.value >> 8), UInt8(sum.value & 255)]
    return bytes
  }
}

@Suite struct `A message that breaks a rule` {
  @Test(arguments: Wrong.all)
  fileprivate func `is counted by its reason, and changes nothing else`(_ wrong: Wrong) {
    var router = VirtualRouter(wrong.settings)
    let start = Instant(nanoseconds: 0)
    if wrong.started {
      router.handle(.startup(local: wrong.settings.family == .ipv4 ? node12 : v6("fe80::12")), at: start) { _ in }
    }
    let before = router
    router.receive(
      wrong.message.span.bytes,
      in: Envelope(interface: "eth0", source: wrong.source, destination: wrong.destination, hopLimit: wrong.hopLimit),
      at: start + .milliseconds(50)
    ) { Issue.record("nothing should come of it, but \($0)") }
    #expect(router.counters[wrong.reason] == 1)
    #expect(router.counters.discarded == 1)
    #expect(router.counters.accepted == 0)
    #expect(router.state == before.state && router.deadline == before.deadline && router.interval == before.interval)
    #expect(router.owner == nil)
  }

  @Test(arguments: [255, 0] as [UInt8])
  func `is not one that an address owner sends from the VIP, its own address`(priority: UInt8) {
    var rig = Rig.backup()
    _ = rig.hear(priority, from: vip)
    #expect(rig.router.counters.accepted == 1)
    #expect(rig.router.counters.discarded == 0)
  }

  @Test func `every reason has a case above, and its own words`() {
    for reason in Discard.allCases { #expect(Wrong.all.contains { $0.reason == reason }, "\(reason)") }
    #expect(Set(Discard.allCases.map(\.description)).count == Discard.allCases.count)
  }
}

@Test func `a hostile list of addresses makes no long line`() {
  let many = (0..<255).map { IPAddress.v4(IPv4Address(192, 0, 2, UInt8($0))) }
  let text = Notice.addressesMismatch(from: node11, theirs: many, ours: [vip]).description
  #expect(text.contains("192.0.2.4 … and 250 more, this node 10.0.0.100"))
  #expect(text.count < 200)
}
