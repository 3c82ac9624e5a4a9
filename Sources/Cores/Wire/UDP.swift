/// A UDP header (RFC 768).
///
///     | source port, 2 | destination port, 2 | length, 2 | checksum, 2 |
public struct UDPHeader: Sendable, Hashable {
  public var sourcePort: UInt16
  public var destinationPort: UInt16

  public static let length = 8
  public static let ipProtocol: UInt8 = 17

  public init(sourcePort: UInt16, destinationPort: UInt16) {
    self.sourcePort = sourcePort
    self.destinationPort = destinationPort
  }

  /// Checks length and checksum, which IPv4 may leave out (0) and IPv6 may not (RFC 8200 §8.1).
  /// - Returns: the header, and where the data lies. Padding behind it is ignored.
  public static func parse(
    _ datagram: RawSpan, from source: IPAddress, to destination: IPAddress
  ) throws(Malformed) -> (header: UDPHeader, payload: Range<Int>) {
    guard datagram.byteCount >= length else { throw .truncated }
    let total = Int(datagram.number(4, as: UInt16.self))
    guard total >= length, total <= datagram.byteCount else { throw .length }
    if datagram.number(6, as: UInt16.self) == 0 {
      guard source.family == .ipv4 else { throw .checksum }
    } else {
      var sum = Checksum()
      guard sum.addPseudoHeader(from: source, to: destination, protocol: ipProtocol, length: total) else {
        throw .address
      }
      sum.add(datagram.extracting(0..<total))
      guard sum.isValid else { throw .checksum }
    }
    return (UDPHeader(sourcePort: datagram.number(0), destinationPort: datagram.number(2)), length..<total)
  }

  /// Appends header, with its checksum, and data. Addresses of two families have no datagram: nothing is appended.
  /// - Parameter data: at most 65,527 bytes; more is cut.
  public func append(
    to bytes: inout [UInt8], data: some Collection<UInt8>, from source: IPAddress, to destination: IPAddress
  ) {
    let data = data.prefix(0xFFFF - Self.length)
    let start = bytes.count
    var sum = Checksum()
    let total = Self.length + data.count
    guard sum.addPseudoHeader(from: source, to: destination, protocol: Self.ipProtocol, length: total) else { return }
    bytes.append(bigEndian: sourcePort)
    bytes.append(bigEndian: destinationPort)
    bytes.append(bigEndian: UInt16(total))
    bytes.append(bigEndian: UInt16(0))
    bytes.append(contentsOf: data)
    sum.add(bytes, from: start)
    // 0 would say that there is none; 0xFFFF is the same number in one's complement.
    bytes.put(sum.value == 0 ? 0xFFFF : sum.value, at: start + 6)
  }
}
