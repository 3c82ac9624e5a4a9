/// What follows an Ethernet header.
public struct EtherType: RawRepresentable, Sendable, Hashable {
  public var rawValue: UInt16
  public init(rawValue: UInt16) { self.rawValue = rawValue }

  public static let ipv4 = EtherType(rawValue: 0x0800)
  public static let arp = EtherType(rawValue: 0x0806)
  /// A tag of IEEE 802.1Q.
  public static let vlan = EtherType(rawValue: 0x8100)
  public static let ipv6 = EtherType(rawValue: 0x86DD)
}

/// An Ethernet II header, with one VLAN tag or none.
///
///     | destination, 6 | source, 6 | (0x8100, tag: 4) | type, 2 | payload
public struct EthernetHeader: Sendable, Hashable {
  public var destination: MACAddress
  public var source: MACAddress
  /// VLAN id, 0-4095, where the frame is tagged. Priority and drop bits are not kept.
  public var vlan: UInt16?
  public var type: EtherType

  public init(destination: MACAddress, source: MACAddress, vlan: UInt16? = nil, type: EtherType) {
    self.destination = destination
    self.source = source
    self.vlan = vlan
    self.type = type
  }

  /// Bytes of the header: 14, or 18 with a tag. The payload begins there.
  public var length: Int { vlan == nil ? 14 : 18 }

  public init(parsing frame: RawSpan) throws(Malformed) {
    guard frame.byteCount >= 14 else { throw .truncated }
    destination = frame.mac(0)
    source = frame.mac(6)
    type = EtherType(rawValue: frame.number(12))
    if type == .vlan {
      guard frame.byteCount >= 18 else { throw .truncated }
      vlan = frame.number(14, as: UInt16.self) & 0xFFF
      type = EtherType(rawValue: frame.number(16))
    }
  }

  public func append(to bytes: inout [UInt8]) {
    bytes.append(destination)
    bytes.append(source)
    if let vlan {
      bytes.append(bigEndian: EtherType.vlan.rawValue)
      bytes.append(bigEndian: vlan & 0xFFF)
    }
    bytes.append(bigEndian: type.rawValue)
  }
}
