import Basis
import CLinux
import Glibc
import Wire

// rtnetlink as bytes (netlink(7), rtnetlink(7)): numbers in the host's byte order, addresses in the network's, everything
// padded to four bytes. What the kernel sends is read as carefully as what a stranger sends: the kernel may be newer than this.

/// Requests, one behind the other in a buffer, so that several go into one system call.
struct NetlinkBatch {
  private(set) var bytes: [UInt8] = []
  /// How many messages are in it.
  private(set) var count = 0
  /// Of the first message; the others' must follow without a gap.
  private(set) var firstSequence: UInt32 = 0
  private var start = 0

  mutating func removeAll() {
    bytes.removeAll(keepingCapacity: true)
    count = 0
  }

  /// Begins a message; its length is set by `end`.
  mutating func begin(type: UInt16, flags: UInt16, sequence: UInt32) {
    start = bytes.count
    if count == 0 { firstSequence = sequence }
    append(UInt32(0))  // length
    append(type)
    append(flags)
    append(sequence)
    append(UInt32(0))  // port: the kernel fills in the socket's own
  }

  mutating func end() {
    store(UInt32(bytes.count - start), at: start)
    pad()
    count += 1
  }

  mutating func append(_ number: some FixedWidthInteger & BitwiseCopyable) {
    withUnsafeBytes(of: number) { bytes.append(contentsOf: $0) }
  }

  mutating func attribute(_ type: UInt16, _ append: (inout NetlinkBatch) -> Void) {
    let start = bytes.count
    self.append(UInt16(0))
    self.append(type)
    append(&self)
    store(UInt16(bytes.count - start), at: start)
    pad()
  }

  mutating func attribute(_ type: UInt16, _ address: IPAddress) {
    attribute(type) { batch in
      switch address {
      case .v4(let v4): batch.append(v4.rawValue.bigEndian)
      case .v6(let v6): batch.append(v6.rawValue.bigEndian)
      }
    }
  }

  private mutating func store(_ number: some FixedWidthInteger & BitwiseCopyable, at offset: Int) {
    withUnsafeBytes(of: number) { raw in
      for (index, byte) in raw.enumerated() { bytes[offset + index] = byte }
    }
  }

  private mutating func pad() {
    while bytes.count % 4 != 0 { bytes.append(0) }
  }
}

/// A part of what was received. Reading outside of it gives nil.
struct NetlinkBytes {
  let base: UnsafeRawBufferPointer

  var count: Int { base.count }

  func load<Number: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, as: Number.Type) -> Number? {
    guard offset >= 0, offset + MemoryLayout<Number>.size <= base.count else { return nil }
    return base.loadUnaligned(fromByteOffset: offset, as: Number.self)
  }

  func slice(_ range: Range<Int>) -> NetlinkBytes? {
    guard range.lowerBound >= 0, range.upperBound <= base.count else { return nil }
    return NetlinkBytes(base: UnsafeRawBufferPointer(rebasing: base[range]))
  }

  /// The text of an attribute, up to its zero.
  var text: String { String(decoding: base.prefix { $0 != 0 }, as: UTF8.self) }

  /// An address of that family in network byte order.
  func address(family: UInt8) -> IPAddress? {
    switch Int32(family) {
    case AF_INET: load(0, as: UInt32.self).map { .v4(IPv4Address(rawValue: UInt32(bigEndian: $0))) }
    case AF_INET6: load(0, as: UInt128.self).map { .v6(IPv6Address(rawValue: UInt128(bigEndian: $0))) }
    default: nil
    }
  }

  /// Calls `body` with each attribute from `offset` on; what follows a broken one is left out.
  func forEachAttribute(from offset: Int, _ body: (_ type: UInt16, _ value: NetlinkBytes) -> Void) {
    var offset = offset
    while let length = load(offset, as: UInt16.self), let type = load(offset + 2, as: UInt16.self), length >= 4,
      let value = slice(offset + 4..<max(offset + 4, offset + Int(length)))
    {
      body(type & 0x3FFF, value)  // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
      offset += (Int(length) + 3) & ~3
    }
  }
}

/// One message as received.
enum NetlinkMessage {
  case link(LinkRecord, removed: Bool)
  case address(AddressRecord, removed: Bool)
  case neighbour(NeighbourRecord)
  case route(RouteRecord)
  /// The answer to one request: 0, or an errno.
  case acknowledgement(code: Int32)
  /// The end of a dump.
  case done(code: Int32)
  /// Of a kind that is not used here, or not understood.
  case other

  struct Header {
    /// Of the request that it answers.
    var sequence: UInt32
    var flags: UInt16
  }

  /// Calls `body` with each message of a datagram.
  static func forEach(in datagram: UnsafeRawBufferPointer, _ body: (Header, NetlinkMessage) -> Void) {
    let all = NetlinkBytes(base: datagram)
    var offset = 0
    // nlmsghdr: length, type, flags, sequence, port.
    while let length = all.load(offset, as: UInt32.self).map(Int.init), length >= 16,
      let message = all.slice(offset..<offset + length), let type = message.load(4, as: UInt16.self),
      let flags = message.load(6, as: UInt16.self), let sequence = message.load(8, as: UInt32.self),
      let payload = message.slice(16..<length)
    {
      body(Header(sequence: sequence, flags: flags), NetlinkMessage(type: type, payload))
      offset += (length + 3) & ~3
    }
  }

