import Testing
import Wire

@Suite struct `IPv4 headers` {
  /// keepalived's first advert, captured: the header of it.
  static let captured = hex(
    """
    45 c0 00 28   ; version 4, five words; CS6; 40 bytes in all
    00 01 00 00   ; identification 1, no fragment
    ff 70 d0 87   ; TTL 255, VRRP, checksum
    0a 00 00 0b   ; 10.0.0.11
    e0 00 00 12   ; 224.0.0.18
    """)

  @Test func `a captured header is read, and written the same`() throws {
    let packet = Self.captured + [UInt8](repeating: 7, count: 20) + [0, 0, 0, 0, 0, 0]
    let (header, payload) = try IPv4Header.parse(packet.span.bytes)
    #expect(header.source == IPv4Address(10, 0, 0, 11))
    #expect(header.destination == .vrrpGroup)
    #expect(header.protocol == 112)
    #expect(header.timeToLive == 255)
    #expect(header.service == 0xC0)
    #expect(header.identification == 1)
    #expect(!header.isFragment && !header.dontFragment)
    #expect(payload == 20..<40)  // the padding of the frame is not the packet's
    var written: [UInt8] = []
    header.append(to: &written, payloadLength: 20)
    #expect(written == Self.captured)
  }

  @Test func `options are stepped over`() throws {
    var packet = hex(
      "46 00 00 19  00 00 40 00  40 11 00 00  0a 00 00 01  0a 00 00 02  94 04 00 00  99")  // router alert
    var sum = Checksum()
    sum.add(Array(packet[..<24]))
    packet[10] = UInt8(sum.value >> 8)
    packet[11] = UInt8(sum.value & 255)
    let (header, payload) = try IPv4Header.parse(packet.span.bytes)
    #expect(payload == 24..<25)
    #expect(header.dontFragment)
  }

  @Test func `fragments are recognised`() throws {
    var header = IPv4Header(source: .any, destination: .broadcast, protocol: 17)
    header.moreFragments = true
    header.fragmentOffset = 1480
    var bytes: [UInt8] = []
    header.append(to: &bytes, payloadLength: 0)
    let (read, _) = try IPv4Header.parse(bytes.span.bytes)
    #expect(read == header && read.isFragment)
  }

  @Test(arguments: [
    ("truncated", Malformed.truncated), ("version", .kind), ("IHL 4", .length), ("IHL beyond the total", .length),
    ("total below the header", .length), ("total beyond the bytes", .length), ("checksum", .checksum),
  ])
  func `each rule has its error`(what: String, error: Malformed) {
    var packet = Self.captured + [UInt8](repeating: 0, count: 20)
    switch what {
    case "truncated": packet.removeLast(21)
    case "version": packet[0] = 0x65
    case "IHL 4": packet[0] = 0x44
    case "IHL beyond the total": packet[0] = 0x4F
    case "total below the header": packet[3] = 19
    case "total beyond the bytes": packet[3] = 41
    default: packet[10] ^= 1
    }
    #expect(throws: error) { _ = try IPv4Header.parse(packet.span.bytes) }
  }

  @Test func `a payload too long for the field is held at its end`() throws {
    var bytes: [UInt8] = []
    IPv4Header(source: .any, destination: .any, protocol: 1).append(to: &bytes, payloadLength: 70_000)
    #expect(bytes[2...3] == [0xFF, 0xFF])
  }
}

@Suite struct `IPv6 headers` {
  /// keepalived's advert over IPv6, captured: the header of it.
  static let captured = hex(
    """
    6c 00 59 69  00 28 70 ff                          ; version 6, CS6, flow label; 40 bytes of VRRP, hop limit 255
    fe 80 00 00 00 00 00 00  00 00 00 ff fe 00 00 0a  ; from fe80::ff:fe00:a
    ff 02 00 00 00 00 00 00  00 00 00 00 00 00 00 12  ; to ff02::12
    """)

  @Test func `a captured header is read, and written the same`() throws {
    let packet = Self.captured + [UInt8](repeating: 1, count: 40) + [0]
    let (header, payload) = try IPv6Header.parse(packet.span.bytes)
    #expect(header.source == IPv6Address("fe80::ff:fe00:a"))
    #expect(header.destination == .vrrpGroup)
    #expect(header.nextHeader == 112 && header.hopLimit == 255)
    #expect(header.trafficClass == 0xC0 && header.flowLabel == 0x05969)
    #expect(payload == 40..<80)
    var written: [UInt8] = []
    header.append(to: &written, payloadLength: 40)
    #expect(written == Self.captured)
  }

  @Test func `each rule has its error`() {
    let packet = Self.captured + [UInt8](repeating: 1, count: 40)
    #expect(throws: Malformed.truncated) { _ = try IPv6Header.parse(Array(packet[..<39]).span.bytes) }
    #expect(throws: Malformed.length) { _ = try IPv6Header.parse(Array(packet[..<79]).span.bytes) }
    var wrong = packet
    wrong[0] = 0x45
    #expect(throws: Malformed.kind) { _ = try IPv6Header.parse(wrong.span.bytes) }
  }

