/// An ARP message of IPv4 over Ethernet (RFC 826).
///
///     | hardware 1, 2 | protocol 0x0800, 2 | 6 | 4 | operation, 2 |
///     | sender MAC, 6 | sender address, 4 | target MAC, 6 | target address, 4 |
public struct ARP: Sendable, Hashable {
  public enum Operation: UInt16, Sendable, Hashable { case request = 1, reply = 2 }

  public var operation: Operation
  public var senderMAC: MACAddress
  public var senderAddress: IPv4Address
  public var targetMAC: MACAddress
  public var targetAddress: IPv4Address

  public static let length = 28

  public init(
    _ operation: Operation, senderMAC: MACAddress, senderAddress: IPv4Address, targetMAC: MACAddress,
    targetAddress: IPv4Address
  ) {
    self.operation = operation
    self.senderMAC = senderMAC
    self.senderAddress = senderAddress
    self.targetMAC = targetMAC
    self.targetAddress = targetAddress
  }

  /// Padding behind the message is ignored: Ethernet frames have at least 46 bytes of payload.
  public init(parsing message: RawSpan) throws(Malformed) {
    guard message.byteCount >= Self.length else { throw .truncated }
    // Hardware type Ethernet, protocol type IPv4, and the lengths of their addresses.
    guard message.number(0, as: UInt32.self) == 0x0001_0800, message.number(4, as: UInt16.self) == 0x0604 else {
      throw .kind
    }
    guard let operation = Operation(rawValue: message.number(6)) else { throw .kind }
    self.operation = operation
    senderMAC = message.mac(8)
    senderAddress = message.ipv4(14)
    targetMAC = message.mac(18)
    targetAddress = message.ipv4(24)
  }

  public func append(to bytes: inout [UInt8]) {
    bytes.append(bigEndian: UInt16(1))
    bytes.append(bigEndian: EtherType.ipv4.rawValue)
    bytes.append(6)
    bytes.append(4)
    bytes.append(bigEndian: operation.rawValue)
    bytes.append(senderMAC)
    bytes.append(bigEndian: senderAddress.rawValue)
    bytes.append(targetMAC)
    bytes.append(bigEndian: targetAddress.rawValue)
  }

  /// Says where an address is, without being asked (RFC 5227 §3): sender and target address are both the announced one.
  public var isAnnouncement: Bool { senderAddress == targetAddress }
  /// Asks whether an address is taken, without claiming it (RFC 5227 §1.1).
  public var isProbe: Bool { operation == .request && senderAddress == .any }

  /// A whole Ethernet frame that tells `receiver` that `address` is at `mac`: a gratuitous ARP.
  ///
  /// A request has no target MAC (RFC 5227 §3). A reply has the sender's own: Linux takes a reply with another target MAC within a
  /// second of the last change (`locktime`) for a late answer and ignores it. Some stacks heed only requests, some only replies,
  /// so send both.
  /// - Parameter receiver: everybody, or one neighbour whose entry matters most, such as the gateway.
  public static func announcement(
    _ operation: Operation, mac: MACAddress, address: IPv4Address, to receiver: MACAddress = .broadcast
  ) -> [UInt8] {
    var frame: [UInt8] = []
    frame.reserveCapacity(14 + length)
    EthernetHeader(destination: receiver, source: mac, type: .arp).append(to: &frame)
    ARP(
      operation, senderMAC: mac, senderAddress: address,
      targetMAC: operation == .request ? MACAddress(rawValue: 0) : mac,
      targetAddress: address
    ).append(to: &frame)
    return frame
  }
}
