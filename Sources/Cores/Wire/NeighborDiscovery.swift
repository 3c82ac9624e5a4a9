// Neighbour solicitation and advertisement (RFC 4861 §4.3, §4.4), behind an IPv6 header.

/// ICMPv6 as far as neighbour discovery needs it (RFC 4443).
public enum ICMPv6 {
  public static let ipProtocol: UInt8 = 58
  public static let neighborSolicitation: UInt8 = 135
  public static let neighborAdvertisement: UInt8 = 136
}

/// Asks who has an address.
///
///     | 135 | 0 | checksum, 2 | 0, 4 | target, 16 | options
public struct NeighborSolicitation: Sendable, Hashable {
  public var target: IPv6Address
  /// The asker's MAC, from the source link-layer address option.
  public var sourceLinkLayer: MACAddress?

  public init(target: IPv6Address, sourceLinkLayer: MACAddress? = nil) {
    self.target = target
    self.sourceLinkLayer = sourceLinkLayer
  }

  /// An ICMPv6 message of that type, by the rules of RFC 4861 §7.1.1.
  public init(parsing message: RawSpan, in header: IPv6Header) throws(Malformed) {
    target = try checkedTarget(message, header, type: ICMPv6.neighborSolicitation)
    sourceLinkLayer = try linkLayerOption(message, kind: Option.sourceLinkLayer)
    if header.source == .any {
      // A probe for duplicates: it can't say whom to answer.
      guard header.destination == target.solicitedNode, sourceLinkLayer == nil else { throw .address }
    }
  }

  /// Asks whether the address is taken, without claiming it (RFC 4862 §5.4.2).
  public static func isProbe(_ header: IPv6Header) -> Bool { header.source == .any }

  /// Appends the ICMPv6 message with its checksum.
  public func append(to bytes: inout [UInt8], from source: IPv6Address, to destination: IPv6Address) {
    appendMessage(
      to: &bytes, type: ICMPv6.neighborSolicitation, flags: 0, target: target, option: Option.sourceLinkLayer,
      mac: sourceLinkLayer, from: source, to: destination)
  }
}

/// Says who has an address.
///
///     | 136 | 0 | checksum, 2 | R S O, 29 bits of 0 | target, 16 | options
public struct NeighborAdvertisement: Sendable, Hashable {
  /// R: the sender is a router.
  public var isRouter: Bool
  /// S: it answers a solicitation.
  public var isSolicited: Bool
  /// O: what the receiver knew is to be replaced.
  public var overrides: Bool
  public var target: IPv6Address
  /// Where the target is, from the target link-layer address option.
  public var targetLinkLayer: MACAddress?

  public init(
    target: IPv6Address, targetLinkLayer: MACAddress?, isRouter: Bool, isSolicited: Bool, overrides: Bool
  ) {
    self.target = target
    self.targetLinkLayer = targetLinkLayer
    self.isRouter = isRouter
    self.isSolicited = isSolicited
    self.overrides = overrides
  }

  /// An ICMPv6 message of that type, by the rules of RFC 4861 §7.1.2.
  public init(parsing message: RawSpan, in header: IPv6Header) throws(Malformed) {
    target = try checkedTarget(message, header, type: ICMPv6.neighborAdvertisement)
    targetLinkLayer = try linkLayerOption(message, kind: Option.targetLinkLayer)
    let flags = message.byte(4)
    isRouter = flags & 0x80 != 0
    isSolicited = flags & 0x40 != 0
    overrides = flags & 0x20 != 0
    guard !(isSolicited && header.destination.isMulticast) else { throw .address }
  }

  /// Appends the ICMPv6 message with its checksum.
  public func append(to bytes: inout [UInt8], from source: IPv6Address, to destination: IPv6Address) {
    appendMessage(
      to: &bytes, type: ICMPv6.neighborAdvertisement,
      flags: (isRouter ? 0x80 : 0) | (isSolicited ? 0x40 : 0) | (overrides ? 0x20 : 0), target: target,
      option: Option.targetLinkLayer, mac: targetLinkLayer, from: source, to: destination)
  }

