import Basis
import Testing
import Wire

private let mac = MACAddress(rawValue: 0x0200_0000_000A)
private let vip = IPv6Address(rawValue: 0x2001_0DB8 << 96 | 0x100)
private let host = IPv6Address(rawValue: 0xFE80 << 112 | 1)

@Suite struct `Neighbour advertisements` {
  /// As Debian's keepalived 2.2.7 announces 2001:db8::100, captured on a veth.
  static let captured = hex(
    """
    33 33 00 00 00 01  02 00 00 00 00 0a  86 dd          ; to all nodes, IPv6
    60 00 00 00  00 20  3a  ff                           ; 32 bytes of ICMPv6, hop limit 255
    20 01 0d b8 00 00 00 00  00 00 00 00 00 00 01 00     ; from the address itself
    ff 02 00 00 00 00 00 00  00 00 00 00 00 00 00 01     ; to ff02::1
    88 00  f7 23  20 00 00 00                            ; advertisement, checksum, O alone
    20 01 0d b8 00 00 00 00  00 00 00 00 00 00 01 00     ; target
    02 01  02 00 00 00 00 0a                             ; it is at this MAC
    """)

  @Test func `an announcement of a host is the captured frame`() {
    #expect(NeighborAdvertisement.announcement(mac: mac, address: vip, isRouter: false) == Self.captured)
  }

  @Test func `an announcement of a router has R`() throws {
    let frame = NeighborAdvertisement.announcement(mac: mac, address: vip, isRouter: true)
    let (header, payload) = try IPv6Header.parse(Array(frame[14...]).span.bytes)
    let read = try NeighborAdvertisement(
      parsing: Array(frame[14...][(14 + payload.lowerBound)...]).span.bytes, in: header)
    #expect(
      read
        == NeighborAdvertisement(target: vip, targetLinkLayer: mac, isRouter: true, isSolicited: false, overrides: true)
    )
  }

  @Test func `a solicited answer goes to one node only`() throws {
    let answer = NeighborAdvertisement(
      target: vip, targetLinkLayer: nil, isRouter: false, isSolicited: true, overrides: false)
    var bytes: [UInt8] = []
    answer.append(to: &bytes, from: vip, to: host)
    let header = IPv6Header(source: vip, destination: host, nextHeader: 58, hopLimit: 255)
    #expect(try NeighborAdvertisement(parsing: bytes.span.bytes, in: header) == answer)
    bytes = []
    answer.append(to: &bytes, from: vip, to: .allNodes)
    let toAll = IPv6Header(source: vip, destination: .allNodes, nextHeader: 58, hopLimit: 255)
    #expect(throws: Malformed.address) { try NeighborAdvertisement(parsing: bytes.span.bytes, in: toAll) }
  }
}

@Suite struct `Neighbour solicitations` {
  @Test func `a question says where its asker is`() throws {
    let question = NeighborSolicitation(target: vip, sourceLinkLayer: mac)
    var bytes: [UInt8] = []
    question.append(to: &bytes, from: host, to: vip.solicitedNode)
    #expect(bytes.count == 32)
    let header = IPv6Header(source: host, destination: vip.solicitedNode, nextHeader: 58, hopLimit: 255)
    #expect(try NeighborSolicitation(parsing: bytes.span.bytes, in: header) == question)
    #expect(!NeighborSolicitation.isProbe(header))
  }

  @Test func `a probe comes from nowhere, to the solicited node, without a MAC`() throws {
    func parse(_ message: NeighborSolicitation, to destination: IPv6Address) throws -> NeighborSolicitation {
      var bytes: [UInt8] = []
      message.append(to: &bytes, from: .any, to: destination)
      let header = IPv6Header(source: .any, destination: destination, nextHeader: 58, hopLimit: 255)
      #expect(NeighborSolicitation.isProbe(header))
      return try NeighborSolicitation(parsing: bytes.span.bytes, in: header)
    }
    #expect(try parse(NeighborSolicitation(target: vip), to: vip.solicitedNode).target == vip)
    #expect(throws: Malformed.address) { try parse(NeighborSolicitation(target: vip), to: .allNodes) }
    #expect(throws: Malformed.address) {
      try parse(NeighborSolicitation(target: vip, sourceLinkLayer: mac), to: vip.solicitedNode)
    }
  }

  /// A solicitation for `vip` with these option bytes, its checksum right.
  private func parse(
    options: [UInt8], hopLimit: UInt8 = 255, change: (inout [UInt8]) -> Void = { (_: inout [UInt8]) in }
  ) throws -> NeighborSolicitation {
    var bytes: [UInt8] = []
    NeighborSolicitation(target: vip).append(to: &bytes, from: host, to: vip)
    bytes += options
    bytes[2...3] = [0, 0]
    change(&bytes)
    var sum = Checksum()
    sum.addPseudoHeader(from: host, to: vip, nextHeader: 58, length: UInt32(bytes.count))
    sum.add(bytes)
    if bytes.count > 3, bytes[2...3] == [0, 0] { bytes[2...3] = [UInt8(sum.value >> 8), UInt8(sum.value & 255)] }
    let header = IPv6Header(source: host, destination: vip, nextHeader: 58, hopLimit: hopLimit)
    return try NeighborSolicitation(parsing: bytes.span.bytes, in: header)
  }

  @Test func `unknown options are stepped over, and the first MAC counts`() throws {
    let options = hex(
      "0e 02 00 00 00 00 00 00  00 00 00 00 00 00 00 00   01 01 02 00 00 00 00 0a   01 01 02 00 00 00 00 0b")
    #expect(try parse(options: options).sourceLinkLayer == mac)
  }

  @Test func `an address of another kind of link is no MAC`() throws {
    #expect(try parse(options: hex("01 02 00 00 00 00 00 00  00 00 00 00 00 00 00 00")).sourceLinkLayer == nil)
  }

  @Test func `each rule has its error`() {
    #expect(throws: Malformed.option) { try parse(options: hex("01 00 00 00 00 00 00 00")) }
    #expect(throws: Malformed.option) { try parse(options: hex("01 02 00 00 00 00 00 00")) }
    #expect(throws: Malformed.option) { try parse(options: [1]) }
    #expect(throws: Malformed.hopLimit) { try parse(options: [], hopLimit: 254) }
    #expect(throws: Malformed.checksum) { try parse(options: [], change: { $0[2] = 0x12 }) }
    #expect(throws: Malformed.code) { try parse(options: [], change: { $0[1] = 1 }) }
    #expect(throws: Malformed.kind) { try parse(options: [], change: { $0[0] = 136 }) }
    #expect(throws: Malformed.address) { try parse(options: [], change: { $0[8] = 0xFF }) }
    #expect(throws: Malformed.truncated) { try parse(options: [], change: { $0.removeLast() }) }
  }
}

@Test func `Random bytes never crash a codec`() {
  var random = SplitMix64(seed: 826)
  for _ in 0..<20_000 {
    let bytes = (0..<random.next(below: 96)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    let span = bytes.span.bytes
    _ = try? EthernetHeader(parsing: span)
    _ = try? ARP(parsing: span)
    if let (header, payload) = try? IPv6Header.parse(span) {
      _ = try? IPv6Header.transport(of: header, in: span, payload: payload)
    }
    _ = try? IPv4Header.parse(span)
    _ = try? UDPHeader.parse(span, from: .v4(.any), to: .v4(.any))
    let header = IPv6Header(source: .loopback, destination: .loopback, nextHeader: 58, hopLimit: 255)
    _ = try? NeighborSolicitation(parsing: span, in: header)
    _ = try? NeighborAdvertisement(parsing: span, in: header)
  }
}
