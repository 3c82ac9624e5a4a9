import Basis
import Testing
import VRRP
import Wire

/// Messages of Debian's keepalived 2.2.7, captured on a veth, and how this package would write them.
struct Captured: Sendable, CustomTestStringConvertible {
  let name: String
  let bytes: [UInt8]
  let source: IPAddress
  let destination: IPAddress
  let coverage: ChecksumCoverage?
  let advert: Advert

  var testDescription: String { name }

  static let all = [
    Captured(
      name: "v2, IPv4",
      bytes: hex(
        """
        21 33 c8 01              ; version 2, advertisement; VRID 51; priority 200; one address
        00 01 0c 66              ; no authentication; every second; checksum over the message
        0a 00 00 64              ; 10.0.0.100
        00 00 00 00 00 00 00 00  ; authentication data, unused
        """),
      source: node11, destination: group, coverage: nil,
      advert: Advert(version: .v2, id: 51, priority: 200, interval: .seconds(1), addresses: [vip])),
    Captured(
      name: "v2, IPv4, leaving",
      bytes: hex("21 33 00 01  00 01 d4 66  0a 00 00 64  00 00 00 00 00 00 00 00"),
      source: node11, destination: group, coverage: nil,
      advert: Advert(version: .v2, id: 51, priority: 0, interval: .seconds(1), addresses: [vip])),
    Captured(
      name: "v3, IPv4",
      bytes: hex(
        """
        31 33 c8 02  ; version 3, advertisement; VRID 51; priority 200; two addresses
        00 0a 07 59  ; every 10 cs; checksum with the pseudo-header
        0a 00 00 64  ; 10.0.0.100
        0a 00 00 65  ; 10.0.0.101
        """),
      source: node11, destination: group, coverage: .pseudoHeader,
      advert: Advert(
        version: .v3, id: 51, priority: 200, interval: .milliseconds(100),
        addresses: [vip, .v4(IPv4Address(10, 0, 0, 101))])),
    Captured(
      name: "v3, IPv4, leaving",
      bytes: hex("31 33 00 02  00 0a cf 59  0a 00 00 64  0a 00 00 65"),
      source: node11, destination: group, coverage: .pseudoHeader,
      advert: Advert(
        version: .v3, id: 51, priority: 0, interval: .milliseconds(100),
        addresses: [vip, .v4(IPv4Address(10, 0, 0, 101))])),
    Captured(
      name: "v3, IPv4, unicast",
      bytes: hex("31 33 c8 01  00 0a e7 c9  0a 00 00 64"),
      source: node11, destination: node12, coverage: .pseudoHeader,
      advert: Advert(version: .v3, id: 51, priority: 200, interval: .milliseconds(100), addresses: [vip])),
    Captured(
      name: "v3, IPv6",
      bytes: hex(
        """
        31 33 c8 02                                      ; version 3, advertisement; VRID 51; priority 200; two addresses
        00 0a db 4d                                      ; every 10 cs; checksum with the pseudo-header
        fe 80 00 00 00 00 00 00  00 00 00 00 00 00 01 00 ; fe80::100, link-local first
        20 01 0d b8 00 00 00 00  00 00 00 00 00 00 01 00 ; 2001:db8::100
        """),
      source: v6("fe80::ff:fe00:a"), destination: .v6(.vrrpGroup), coverage: nil,
      advert: Advert(
        version: .v3, id: 51, priority: 200, interval: .milliseconds(100),
        addresses: [v6("fe80::100"), v6("2001:db8::100")])),
    Captured(
      name: "v3, IPv6, leaving",
      bytes: hex(
        """
        31 33 00 02  00 0a a3 4e
        fe 80 00 00 00 00 00 00  00 00 00 00 00 00 01 00
        20 01 0d b8 00 00 00 00  00 00 00 00 00 00 01 00
        """),
      source: v6("fe80::ff:fe00:a"), destination: .v6(.vrrpGroup), coverage: nil,
      advert: Advert(
        version: .v3, id: 51, priority: 0, interval: .milliseconds(100),
        addresses: [v6("fe80::100"), v6("2001:db8::100")])),
  ]
}

@Suite struct `Adverts` {
  @Test(arguments: Captured.all)
  func `keepalived's messages are read`(_ captured: Captured) throws {
    let header = try AdvertHeader(
      checking: captured.bytes.span.bytes, version: captured.advert.version, id: 51, from: captured.source,
      to: captured.destination)
    #expect(header.version == captured.advert.version)
    #expect(header.family == captured.source.family)
    #expect(header.id == 51)
    #expect(header.priority == captured.advert.priority)
    #expect(header.interval == captured.advert.interval)
    #expect(header.coverage == captured.coverage)
    #expect((0..<header.count).map { header.address($0, in: captured.bytes.span.bytes) } == captured.advert.addresses)
  }

