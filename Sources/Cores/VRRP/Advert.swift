import Basis
import Wire

/// What a checked ADVERTISEMENT says before its addresses. Made by `init(checking:…)`, so it can't be a wrong one.
///
///      0                   1                   2                   3
///      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
///     +-------+-------+---------------+---------------+---------------+
///     |version| type  |     VRID      |   priority    | address count |
///     +-------+-------+---------------+---------------+---------------+
///     |   0   |  interval, 10 ms (v3) |           checksum            |
///     | auth type 0   | interval, s   |                          (v2) |
///     +-------+-------+---------------+---------------+---------------+
///     |  addresses, 4 or 16 bytes each; v2: 8 bytes of nothing behind |
///
/// RFC 9568 §5.2, RFC 3768 §5.
public struct AdvertHeader: Sendable, Hashable {
  public static let length = 8
  /// The IP protocol number (RFC 9568 §5.1.1.4).
  public static let ipProtocol: UInt8 = 112
  /// Length of VRRPv2's authentication data, always sent and never looked at (RFC 3768 §5.3.10).
  static let authenticationLength = 8

  public let version: Version
  public let family: AddressFamily
  public let id: UInt8
  /// 0: the sender gives the addresses up.
  public let priority: UInt8
  /// How many addresses follow, at least one.
  public let count: Int
  /// Max Advertise Interval in nanoseconds, never 0.
  let intervalNanoseconds: Int64
  /// How the checksum was made; nil where both readings give the same, or there is only one.
  public let coverage: ChecksumCoverage?

  public var interval: Duration { .nanoseconds(intervalNanoseconds) }

  /// Checks a message in the order of `Discard`. The IP header's addresses are needed for the pseudo-header.
  public init(
    checking message: RawSpan, version: Version, id: UInt8, from source: IPAddress, to destination: IPAddress
  ) throws(Discard) {
    guard message.byteCount >= Self.length else { throw .truncated }
    let family = source.family
    guard message.byte(0) >> 4 == version.rawValue, version == .v3 || family == .ipv4 else { throw .version }
    guard message.byte(0) & 0xF == 1 else { throw .type }
    let count = Int(message.byte(3))
    guard count > 0 else { throw .noAddresses }
    let trailer = version == .v2 ? Self.authenticationLength : 0
    guard message.byteCount == Self.length + count * family.addressLength + trailer else { throw .length }
    guard version == .v3 || message.byte(4) == 0 else { throw .authentication }
    coverage = try Self.check(message, version: version, from: source, to: destination)
    guard message.byte(1) == id else { throw .id }
    intervalNanoseconds =
      switch version {
      case .v2: Int64(message.byte(5)) * 1_000_000_000
      case .v3: (Int64(message.byte(4) & 0xF) << 8 | Int64(message.byte(5))) * 10_000_000
      }
    guard intervalNanoseconds > 0 else { throw .zeroInterval }
    self.version = version
    self.family = family
    self.id = id
    self.count = count
    priority = message.byte(2)
    if family == .ipv6 {
      guard case .v6(let first) = address(0, in: message), first.isLinkLocal else { throw .notLinkLocal }
    }
  }

  /// The address with that index, below `count`, of the message that was checked.
  public func address(_ index: Int, in message: RawSpan) -> IPAddress {
    let offset = Self.length + index * family.addressLength
    return family == .ipv4 ? .v4(message.ipv4(offset)) : .v6(message.ipv6(offset))
  }

  /// RFC 9568 §5.2.8 for v3, with both readings over IPv4; RFC 3768 §5.3.8 for v2.
  private static func check(
    _ message: RawSpan, version: Version, from source: IPAddress, to destination: IPAddress
  ) throws(Discard) -> ChecksumCoverage? {
    var sum = Checksum()
    sum.add(message)
    let bare = sum.isValid
    if version == .v2 {
      guard bare else { throw .checksum }
      return nil
    }
    guard sum.addPseudoHeader(from: source, to: destination, protocol: ipProtocol, length: message.byteCount) else {
      throw .family
    }
    switch (source.family, bare, sum.isValid) {
    case (.ipv6, _, true): return nil
    case (.ipv4, true, true): return nil
    case (.ipv4, true, false): return .message
    case (.ipv4, false, true): return .pseudoHeader
    default: throw .checksum
    }
  }
}

/// An ADVERTISEMENT to send, as a value.
public struct Advert: Sendable, Hashable {
  public var version: Version
  public var id: UInt8
  public var priority: UInt8
  /// v3: written in steps of 10 ms, 10 ms to 40.95 s. v2: in seconds, 1 to 255. Held at the ends.
  public var interval: Duration
  /// All of one family, the source's; for IPv6 a link-local one first. At most 255 are written.
  public var addresses: [IPAddress]

  public init(version: Version, id: UInt8, priority: UInt8, interval: Duration, addresses: [IPAddress]) {
    self.version = version
    self.id = id
    self.priority = priority
    self.interval = interval
    self.addresses = addresses
  }

  /// The message, behind the IP header. `coverage` matters for v3 over IPv4 only.
  public func encoded(from source: IPAddress, to destination: IPAddress, coverage: ChecksumCoverage) -> [UInt8] {
    let listed = addresses.prefix(255)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(
      AdvertHeader.length + listed.count * source.family.addressLength + AdvertHeader.authenticationLength)
    bytes.append(version.rawValue << 4 | 1)
    bytes.append(id)
    bytes.append(priority)
    bytes.append(UInt8(listed.count))
    bytes.append(bigEndian: version.intervalField(interval.nanoseconds))
    bytes.append(bigEndian: UInt16(0))
    for address in listed { bytes.append(address) }
    if version == .v2 { bytes.append(contentsOf: repeatElement(0, count: AdvertHeader.authenticationLength)) }

    var sum = Checksum()
    sum.add(bytes)
    if version == .v3, source.family == .ipv6 || coverage != .message {
      sum.addPseudoHeader(
        from: source, to: destination, protocol: AdvertHeader.ipProtocol, length: bytes.count)
    }
    bytes[6] = UInt8(sum.value >> 8)
    bytes[7] = UInt8(sum.value & 255)
    return bytes
  }
}

extension Version {
  /// What fits into the message, nearest to `nanoseconds`: a router lives by the interval that it tells others.
  func rounded(_ nanoseconds: Int64) -> Int64 {
    let unit = unit
    let (low, high) = (unit, unit * (self == .v2 ? 255 : 4095))
    if nanoseconds <= low { return low }
    if nanoseconds >= high { return high }
    return (nanoseconds + unit / 2) / unit * unit
  }

  func intervalField(_ nanoseconds: Int64) -> UInt16 { UInt16(rounded(nanoseconds) / unit) }

  private var unit: Int64 { self == .v2 ? 1_000_000_000 : 10_000_000 }
}
