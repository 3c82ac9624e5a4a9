/// The fixed header of IPv6 (RFC 8200 §3).
///
///     | 6, traffic class 8, flow label 20 | payload length, 2 | next header | hop limit | source, 16 | destination, 16 |
public struct IPv6Header: Sendable, Hashable {
  public var trafficClass: UInt8 = 0
  /// 20 bits.
  public var flowLabel: UInt32 = 0
  /// The protocol of the payload, or the first extension header.
  public var nextHeader: UInt8
  public var hopLimit: UInt8
  public var source: IPv6Address
  public var destination: IPv6Address

  public static let length = 40

  public init(source: IPv6Address, destination: IPv6Address, nextHeader: UInt8, hopLimit: UInt8 = 64) {
    self.source = source
    self.destination = destination
    self.nextHeader = nextHeader
    self.hopLimit = hopLimit
  }

  /// Checks version and length.
  /// - Returns: the header, and where the payload lies, extension headers included. Padding behind it is ignored; a jumbogram
  ///   (RFC 2675) has an empty payload here.
  public static func parse(_ packet: RawSpan) throws(Malformed) -> (header: IPv6Header, payload: Range<Int>) {
    guard packet.byteCount >= length else { throw .truncated }
    let first = packet.number(0, as: UInt32.self)
    guard first >> 28 == 6 else { throw .kind }
    let end = length + Int(packet.number(4, as: UInt16.self))
    guard end <= packet.byteCount else { throw .length }
    var header = IPv6Header(
      source: packet.ipv6(8), destination: packet.ipv6(24), nextHeader: packet.byte(6), hopLimit: packet.byte(7))
    header.trafficClass = UInt8(truncatingIfNeeded: first >> 20)
    header.flowLabel = first & 0xF_FFFF
    return (header, length..<end)
  }

  /// What an extension header chain leads to.
  public struct Transport: Sendable, Hashable {
    public let `protocol`: UInt8
    /// Where its bytes lie in the packet.
    public let payload: Range<Int>
    /// Not the first part of a datagram: the bytes don't begin with the protocol's header.
    public let isLaterFragment: Bool
  }

  /// Walks hop-by-hop options, routing, destination options and fragment headers (RFC 8200 §4) to the transport.
  ///
  /// Each step moves on by 8 bytes or more, so hostile chains end with the packet.
  public static func transport(of header: IPv6Header, in packet: RawSpan, payload: Range<Int>) throws(Malformed)
    -> Transport
  {
    guard payload.upperBound <= packet.byteCount else { throw .length }
    var next = header.nextHeader
    var start = payload.lowerBound
    var isLaterFragment = false
    while true {
      let length: Int
      switch next {
      case 0, 43, 60:  // hop-by-hop options, routing, destination options
        guard start + 8 <= payload.upperBound else { throw .truncated }
        length = (Int(packet.byte(start + 1)) + 1) * 8
      case 44:  // fragment
        guard start + 8 <= payload.upperBound else { throw .truncated }
        length = 8
        isLaterFragment = packet.number(start + 2, as: UInt16.self) >> 3 != 0
      default:
        return Transport(protocol: next, payload: start..<payload.upperBound, isLaterFragment: isLaterFragment)
      }
      guard start + length <= payload.upperBound else { throw .length }
      next = packet.byte(start)
      start += length
      if isLaterFragment {
        return Transport(protocol: next, payload: start..<payload.upperBound, isLaterFragment: true)
      }
    }
  }

  /// Appends the header, 40 bytes.
  /// - Parameter payloadLength: bytes that follow, at most 65,535; more is cut.
  public func append(to bytes: inout [UInt8], payloadLength: Int) {
    bytes.append(bigEndian: 6 << 28 | UInt32(trafficClass) << 20 | flowLabel & 0xF_FFFF)
    bytes.append(bigEndian: UInt16(max(0, min(payloadLength, 0xFFFF))))
    bytes.append(nextHeader)
    bytes.append(hopLimit)
    bytes.append(bigEndian: source.rawValue)
    bytes.append(bigEndian: destination.rawValue)
  }
}
