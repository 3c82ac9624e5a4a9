// Well-known addresses and the bytes of an address.

extension IPv4Address {
  public static let any = IPv4Address(rawValue: 0)
  public static let broadcast = IPv4Address(rawValue: .max)
  /// 224.0.0.18, the group of VRRP (RFC 9568 §5.1.1.2).
  public static let vrrpGroup = IPv4Address(224, 0, 0, 18)

  /// 224.0.0.0/4 (RFC 1112 §4).
  public var isMulticast: Bool { rawValue >> 28 == 0xE }
  /// 127.0.0.0/8 (RFC 1122 §3.2.1.3).
  public var isLoopback: Bool { rawValue >> 24 == 127 }
}

extension IPv6Address {
  public static let any = IPv6Address(rawValue: 0)
  public static let loopback = IPv6Address(rawValue: 1)
  /// ff02::1 (RFC 4291 §2.7.1).
  public static let allNodes = IPv6Address(rawValue: 0xFF02 << 112 | 1)
  /// ff02::12, the group of VRRP (RFC 9568 §5.1.2.2).
  public static let vrrpGroup = IPv6Address(rawValue: 0xFF02 << 112 | 0x12)

  /// ff00::/8 (RFC 4291 §2.7).
  public var isMulticast: Bool { rawValue >> 120 == 0xFF }

  /// ff02::1:ffXX:XXXX with the address's last 24 bits (RFC 4291 §2.7.1).
  public var solicitedNode: IPv6Address {
    IPv6Address(rawValue: 0xFF02 << 112 | 0x1_FF00_0000 | rawValue & 0xFF_FFFF)
  }

  /// The link-local address whose interface identifier is the modified EUI-64 of a MAC (RFC 4291 appendix A).
  public init(linkLocalOf mac: MACAddress) {
    let high = (mac.rawValue >> 24) ^ 0x02_0000
    rawValue = 0xFE80 << 112 | UInt128(high << 40 | 0xFF_FE00_0000 | mac.rawValue & 0xFF_FFFF)
  }
}

extension IPAddress {
  /// A host may have it: neither the address that stands for none, nor one for many. (A subnet's broadcast can't be told from here.)
  public var isHosts: Bool {
    switch self {
    case .v4(let v4): v4 != .any && v4 != .broadcast && !v4.isMulticast
    case .v6(let v6): v6 != .any && !v6.isMulticast
    }
  }

  public var isMulticast: Bool {
    switch self {
    case .v4(let v4): v4.isMulticast
    case .v6(let v6): v6.isMulticast
    }
  }
}

extension AddressFamily {
  /// Bytes of an address: 4 or 16.
  public var addressLength: Int { self == .ipv4 ? 4 : 16 }
}

extension MACAddress {
  /// The group address of an IPv6 multicast address (RFC 2464 §7).
  public init(multicast group: IPv6Address) {
    self.init(rawValue: 0x3333_0000_0000 | UInt64(truncatingIfNeeded: group.rawValue & 0xFFFF_FFFF))
  }

  /// The group address of an IPv4 multicast address (RFC 1112 §6.4).
  public init(multicast group: IPv4Address) {
    self.init(rawValue: 0x0100_5E00_0000 | UInt64(group.rawValue & 0x7F_FFFF))
  }
}
