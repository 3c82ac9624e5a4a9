import Wire

/// An address that came to, or went from, an interface; or the end of a list of all of them.
enum AddressMessage: Sendable, Hashable {
  case added(IPAddress)
  case removed(IPAddress)
  case endOfDump
}

/// Reads route netlink messages (rtnetlink(7)); what is malformed or of no interest is left out.
enum NetlinkReader {
  static let headerLength = 16
  private static let done: UInt16 = 3  // NLMSG_DONE
  private static let newAddress: UInt16 = 20  // RTM_NEWADDR
  private static let deletedAddress: UInt16 = 21  // RTM_DELADDR

  /// All messages of one datagram.
  static func messages(in datagram: [UInt8]) -> [AddressMessage] {
    var messages: [AddressMessage] = []
    var offset = 0
    while let length = number32(datagram, at: offset).map(Int.init), let type = number16(datagram, at: offset + 4),
      length >= headerLength, length <= datagram.count - offset
    {
      let body = datagram[(offset + headerLength)..<(offset + length)]
      switch type {
      case done: messages.append(.endOfDump)
      case newAddress: if let address = address(in: body) { messages.append(.added(address)) }
      case deletedAddress: if let address = address(in: body) { messages.append(.removed(address)) }
      default: break
      }
      offset += aligned(length)
    }
    return messages
  }

  /// An errno (0 for done) if the datagram begins with an answer to a request (NLMSG_ERROR).
  static func answer(in datagram: [UInt8]) -> Int32? {
    guard number16(datagram, at: 4) == 2, let code = number32(datagram, at: headerLength) else { return nil }
    let value = Int32(bitPattern: code)
    return value == .min ? nil : -value
  }

  /// The body is a struct ifaddrmsg (8 bytes: family, prefix length, flags, scope, index) with attributes behind it.
  private static func address(in body: ArraySlice<UInt8>) -> IPAddress? {
    let bytes = Array(body)
    guard bytes.count >= 8 else { return nil }
    var local: IPAddress?
    var address: IPAddress?
    var offset = 8
    while let length = number16(bytes, at: offset).map(Int.init), let type = number16(bytes, at: offset + 2),
      length >= 4, length <= bytes.count - offset
    {
      let value = bytes[(offset + 4)..<(offset + length)]
      switch type & 0x3FFF {
      case 1: address = ipAddress(value, family: bytes[0])  // IFA_ADDRESS: the peer's, on a point-to-point link
      case 2: local = ipAddress(value, family: bytes[0])  // IFA_LOCAL
      default: break
      }
      offset += aligned(length)
    }
    return local ?? address
  }

  private static func ipAddress(_ bytes: ArraySlice<UInt8>, family: UInt8) -> IPAddress? {
    switch (family, bytes.count) {
    case (2, 4): .v4(IPv4Address(rawValue: bytes.reduce(0) { $0 << 8 | UInt32($1) }))  // AF_INET
    case (10, 16): .v6(IPv6Address(rawValue: bytes.reduce(0) { $0 << 8 | UInt128($1) }))  // AF_INET6
    default: nil
    }
  }

  private static func number16(_ bytes: [UInt8], at offset: Int) -> UInt16? {
    guard offset >= 0, bytes.count - offset >= 2 else { return nil }
    return UInt16(littleEndian: UInt16(bytes[offset]) | UInt16(bytes[offset + 1]) << 8)
  }

  private static func number32(_ bytes: [UInt8], at offset: Int) -> UInt32? {
    guard let low = number16(bytes, at: offset), let high = number16(bytes, at: offset + 2) else { return nil }
    return UInt32(low) | UInt32(high) << 16
  }

  private static func aligned(_ length: Int) -> Int { (length + 3) & ~3 }
}

/// Writes a netlink request, little-endian as every machine that Roost runs on.
struct NetlinkRequest {
  private(set) var bytes: [UInt8] = []

  init(type: UInt16, flags: UInt16) {
    append32(0)
    append16(type)
    append16(flags)
    append32(1)  // sequence
    append32(0)  // port: the kernel's
  }

