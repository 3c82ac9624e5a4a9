import Wire

/// The hardware address that a virtual router has in place of its owner's (RFC 9568 §7.3), and the device that carries it.
///
/// The device is a macvlan on the VIP's interface. Whoever owns the VIP answers with the same MAC, so that a failover changes nothing
/// in the neighbours' caches: only switches learn that the MAC moved.
public struct VirtualMAC: Sendable, Hashable {
  /// The virtual router's number, 1-255.
  public var id: UInt8

  public init(id: UInt8) { self.id = id }

  /// 00-00-5E-00-01-{VRID} for IPv4, 00-00-5E-00-02-{VRID} for IPv6.
  public func address(_ family: AddressFamily) -> MACAddress {
    MACAddress(rawValue: 0x00_00_5E_00_00_00 | (family == .ipv4 ? 0x0100 : 0x0200) | UInt64(id))
  }

  /// `roost.51` and `roost6.51`.
  public func deviceName(_ family: AddressFamily) -> String { (family == .ipv4 ? "roost." : "roost6.") + "\(id)" }

  /// Whether it is a virtual router's address of either family.
  public static func isVirtual(_ address: MACAddress) -> Bool {
    address.rawValue >> 16 == 0x0000_5E00 && (1...2).contains(address.rawValue >> 8 & 0xFF)
  }
}
