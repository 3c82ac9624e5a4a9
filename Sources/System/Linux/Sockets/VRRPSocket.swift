import Basis
import CLinux
import Glibc
import Wire

/// A raw socket for VRRP (IP protocol 112) on one interface and one family. It belongs to one thread.
///
/// It hears the VRRP group and unicast alike, on its interface alone, and not itself. It sends with TTL or hop limit 255 whatever
/// the destination (RFC 9568 §5.1.1.3, §5.1.2.3). Checksums are the core's to compute and to check, IPv6's too.
/// The interface is known by index: when one is made anew under the same name, so must the socket be.
public final class VRRPSocket {
  /// One message as it came. `payload` is where in the caller's buffer VRRP begins and ends.
  public struct Received: Sendable, Hashable {
    public var source: IPAddress
    public var destination: IPAddress
    /// TTL or hop limit.
    public var hopLimit: UInt8
    public var payload: Range<Int>
  }

  public let interface: String
  public let index: Int32
  public let family: AddressFamily
  /// Packets whose IP header made no sense.
  public private(set) var malformed: UInt64 = 0

  private let socket: Descriptor
  /// Made with the first advert that needs it.
  private var virtualSender: VirtualMACSender?

  /// For `Reactor.register`.
  public var descriptor: Int32 { socket.rawValue }

  /// Where adverts go by multicast: 224.0.0.18 (RFC 9568 §5.1.1.2) or ff02::12 (§5.1.2.2).
  public static func group(_ family: AddressFamily) -> IPAddress {
    switch family {
    case .ipv4: .v4(IPv4Address(224, 0, 0, 18))
    case .ipv6: .v6(IPv6Address(rawValue: 0xFF02 << 112 | 0x12))
    }
  }

  /// Needs CAP_NET_RAW.
  public init(interface: String, index: Int32, family: AddressFamily) throws(SystemError) {
    self.interface = interface
    self.index = index
    self.family = family
    let domain = family == .ipv4 ? AF_INET : AF_INET6
    socket = try Descriptor.socket(domain, SOCK_RAW, protocol: 112, about: "VRRP on \(interface)")
    try socket.bind(toInterface: interface)
    // A loop that is held up for a second must find every advert of 255 virtual routers at 10 ms still there: 25,500 × ~1 KiB is
    // more than anyone sends; a tenth of it is plenty.
    socket.setReceiveBuffer(bytes: 2 << 20)
    switch family {
    case .ipv4: try configureIPv4()
    case .ipv6: try configureIPv6()
    }
    try join()
  }

  /// One that only sends, and costs nothing meanwhile.
  public init(sendingOn index: Int32, family: AddressFamily) throws(SystemError) {
    interface = "interface \(index)"
    self.index = index
    self.family = family
    let domain = family == .ipv4 ? AF_INET : AF_INET6
    socket = try Descriptor.socket(domain, SOCK_RAW, protocol: 112, about: "VRRP on \(interface)")
    let number = socket.rawValue
    // First of all, so that nothing is ever queued.
    try SystemError.check("setsockopt SO_ATTACH_FILTER", interface) { clinux_deafen(number) }
    try SystemError.check("setsockopt SO_BINDTOIFINDEX", interface) { clinux_bind_to_index(number, index) }
    switch family {
    case .ipv4: try configureIPv4()
    case .ipv6: try configureIPv6()
    }
  }

  private func configureIPv4() throws(SystemError) {
    let level = Int32(IPPROTO_IP)
    try socket.setOption(level, clinux_ip_ttl, Int32(255), "setsockopt IP_TTL", about: interface)
    try socket.setOption(level, clinux_ip_multicast_ttl, Int32(255), "setsockopt IP_MULTICAST_TTL", about: interface)
    try socket.setOption(level, clinux_ip_multicast_loop, Int32(0), "setsockopt IP_MULTICAST_LOOP", about: interface)
    // Only groups that this socket joined, not those of other programs on the host.
    try socket.setOption(level, clinux_ip_multicast_all, Int32(0), "setsockopt IP_MULTICAST_ALL", about: interface)
    try socket.setOption(level, clinux_ip_tos, Self.networkControl, "setsockopt IP_TOS", about: interface)
  }

  private func configureIPv6() throws(SystemError) {
    let level = Int32(IPPROTO_IPV6)
    try socket.setOption(level, clinux_ipv6_unicast_hops, Int32(255), "setsockopt IPV6_UNICAST_HOPS", about: interface)
    try socket.setOption(
      level, clinux_ipv6_multicast_hops, Int32(255), "setsockopt IPV6_MULTICAST_HOPS", about: interface)
    try socket.setOption(
      level, clinux_ipv6_multicast_loop, Int32(0), "setsockopt IPV6_MULTICAST_LOOP", about: interface)
    try socket.setOption(level, clinux_ipv6_recvpktinfo, Int32(1), "setsockopt IPV6_RECVPKTINFO", about: interface)
    try socket.setOption(level, clinux_ipv6_recvhoplimit, Int32(1), "setsockopt IPV6_RECVHOPLIMIT", about: interface)
    try socket.setOption(level, clinux_ipv6_tclass, Self.networkControl, "setsockopt IPV6_TCLASS", about: interface)
    // The kernel neither fills in nor drops by the checksum: the core counts and reports what is wrong.
    try socket.setOption(level, clinux_ipv6_checksum, Int32(-1), "setsockopt IPV6_CHECKSUM", about: interface)
    // Since Linux 4.20; before it, a group that another program joined is heard too, and the core drops what is not for it.
    try? socket.setOption(level, clinux_ipv6_multicast_all, Int32(0), "setsockopt IPV6_MULTICAST_ALL")
  }