  mutating func append8(_ value: UInt8) { bytes.append(value) }
  mutating func append16(_ value: UInt16) {
    bytes += [UInt8(truncatingIfNeeded: value), UInt8(truncatingIfNeeded: value >> 8)]
  }
  mutating func append32(_ value: UInt32) {
    append16(UInt16(truncatingIfNeeded: value))
    append16(UInt16(truncatingIfNeeded: value >> 16))
  }

  /// The bytes with the length in front.
  consuming func finished() -> [UInt8] {
    let length = UInt32(bytes.count)
    for index in 0..<4 { bytes[index] = UInt8(truncatingIfNeeded: length >> (8 * UInt32(index))) }
    return bytes
  }

  /// All addresses of the namespace (RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP).
  static var allAddresses: [UInt8] {
    var request = NetlinkRequest(type: 22, flags: 0x301)
    for _ in 0..<2 { request.append32(0) }
    return request.finished()
  }

  /// Sets an interface up or down (RTM_SETLINK, NLM_F_REQUEST | NLM_F_ACK).
  static func link(index: UInt32, isUp: Bool) -> [UInt8] {
    var request = NetlinkRequest(type: 19, flags: 0x5)
    request.append32(0)  // family and type
    request.append32(index)
    request.append32(isUp ? 1 : 0)  // IFF_UP
    request.append32(1)  // only that flag
    return request.finished()
  }

  /// Sets a bridge port's state: forwarding, or carrying nothing while its carrier stays.
  static func bridgePort(index: UInt32, isForwarding: Bool) -> [UInt8] {
    var request = NetlinkRequest(type: 19, flags: 0x5)
    request.append8(7)  // AF_BRIDGE
    request.append8(0)
    request.append16(0)
    request.append32(index)
    request.append32(0)
    request.append32(0)
    request.append16(12)  // length
    request.append16(0x800C)  // IFLA_PROTINFO, nested
    request.append16(5)
    request.append16(1)  // IFLA_BRPORT_STATE
    request.append8(isForwarding ? 3 : 0)  // BR_STATE_FORWARDING, BR_STATE_DISABLED
    for _ in 0..<3 { request.append8(0) }
    return request.finished()
  }

  // MARK: Links that come and go

  /// Makes a pair of virtual Ethernet links, one of that name and one that the kernel names (RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL).
  static func newPair(name: String) -> [UInt8] {
    var request = NetlinkRequest(type: 16, flags: 0x605)
    for _ in 0..<4 { request.append32(0) }
    request.append(attribute: 3, Array(name.utf8) + [0])  // IFLA_IFNAME
    // IFLA_LINKINFO with IFLA_INFO_KIND inside.
    var kind: [UInt8] = [8, 0, 1, 0]
    kind += Array("veth".utf8)
    request.append(attribute: 18 | 0x8000, kind)
    return request.finished()
  }

  /// RTM_DELLINK
  static func deleteLink(index: UInt32) -> [UInt8] {
    var request = NetlinkRequest(type: 17, flags: 0x5)
    request.append32(0)
    request.append32(index)
    for _ in 0..<2 { request.append32(0) }
    return request.finished()
  }

  /// RTM_NEWADDR with a prefix length of 32
  static func newAddress(_ address: IPv4Address, index: UInt32) -> [UInt8] {
    var request = NetlinkRequest(type: 20, flags: 0x605)
    for byte: UInt8 in [2, 32, 0, 0] { request.append8(byte) }  // AF_INET, prefix length, flags, scope
    request.append32(index)
    let bytes = withUnsafeBytes(of: address.rawValue.bigEndian) { Array($0) }
    request.append(attribute: 1, bytes)  // IFA_ADDRESS
    request.append(attribute: 2, bytes)  // IFA_LOCAL
    return request.finished()
  }

  private mutating func append(attribute type: UInt16, _ value: [UInt8]) {
    append16(UInt16(4 + value.count))
    append16(type)
    for byte in value { append8(byte) }
    for _ in 0..<((4 - value.count % 4) % 4) { append8(0) }
  }
}
