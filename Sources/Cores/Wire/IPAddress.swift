/// An IPv4 address, kept as the number that its four bytes spell.
public struct IPv4Address: Sendable, Hashable, Comparable {
  public var rawValue: UInt32

  public init(rawValue: UInt32) { self.rawValue = rawValue }

  public init(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8) {
    rawValue = UInt32(a) << 24 | UInt32(b) << 16 | UInt32(c) << 8 | UInt32(d)
  }

  public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// An IPv6 address, kept as the number that its sixteen bytes spell. It has no zone: an interface is named beside it.
public struct IPv6Address: Sendable, Hashable, Comparable {
  public var rawValue: UInt128

  public init(rawValue: UInt128) { self.rawValue = rawValue }

  public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

  /// fe80::/10 (RFC 4291 §2.5.6).
  public var isLinkLocal: Bool { rawValue >> 118 == 0x3FA }
}

public enum AddressFamily: Sendable, Hashable { case ipv4, ipv6 }

/// An IPv4 or IPv6 address. IPv4 sorts before IPv6.
public enum IPAddress: Sendable, Hashable, Comparable {
  case v4(IPv4Address)
  case v6(IPv6Address)

  public var family: AddressFamily {
    switch self {
    case .v4: .ipv4
    case .v6: .ipv6
    }
  }
}

/// A 48-bit Ethernet address, in the low bits of a number.
public struct MACAddress: Sendable, Hashable, Comparable {
  public var rawValue: UInt64

  /// The bits above the lowest 48 are dropped.
  public init(rawValue: UInt64) { self.rawValue = rawValue & 0xFFFF_FFFF_FFFF }

  public static let broadcast = MACAddress(rawValue: 0xFFFF_FFFF_FFFF)
  public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// A block of addresses: an address with the bits behind `length` cleared.
public struct Prefix: Sendable, Hashable {
  public let address: IPAddress
  /// Bits that count: 0-32 for IPv4, 0-128 for IPv6.
  public let length: Int

  /// Nil where the length does not fit the family.
  public init?(_ address: IPAddress, length: Int) {
    switch address {
    case .v4(let v4):
      guard 0...32 ~= length else { return nil }
      self.address = .v4(IPv4Address(rawValue: v4.rawValue & UInt32.ones(length)))
    case .v6(let v6):
      guard 0...128 ~= length else { return nil }
      self.address = .v6(IPv6Address(rawValue: v6.rawValue & UInt128.ones(length)))
    }
    self.length = length
  }

  public func contains(_ other: IPAddress) -> Bool {
    switch (address, other) {
    case (.v4(let mine), .v4(let theirs)): (theirs.rawValue & UInt32.ones(length)) == mine.rawValue
    case (.v6(let mine), .v6(let theirs)): (theirs.rawValue & UInt128.ones(length)) == mine.rawValue
    default: false
    }
  }
}

extension FixedWidthInteger {
  /// A number whose `count` highest bits are set.
  static func ones(_ count: Int) -> Self { count == 0 ? 0 : ~0 << (Self.bitWidth - count) }
}
