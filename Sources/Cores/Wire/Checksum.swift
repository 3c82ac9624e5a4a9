/// The Internet checksum (RFC 1071): the one's complement of the one's complement sum of 16-bit words.
///
/// It grows by pieces, each of which counts from an even position: an odd last byte is padded with a zero,
/// so only the last piece may be odd.
public struct Checksum: Sendable, Hashable {
  /// The words as they lie in memory: the sum doesn't care about the byte order, so one swap at the end does (RFC 1071 §2B).
  private var sum: UInt64 = 0

  public init() {}

  public mutating func add(_ bytes: RawSpan) {
    var offset = 0
    let count = bytes.byteCount
    while offset &+ 4 <= count {
      // Bounds are checked by the load; any four bytes are a number. 2³² words of 32 bits can't overflow 64.
      sum &+= UInt64(unsafe bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self))
      offset &+= 4
    }
    if offset &+ 2 <= count {
      sum &+= UInt64(unsafe bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt16.self))
      offset &+= 2
    }
    if offset < count { sum &+= UInt64(UInt16(bytes.byte(offset)).littleEndian) }
    if sum >> 62 != 0 { sum = (sum & 0xFFFF_FFFF) &+ (sum >> 32) }
  }

  /// The bytes of an array from `start` on; nothing where that is outside.
  public mutating func add(_ bytes: [UInt8], from start: Int = 0) {
    guard start >= 0, start <= bytes.count else { return }
    // A byte has no padding, so its raw bytes are all initialized.
    add(unsafe bytes.span.bytes.extracting(droppingFirst: start))
  }

  public mutating func add(_ word: UInt16) { sum &+= UInt64(word.bigEndian) }

  public mutating func add(_ word: UInt32) { sum &+= UInt64(word.bigEndian) }

  public mutating func add(_ address: IPv4Address) { add(address.rawValue) }

  public mutating func add(_ address: IPv6Address) {
    var shift = 96
    while shift >= 0 {
      add(UInt32(truncatingIfNeeded: address.rawValue >> UInt128(shift)))
      shift -= 32
    }
  }

  /// The pseudo-header of IPv4 (RFC 9293 §3.1, RFC 768).
  public mutating func addPseudoHeader(
    from source: IPv4Address, to destination: IPv4Address, protocol: UInt8, length: UInt16
  ) {
    add(source)
    add(destination)
    add(UInt16(`protocol`))
    add(length)
  }

  /// The pseudo-header of IPv6 (RFC 8200 §8.1).
  public mutating func addPseudoHeader(
    from source: IPv6Address, to destination: IPv6Address, nextHeader: UInt8, length: UInt32
  ) {
    add(source)
    add(destination)
    add(length)
    add(UInt32(nextHeader))
  }

  /// The pseudo-header of the family of both addresses. False, and nothing added, where the families differ.
  @discardableResult
  public mutating func addPseudoHeader(
    from source: IPAddress, to destination: IPAddress, protocol: UInt8, length: Int
  ) -> Bool {
    switch (source, destination) {
    case (.v4(let source), .v4(let destination)):
      addPseudoHeader(
        from: source, to: destination, protocol: `protocol`, length: UInt16(truncatingIfNeeded: length))
    case (.v6(let source), .v6(let destination)):
      addPseudoHeader(
        from: source, to: destination, nextHeader: `protocol`, length: UInt32(truncatingIfNeeded: length))
    default: return false
    }
    return true
  }

  /// The sum, folded to 16 bits and not complemented. Over data that contains its own right checksum it is 0xFFFF
  /// (or 0, where every word is zero).
  public var folded: UInt16 {
    var value = sum
    while value >> 16 != 0 { value = (value & 0xFFFF) &+ (value >> 16) }
    return UInt16(truncatingIfNeeded: value).bigEndian
  }

  /// What goes into the header's field, computed while that field counts as zero.
  public var value: UInt16 { ~folded }

  /// Whether the data, its checksum field included, sums up.
  public var isValid: Bool { folded == 0xFFFF }
}
