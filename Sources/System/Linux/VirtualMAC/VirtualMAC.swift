import Wire

/// The hardware address that a virtual router has in place of its owner's (RFC 9568 §7.3), and the device that carries it.
///
/// The device is a macvlan on the VIP's interface. Whoever owns the VIP answers with the same MAC, so that a failover changes nothing
/// in the neighbours' caches: only switches learn that the MAC moved.
public struct VirtualMAC: Sendable, Hashable {
  /// The virtual router's number, 1-255.
  public var id: UInt8
  /// Tells its device from another one's on another interface, where the same number is used again; see `VIP.withDistinctDevices`.
  public var tag: Int?

  public init(id: UInt8) { self.id = id }

  /// 00-00-5E-00-01-{VRID} for IPv4, 00-00-5E-00-02-{VRID} for IPv6.
  public func address(_ family: AddressFamily) -> MACAddress {
    MACAddress(rawValue: 0x00_00_5E_00_00_00 | (family == .ipv4 ? 0x0100 : 0x0200) | UInt64(id))
  }

  /// `roost.51` and `roost6.51`, with a tag `roost.51-3`. The kernel takes 15 bytes.
  public func deviceName(_ family: AddressFamily) -> String {
    let name = (family == .ipv4 ? "roost." : "roost6.") + "\(id)"
    return tag.map { "\(name)-\($0)" } ?? name
  }

  /// Whether it is a virtual router's address of either family.
  public static func isVirtual(_ address: MACAddress) -> Bool {
    address.rawValue >> 16 == 0x0000_5E00 && (1...2).contains(address.rawValue >> 8 & 0xFF)
  }
}

extension AddressThread.VIP {
  /// The same VIPs, so that no two have a device of the same name: numbers of virtual routers are unique on one network only.
  public static func withDistinctDevices(_ vips: [AddressThread.VIP]) -> [AddressThread.VIP] {
    var taken: Set<UInt8> = []
    return vips.map { vip in
      guard let id = vip.virtualMAC?.id, !taken.insert(id).inserted else { return vip }
      var vip = vip
      vip.virtualMAC?.tag = vip.id
      return vip
    }
  }
}