  /// A packet with that next header and payload, and its transport.
  private func transport(_ next: UInt8, _ payload: [UInt8]) throws -> IPv6Header.Transport {
    var packet: [UInt8] = []
    IPv6Header(source: .loopback, destination: .loopback, nextHeader: next).append(
      to: &packet, payloadLength: payload.count)
    packet += payload
    let (header, range) = try IPv6Header.parse(packet.span.bytes)
    return try IPv6Header.transport(of: header, in: packet.span.bytes, payload: range)
  }

  @Test func `extension headers lead to the transport`() throws {
    let chain = hex(
      """
      2b 00 01 04 00 00 00 00                          ; hop-by-hop, then routing
      3c 01 00 00 00 00 00 00  00 00 00 00 00 00 00 00 ; routing of 16 bytes, then destination options
      2c 00 01 04 00 00 00 00                          ; destination options, then fragment
      11 00 00 01 00 00 00 2a                          ; the first fragment, then UDP
      ab cd
      """)
    let found = try transport(0, chain)
    #expect(found.protocol == 17 && found.payload == 80..<82 && !found.isLaterFragment)
  }

  @Test func `a later fragment has no transport header`() throws {
    let found = try transport(44, hex("00 00 05 a8 00 00 00 2a  ff ff"))
    #expect(found.isLaterFragment && found.protocol == 0 && found.payload == 48..<50)
  }

  @Test func `a chain that runs out of the packet is refused`() {
    #expect(throws: Malformed.truncated) { try transport(0, hex("11 00 01 04")) }
    #expect(throws: Malformed.length) { try transport(43, hex("11 05 00 00 00 00 00 00")) }
    #expect(throws: Malformed.truncated) { try transport(60, hex("3c 00 00 00 00 00 00 00")) }
  }
}

@Suite("UDP datagrams") struct UDPDatagrams {
  static let v4 = (IPAddress.v4(IPv4Address(10, 0, 0, 1)), IPAddress.v4(IPv4Address(10, 0, 0, 2)))
  static let v6 = (IPAddress.v6(IPv6Address(rawValue: 1)), IPAddress.v6(IPv6Address(rawValue: 2)))

  @Test(arguments: [v4, v6], [0, 1, 2, 511])
  func `what is written is read again`(addresses: (IPAddress, IPAddress), count: Int) throws {
    let header = UDPHeader(sourcePort: 49_152, destinationPort: 3784)
    let data = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
    var bytes: [UInt8] = []
    header.append(to: &bytes, data: data, from: addresses.0, to: addresses.1)
    let (read, payload) = try UDPHeader.parse((bytes + [9, 9]).span.bytes, from: addresses.0, to: addresses.1)
    #expect(read == header)
    #expect(Array(bytes[payload]) == data)
  }

  @Test func `a sum of zero is written as 0xFFFF`() throws {
    // Two data bytes that bring the sum to 0xFFFF, so that its complement is zero.
    let header = UDPHeader(sourcePort: 1, destinationPort: 2)
    var sum = Checksum()
    sum.addPseudoHeader(from: Self.v4.0, to: Self.v4.1, protocol: 17, length: 10)
    sum.add(hex("00 01 00 02 00 0a 00 00"))
    let filler = sum.value
    var bytes: [UInt8] = []
    header.append(to: &bytes, data: [UInt8(filler >> 8), UInt8(filler & 255)], from: Self.v4.0, to: Self.v4.1)
    #expect(bytes[6...7] == [0xFF, 0xFF])
    #expect(throws: Never.self) { _ = try UDPHeader.parse(bytes.span.bytes, from: Self.v4.0, to: Self.v4.1) }
  }

  @Test func `IPv4 may leave the checksum out, IPv6 may not`() {
    let bytes = hex("00 01 00 02 00 08 00 00")
    #expect(throws: Never.self) { _ = try UDPHeader.parse(bytes.span.bytes, from: Self.v4.0, to: Self.v4.1) }
    #expect(throws: Malformed.checksum) { _ = try UDPHeader.parse(bytes.span.bytes, from: Self.v6.0, to: Self.v6.1) }
  }

  @Test func `each rule has its error`() {
    func error(_ text: String, to destination: IPAddress = UDPDatagrams.v4.1) -> Malformed? {
      do throws(Malformed) { _ = try UDPHeader.parse(hex(text).span.bytes, from: Self.v4.0, to: destination) } catch {
        return error
      }
      return nil
    }
    #expect(error("00 01 00 02 00 08 00") == .truncated)
    #expect(error("00 01 00 02 00 07 00 00") == .length)
    #expect(error("00 01 00 02 00 09 00 00") == .length)
    #expect(error("00 01 00 02 00 08 12 34") == .checksum)
    #expect(error("00 01 00 02 00 08 12 34", to: Self.v6.1) == .address)
  }
}
