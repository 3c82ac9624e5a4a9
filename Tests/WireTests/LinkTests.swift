import Testing
import Wire

private let mac = MACAddress(rawValue: 0x0200_0000_000A)
private let vip = IPv4Address(10, 0, 0, 100)

@Suite struct `Ethernet` {
  @Test func `a plain header is 14 bytes`() throws {
    let frame = hex("ff ff ff ff ff ff  02 00 00 00 00 0a  08 06  99")
    let header = try EthernetHeader(parsing: frame.span.bytes)
    #expect(header == EthernetHeader(destination: .broadcast, source: mac, type: .arp))
    #expect(header.length == 14)
  }

  @Test func `a tag is read, without its priority`() throws {
    let frame = hex("ff ff ff ff ff ff  02 00 00 00 00 0a  81 00 e0 2a  86 dd")
    let header = try EthernetHeader(parsing: frame.span.bytes)
    #expect(header == EthernetHeader(destination: .broadcast, source: mac, vlan: 42, type: .ipv6))
    #expect(header.length == 18)
    var written: [UInt8] = []
    header.append(to: &written)
    #expect(written == hex("ff ff ff ff ff ff  02 00 00 00 00 0a  81 00 00 2a  86 dd"))
  }

  @Test func `a header that ends early is refused`() {
    let frame = hex("ff ff ff ff ff ff  02 00 00 00 00 0a  81 00 e0 2a  86 dd")
    for count in [0, 1, 13, 14, 17] {
      #expect(throws: Malformed.truncated) { try EthernetHeader(parsing: Array(frame[..<count]).span.bytes) }
    }
  }
}

@Suite struct `ARP messages` {
  /// As Debian's keepalived 2.2.7 announces 10.0.0.100, captured on a veth.
  static let captured = hex(
    """
    ff ff ff ff ff ff  02 00 00 00 00 0a  08 06   ; to everybody, ARP
    00 01  08 00  06  04                          ; Ethernet, IPv4, lengths of their addresses
    00 01                                         ; request
    02 00 00 00 00 0a  0a 00 00 64                ; sender: the address is here
    00 00 00 00 00 00  0a 00 00 64                ; target: itself
    """)

  @Test func `an announcement by request leaves the target MAC empty`() {
    #expect(ARP.announcement(.request, mac: mac, address: vip) == Self.captured)
  }

  @Test func `an announcement by reply has the sender's MAC as target`() {
    #expect(
      ARP.announcement(.reply, mac: mac, address: vip)
        == hex(
          """
          ff ff ff ff ff ff  02 00 00 00 00 0a  08 06
          00 01  08 00  06  04  00 02              ; reply
          02 00 00 00 00 0a  0a 00 00 64
          02 00 00 00 00 0a  0a 00 00 64           ; so that a Linux neighbour heeds it within its locktime
          """))
  }

  @Test func `an announcement may be for one neighbour`() {
    let gateway = MACAddress(rawValue: 0x0200_0000_0001)
    #expect(ARP.announcement(.request, mac: mac, address: vip, to: gateway).prefix(6) == hex("02 00 00 00 00 01")[...])
  }

  @Test func `a kernel's reply is read`() throws {
    let message = hex(
      """
      00 01  08 00  06  04  00 02
      02 00 00 00 00 0a  0a 00 00 0b   ; 10.0.0.11 is at 02:00:00:00:00:0a
      36 4c 69 ac 32 91  0a 00 00 0c
      00 00 00 00                      ; padding
      """)
    let reply = try ARP(parsing: message.span.bytes)
    #expect(
      reply
        == ARP(
          .reply, senderMAC: mac, senderAddress: IPv4Address(10, 0, 0, 11),
          targetMAC: MACAddress(rawValue: 0x364C_69AC_3291), targetAddress: IPv4Address(10, 0, 0, 12)))
    #expect(!reply.isAnnouncement && !reply.isProbe)
    var written: [UInt8] = []
    reply.append(to: &written)
    #expect(written == Array(message.prefix(28)))
  }

  @Test func `a probe claims nothing`() throws {
    let probe = ARP(
      .request, senderMAC: mac, senderAddress: .any, targetMAC: MACAddress(rawValue: 0), targetAddress: vip)
    #expect(probe.isProbe && !probe.isAnnouncement)
  }

  @Test(arguments: [(1, Malformed.kind), (2, .kind), (4, .kind), (5, .kind), (7, .kind)])
  func `another kind of ARP is refused`(offset: Int, error: Malformed) {
    var message = Array(Self.captured[14...])
    message[offset] ^= 0x40
    #expect(throws: error) { try ARP(parsing: message.span.bytes) }
  }

  @Test func `a short message is refused`() {
    #expect(throws: Malformed.truncated) { try ARP(parsing: Array(Self.captured[14..<41]).span.bytes) }
    #expect(throws: Malformed.truncated) { try ARP(parsing: [UInt8]().span.bytes) }
  }
}