  /// A whole Ethernet frame that tells all nodes that `address` is at `mac`: an unsolicited advertisement that overrides
  /// (RFC 4861 §7.2.6). The address itself is the source.
  /// - Parameter isRouter: this node forwards packets; hosts drop a default router that says it doesn't.
  public static func announcement(mac: MACAddress, address: IPv6Address, isRouter: Bool) -> [UInt8] {
    var message: [UInt8] = []
    NeighborAdvertisement(
      target: address, targetLinkLayer: mac, isRouter: isRouter, isSolicited: false, overrides: true
    ).append(to: &message, from: address, to: .allNodes)
    var frame: [UInt8] = []
    frame.reserveCapacity(14 + IPv6Header.length + message.count)
    EthernetHeader(destination: MACAddress(multicast: .allNodes), source: mac, type: .ipv6).append(to: &frame)
    IPv6Header(source: address, destination: .allNodes, nextHeader: ICMPv6.ipProtocol, hopLimit: 255)
      .append(to: &frame, payloadLength: message.count)
    frame += message
    return frame
  }
}

/// RFC 4861 §4.6.
private enum Option {
  static let sourceLinkLayer: UInt8 = 1
  static let targetLinkLayer: UInt8 = 2
}

/// Bytes before the options, in both messages.
private let fixedLength = 24

/// The checks that both messages share.
private func checkedTarget(
  _ message: RawSpan, _ header: IPv6Header, type: UInt8
) throws(Malformed) -> IPv6Address {
  guard message.byteCount >= fixedLength else { throw .truncated }
  guard message.byte(0) == type else { throw .kind }
  guard header.hopLimit == 255 else { throw .hopLimit }
  var sum = Checksum()
  sum.addPseudoHeader(
    from: header.source, to: header.destination, nextHeader: ICMPv6.ipProtocol,
    length: UInt32(truncatingIfNeeded: message.byteCount))
  sum.add(message)
  guard sum.isValid else { throw .checksum }
  guard message.byte(1) == 0 else { throw .code }
  let target = message.ipv6(8)
  guard !target.isMulticast else { throw .address }
  return target
}

/// The first link-layer address option of that kind. Others are stepped over, but each must lie inside the message.
private func linkLayerOption(_ message: RawSpan, kind: UInt8) throws(Malformed) -> MACAddress? {
  var found: MACAddress?
  var start = fixedLength
  while start < message.byteCount {
    guard start + 2 <= message.byteCount else { throw .option }
    let length = Int(message.byte(start + 1)) * 8
    guard length > 0, start + length <= message.byteCount else { throw .option }
    // Eight bytes are an Ethernet address; other lengths belong to other links (RFC 2464 §6).
    if message.byte(start) == kind, length == 8, found == nil { found = message.mac(start + 2) }
    start += length
  }
  return found
}

private func appendMessage(
  to bytes: inout [UInt8], type: UInt8, flags: UInt8, target: IPv6Address, option: UInt8, mac: MACAddress?,
  from source: IPv6Address, to destination: IPv6Address
) {
  let start = bytes.count
  bytes.append(type)
  bytes.append(0)
  bytes.append(bigEndian: UInt16(0))
  bytes.append(bigEndian: UInt32(flags) << 24)
  bytes.append(bigEndian: target.rawValue)
  if let mac {
    bytes.append(option)
    bytes.append(1)  // in units of 8 bytes
    bytes.append(mac)
  }
  var sum = Checksum()
  sum.addPseudoHeader(
    from: source, to: destination, nextHeader: ICMPv6.ipProtocol, length: UInt32(bytes.count - start))
  sum.add(bytes, from: start)
  bytes.put(sum.value, at: start + 2)
}