  @Test(arguments: Captured.all)
  func `the same messages are written, to the byte`(_ captured: Captured) {
    #expect(
      captured.advert.encoded(from: captured.source, to: captured.destination, coverage: .pseudoHeader)
        == captured.bytes)
  }

  @Test(arguments: Captured.all)
  func `every flipped bit is noticed`(_ captured: Captured) {
    for bit in 0..<captured.bytes.count * 8 {
      var bytes = captured.bytes
      bytes[bit / 8] ^= 1 << (bit % 8)
      #expect(throws: Discard.self, "bit \(bit)") {
        try AdvertHeader(
          checking: bytes.span.bytes, version: captured.advert.version, id: 51, from: captured.source,
          to: captured.destination)
      }
    }
  }

  @Test func `RFC 9568's checksum over IPv4 covers the message only`() throws {
    let bytes = Advert(version: .v3, id: 51, priority: 200, interval: .milliseconds(100), addresses: [vip])
      .encoded(from: node11, to: group, coverage: .message)
    #expect(bytes == hex("31 33 c8 01  00 0a fc 5c  0a 00 00 64"))
    let header = try AdvertHeader(checking: bytes.span.bytes, version: .v3, id: 51, from: node11, to: group)
    #expect(header.coverage == .message)
  }

  @Test func `IPv6 counts the pseudo-header whatever is asked for`() {
    let advert = Captured.all[5].advert
    #expect(
      advert.encoded(from: v6("fe80::ff:fe00:a"), to: .v6(.vrrpGroup), coverage: .message) == Captured.all[5].bytes)
  }

  @Test func `what is encoded is decoded, whatever it says`() throws {
    var random = SplitMix64(seed: 9568)
    for _ in 0..<2_000 {
      let version: Version = random.next(below: 3) == 0 ? .v2 : .v3
      let isV6 = version == .v3 && random.next(below: 2) == 0
      let count = Int(1 + random.next(below: random.next(below: 10) == 0 ? 255 : 8))
      let addresses: [IPAddress] = (0..<count).map { index in
        guard isV6 else { return .v4(IPv4Address(rawValue: UInt32(truncatingIfNeeded: random.next()))) }
        return .v6(IPv6Address(rawValue: (index == 0 ? 0xFE80 << 112 : 0x2001 << 112) | UInt128(random.next())))
      }
      let advert = Advert(
        version: version, id: UInt8(1 + random.next(below: 255)), priority: UInt8(random.next(below: 256)),
        interval: version == .v2
          ? .seconds(Int(1 + random.next(below: 255))) : .milliseconds(10 * Int(1 + random.next(below: 4095))),
        addresses: addresses)
      let source: IPAddress = isV6 ? v6("fe80::1") : node11
      let coverage: ChecksumCoverage = random.next(below: 2) == 0 ? .message : .pseudoHeader
      let bytes = advert.encoded(from: source, to: source.family.vrrpGroup, coverage: coverage)
      let header = try AdvertHeader(
        checking: bytes.span.bytes, version: version, id: advert.id, from: source, to: source.family.vrrpGroup)
      let read = Advert(
        version: header.version, id: header.id, priority: header.priority, interval: header.interval,
        addresses: (0..<header.count).map { header.address($0, in: bytes.span.bytes) })
      #expect(read == advert)
      #expect(VirtualRouter.identify(bytes.span.bytes) == advert.id)
    }
  }

  @Test(arguments: [
    (Version.v3, Duration.zero, Duration.milliseconds(10)), (.v3, .milliseconds(14), .milliseconds(10)),
    (.v3, .milliseconds(15), .milliseconds(20)), (.v3, .seconds(41), .milliseconds(40_950)),
    (.v2, .milliseconds(100), .seconds(1)), (.v2, .milliseconds(1_500), .seconds(2)),
    (.v2, .seconds(300), .seconds(255)),
    (.v3, .seconds(Int64.max), .milliseconds(40_950)),
  ])
  func `an interval that the field can't hold is held at its ends`(version: Version, asked: Duration, written: Duration)
    throws
  {
    let bytes = Advert(version: version, id: 51, priority: 1, interval: asked, addresses: [vip])
      .encoded(from: node11, to: group, coverage: .pseudoHeader)
    let header = try AdvertHeader(checking: bytes.span.bytes, version: version, id: 51, from: node11, to: group)
    #expect(header.interval == written)
  }

  @Test func `the reserved bits of v3 are ignored`() throws {
    var bytes = hex("31 33 c8 01  f0 0a 00 00  0a 00 00 64")
    var sum = Checksum()
    sum.add(bytes)
    bytes[6...7] = [UInt8(sum.value >> 8), UInt8(sum.value & 255)]
    let header = try AdvertHeader(checking: bytes.span.bytes, version: .v3, id: 51, from: node11, to: group)
    #expect(header.interval == .milliseconds(100))
  }

  @Test func `at most 255 addresses are written`() {
    let many = (0..<300).map { IPAddress.v4(IPv4Address(rawValue: UInt32($0))) }
    let bytes = Advert(version: .v3, id: 51, priority: 1, interval: .seconds(1), addresses: many)
      .encoded(from: node11, to: group, coverage: .pseudoHeader)
    #expect(bytes[3] == 255 && bytes.count == 8 + 255 * 4)
  }

  @Test func `IPv6 lists a link-local address first: the given one, or the virtual router's own`() {
    func listed(_ addresses: [IPAddress]) -> [IPAddress] {
      Settings(id: 51, family: .ipv6, priority: 1, addresses: addresses).advertisedAddresses
    }
    #expect(listed([v6("2001:db8::100")]) == [v6("fe80::200:5eff:fe00:233"), v6("2001:db8::100")])
    #expect(listed([v6("fe80::100"), v6("2001:db8::100")]) == [v6("fe80::100"), v6("2001:db8::100")])
    #expect(Settings(id: 51, family: .ipv4, priority: 1, addresses: [vip]).advertisedAddresses == [vip])
    #expect(Settings(id: 51, family: .ipv4, priority: 1, addresses: []).virtualMAC.description == "00:00:5e:00:01:33")
    #expect(Settings(id: 51, family: .ipv6, priority: 1, addresses: []).virtualMAC.description == "00:00:5e:00:02:33")
  }
}