  private func join() throws(SystemError) {
    let number = socket.rawValue
    switch family {
    case .ipv4:
      try SystemError.check("setsockopt IP_ADD_MEMBERSHIP", "224.0.0.18 on \(interface)") {
        clinux_join4(number, UInt32(0xE000_0012).bigEndian, index)
      }
    case .ipv6:
      var group = in6_addr(VRRPSocket.ipv6Group)
      try SystemError.check("setsockopt IPV6_JOIN_GROUP", "ff02::12 on \(interface)") {
        clinux_join6(number, &group, index)
      }
    }
  }

  /// DSCP CS6, "network control" (RFC 4594 §3.1): a full link drops others' packets first.
  private static let networkControl: Int32 = 0xC0
  private static let ipv6Group = IPv6Address(rawValue: 0xFF02 << 112 | 0x12)

  // MARK: Receiving

  /// How many packets are read in one go. Whoever floods the link must not keep a loop from all else; the socket stays readable, so
  /// what is left comes with the next turn.
  public static let portion = 256

  /// The next message, nil when none waits, or when no more may be looked at. What has a senseless IP header is counted and left out.
  /// - Parameters:
  ///   - buffer: 1,500 bytes hold any advert; what is longer is cut.
  ///   - most: so many packets may be looked at, good ones or not; counted down. 0 afterwards: more may wait.
  public func receive(into buffer: UnsafeMutableRawBufferPointer, most: inout Int) throws(SystemError) -> Received? {
    var ancillary = clinux_received()
    while most > 0 {
      most -= 1
      let count = clinux_vrrp_receive(descriptor, buffer.baseAddress, buffer.count, &ancillary)
      if count < 0 {
        switch errno {
        case EAGAIN: return nil
        // An ICMP error about something that was sent: told once, of no use here.
        case EINTR, ENETDOWN, EHOSTDOWN, EHOSTUNREACH, ENETUNREACH, ECONNREFUSED, EPROTO, ENOPROTOOPT, EMSGSIZE:
          continue
        default: throw .last("recvmsg", "VRRP on \(interface)")
        }
      }
      let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<min(count, buffer.count)])
      switch family {
      case .ipv4:
        if let received = Received(ipv4Packet: bytes) { return received }
      case .ipv6:
        if let hopLimit = UInt8(exactly: ancillary.hop_limit) {
          return Received(
            source: .v6(IPv6Address(ancillary.source)), destination: .v6(IPv6Address(ancillary.destination)),
            hopLimit: hopLimit, payload: 0..<bytes.count)
        }
      }
      malformed &+= 1
    }
    return nil
  }

  /// The same, of a portion at most.
  public func receive(into buffer: UnsafeMutableRawBufferPointer) throws(SystemError) -> Received? {
    var most = Self.portion
    return try receive(into: buffer, most: &most)
  }

  // MARK: Sending

  /// Sends one VRRP message, its checksum filled in, from that address of the interface.
  /// - Parameter virtualMAC: the source of the frame, where it goes by multicast; nil: the interface's own. Unicast has that always,
  ///   because the kernel finds the way.
  public func send(
    _ message: [UInt8], to destination: IPAddress, from source: IPAddress, virtualMAC: MACAddress? = nil
  ) throws(SystemError) {
    if let virtualMAC {
      if virtualSender == nil { virtualSender = try VirtualMACSender(index: index) }
      let service = UInt8(truncatingIfNeeded: Self.networkControl)
      if let virtualSender,
        try virtualSender.send(message, to: destination, from: source, mac: virtualMAC, service: service)
      {
        return
      }
    }
    let sent = message.withUnsafeBytes { bytes -> Int in
      switch (destination, source) {
      case (.v4(let destination), .v4(let source)):
        // Without an index: one named here would win over the interface that the socket is tied to, and a socket that was
        // turned away (`divert`) has to stay so.
        return clinux_vrrp_send4(
          descriptor, bytes.baseAddress, bytes.count, destination.rawValue.bigEndian, source.rawValue.bigEndian, 0)
      case (.v6(let destination), .v6(let source)):
        var (to, from) = (in6_addr(destination), in6_addr(source))
        return clinux_vrrp_send6(descriptor, bytes.baseAddress, bytes.count, &to, &from, 0)
      default:
        errno = EAFNOSUPPORT
        return -1
      }
    }
    if sent < 0 { throw .last("sendmsg", "VRRP from \(source) to \(destination) on \(interface)") }
  }
}

extension VRRPSocket {
  /// Turns a socket away from the network, by any descriptor of it, in any process: what is sent with it from now on reaches nobody,
  /// even by a thread that was stopped between its decision and its call.
  public static func divert(_ descriptor: Int32) throws(SystemError) {
    try SystemError.check("setsockopt SO_BINDTOIFINDEX", "VRRP") { clinux_bind_to_index(descriptor, 1) }
  }
}

extension VRRPSocket.Received {
  /// Reads the header that an IPv4 raw socket leaves in front. Nil where it is malformed.
  init?(ipv4Packet bytes: UnsafeRawBufferPointer) {
    guard let (header, payload) = try? IPv4Header.parse(bytes.bytes) else { return nil }
    self.init(
      source: .v4(header.source), destination: .v4(header.destination), hopLimit: header.timeToLive, payload: payload)
  }
}

extension in6_addr {
  init(_ address: IPv6Address) { self = unsafeBitCast(address.rawValue.bigEndian, to: in6_addr.self) }
}

extension IPv6Address {
  init(_ address: in6_addr) { self.init(rawValue: UInt128(bigEndian: unsafeBitCast(address, to: UInt128.self))) }
}
