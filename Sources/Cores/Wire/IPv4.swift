/// An IPv4 header without its options (RFC 791 §3.1).
///
///     | 4 | IHL | service | total length, 2 | identification, 2 | flags 3, offset 13 |
///     | TTL | protocol | checksum, 2 | source, 4 | destination, 4 | options by IHL
public struct IPv4Header: Sendable, Hashable {
  /// DSCP and ECN (RFC 2474, RFC 3168).
  public var service: UInt8 = 0
  public var identification: UInt16 = 0
  public var dontFragment = false
  public var moreFragments = false
  /// Bytes, a multiple of 8, at most 65,528.
  public var fragmentOffset = 0
  public var timeToLive: UInt8
  public var `protocol`: UInt8
  public var source: IPv4Address
  public var destination: IPv4Address

  public static let minimumLength = 20

  public init(
    source: IPv4Address, destination: IPv4Address, protocol: UInt8, timeToLive: UInt8 = 64, dontFragment: Bool = false
  ) {
    self.source = source
    self.destination = destination
    self.protocol = `protocol`
    self.timeToLive = timeToLive
    self.dontFragment = dontFragment
  }

  /// A part of a datagram: only the first part begins with the transport's header.
  public var isFragment: Bool { moreFragments || fragmentOffset > 0 }

  /// Checks version, lengths and checksum.
  /// - Returns: the header, and where the payload lies: behind the options, up to the total length. Padding behind that is ignored.
  public static func parse(_ packet: RawSpan) throws(Malformed) -> (header: IPv4Header, payload: Range<Int>) {
    guard packet.byteCount >= minimumLength else { throw .truncated }
    guard packet.byte(0) >> 4 == 4 else { throw .kind }
    let headerLength = Int(packet.byte(0) & 0xF) * 4
    let totalLength = Int(packet.number(2, as: UInt16.self))
    guard headerLength >= minimumLength, totalLength >= headerLength, totalLength <= packet.byteCount else {
      throw .length
    }
    var sum = Checksum()
    sum.add(packet.extracting(0..<headerLength))
    guard sum.isValid else { throw .checksum }

    var header = IPv4Header(
      source: packet.ipv4(12), destination: packet.ipv4(16), protocol: packet.byte(9), timeToLive: packet.byte(8))
    let fragment = packet.number(6, as: UInt16.self)
    header.service = packet.byte(1)
    header.identification = packet.number(4)
    header.dontFragment = fragment & 0x4000 != 0
    header.moreFragments = fragment & 0x2000 != 0
    header.fragmentOffset = Int(fragment & 0x1FFF) * 8
    return (header, headerLength..<totalLength)
  }

  /// Appends the header, 20 bytes, with its checksum. Options are never written.
  /// - Parameter payloadLength: bytes that follow, at most 65,515; more is cut.
  public func append(to bytes: inout [UInt8], payloadLength: Int) {
    let start = bytes.count
    let total = Self.minimumLength + max(0, min(payloadLength, 0xFFFF - Self.minimumLength))
    bytes.append(0x45)
    bytes.append(service)
    bytes.append(bigEndian: UInt16(total))
    bytes.append(bigEndian: identification)
    let offset = UInt16(truncatingIfNeeded: fragmentOffset / 8) & 0x1FFF
    bytes.append(bigEndian: (dontFragment ? 0x4000 : 0) | (moreFragments ? 0x2000 : 0) | offset)
    bytes.append(timeToLive)
    bytes.append(`protocol`)
    bytes.append(bigEndian: UInt16(0))
    bytes.append(bigEndian: source.rawValue)
    bytes.append(bigEndian: destination.rawValue)
    var sum = Checksum()
    sum.add(bytes, from: start)
    bytes.put(sum.value, at: start + 10)
  }
}