  private init(type: UInt16, _ payload: NetlinkBytes) {
    switch type {
    case clinux_nlmsg_error:
      // A kernel error is a negative errno.
      self = payload.load(0, as: Int32.self).map { .acknowledgement(code: 0 &- $0) } ?? .other
    case clinux_nlmsg_done: self = .done(code: 0 &- (payload.load(0, as: Int32.self) ?? 0))
    case clinux_rtm_newlink, clinux_rtm_dellink:
      self = LinkRecord(payload).map { .link($0, removed: type == clinux_rtm_dellink) } ?? .other
    case clinux_rtm_newaddr, clinux_rtm_deladdr:
      self = AddressRecord(payload).map { .address($0, removed: type == clinux_rtm_deladdr) } ?? .other
    case clinux_rtm_newroute: self = RouteRecord(payload).map { .route($0) } ?? .other
    case clinux_rtm_newneigh: self = NeighbourRecord(payload).map { .neighbour($0) } ?? .other
    default: self = .other
    }
  }
}

/// An interface, as RTM_NEWLINK and RTM_DELLINK tell of it.
struct LinkRecord: Sendable, Hashable {
  var index: Int32
  var name: String
  /// IFF_UP: somebody wants it up.
  var isAdministrativelyUp: Bool
  /// IFF_RUNNING: there is a carrier, and the interface says that it can pass packets (RFC 2863 ifOperStatus).
  var isRunning: Bool
  var isLoopback: Bool
  /// Nil where the interface has no Ethernet address.
  var macAddress: MACAddress?
  var mtu: Int
  /// Packets received since it was made; nil where the kernel did not tell.
  var received: UInt64?
  /// "macvlan", "veth"; nil for a real one.
  var kind: String?
  /// The index of the interface that a macvlan is on.
  var parent: Int32?

  /// A device with a virtual router's MAC, as this program makes them.
  var isVirtualRouter: Bool {
    guard let macAddress else { return false }
    return kind == "macvlan" && VirtualMAC.isVirtual(macAddress)
  }

  init?(_ payload: NetlinkBytes) {
    // ifinfomsg: family, padding, type, index, flags, change.
    guard payload.load(0, as: UInt8.self) != UInt8(AF_BRIDGE),  // a bridge tells of its ports a second time
      let type = payload.load(2, as: UInt16.self), let index = payload.load(4, as: Int32.self),
      let flags = payload.load(8, as: UInt32.self), payload.count >= 16
    else { return nil }
    self.index = index
    isAdministrativelyUp = flags & clinux_iff_up != 0
    isRunning = flags & clinux_iff_running != 0
    isLoopback = flags & clinux_iff_loopback != 0
    var name: String?
    var macAddress: MACAddress?
    var mtu = 0
    var received: UInt64?
    var kind: String?
    var parent: Int32?
    payload.forEachAttribute(from: 16) { attribute, value in
      switch attribute {
      case clinux_ifla_stats64: received = value.load(0, as: UInt64.self)  // rtnl_link_stats64 begins with rx_packets
      case clinux_ifla_link: parent = value.load(0, as: Int32.self)
      case clinux_ifla_linkinfo:
        value.forEachAttribute(from: 0) { if $0 == clinux_ifla_info_kind { kind = $1.text } }
      case clinux_ifla_ifname: name = value.text
      case clinux_ifla_mtu: mtu = Int(value.load(0, as: UInt32.self) ?? 0)
      case clinux_ifla_address where type == clinux_arphrd_ether && value.count == 6:
        macAddress = MACAddress(rawValue: value.base.reduce(0) { $0 << 8 | UInt64($1) })
      default: break
      }
    }
    guard let name else { return nil }
    self.name = name
    self.macAddress = macAddress
    self.mtu = mtu
    self.received = received
    self.kind = kind
    self.parent = parent
  }
}

/// An address of an interface, as RTM_NEWADDR and RTM_DELADDR tell of it.
struct AddressRecord: Sendable, Hashable {
  var index: Int32
  var address: IPAddress
  var prefixLength: Int
  var flags: UInt32
  var scope: UInt8
  /// Seconds that remain; nil without limit.
  var validSeconds: UInt32?
  var preferredSeconds: UInt32?

  /// The address may not be used yet: duplicate address detection is under way.
  var isTentative: Bool { flags & clinux_ifa_f_tentative != 0 && flags & clinux_ifa_f_optimistic == 0 }
  /// Duplicate address detection found another host with this address.
  var isDuplicate: Bool { flags & clinux_ifa_f_dadfailed != 0 }

  init?(_ payload: NetlinkBytes) {
    // ifaddrmsg: family, prefix length, flags, scope, index.
    guard let family = payload.load(0, as: UInt8.self), let length = payload.load(1, as: UInt8.self),
      let flags = payload.load(2, as: UInt8.self), let scope = payload.load(3, as: UInt8.self),
      let index = payload.load(4, as: Int32.self)
    else { return nil }
    self.index = index
    self.scope = scope
    self.flags = UInt32(flags)
    prefixLength = Int(length)
    var local: IPAddress?
    var address: IPAddress?
    var wideFlags: UInt32?
    var lifetimes: (preferred: UInt32, valid: UInt32)?
    payload.forEachAttribute(from: 8) { attribute, value in
      switch attribute {
      case clinux_ifa_local: local = value.address(family: family)
      case clinux_ifa_address: address = value.address(family: family)
      case clinux_ifa_flags: wideFlags = value.load(0, as: UInt32.self)
      case clinux_ifa_cacheinfo:
        if let preferred = value.load(0, as: UInt32.self), let valid = value.load(4, as: UInt32.self) {
          lifetimes = (preferred, valid)
        }
      default: break
      }
    }
    // On a point-to-point interface IFA_ADDRESS is the other end's.
    guard let own = local ?? address else { return nil }
    self.address = own
    if let wideFlags { self.flags = wideFlags }
    if let lifetimes {
      validSeconds = lifetimes.valid == .max ? nil : lifetimes.valid
      preferredSeconds = lifetimes.preferred == .max ? nil : lifetimes.preferred
    }
  }
}
