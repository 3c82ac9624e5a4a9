import CLinux
import Glibc
import Linux
import Wire

// Routes by rtnetlink (rtnetlink(7)): numbers in the host's order, addresses in the network's. What comes is read as carefully as what a
// stranger sends.

/// The kernel's routing tables.
enum RouteTable {
  /// RT_TABLE_MAIN.
  static let main: UInt32 = 254

  private static let newRoute: UInt16 = 24
  private static let getRoute: UInt16 = 26
  private static let errorMessage: UInt16 = 2
  private static let done: UInt16 = 3
  private static let requestDump: UInt16 = 0x301
  private static let destination: UInt16 = 1
  private static let table: UInt16 = 15
  /// RTN_UNICAST; the others say unreachable, prohibit, blackhole, or are the kernel's own.
  private static let unicast: UInt8 = 1
  /// RTNH_F_DEAD | RTNH_F_LINKDOWN: it is in the table, and nothing can be sent by it.
  private static let unusable: UInt32 = 1 | 16

  /// Whether that table has a usable route to exactly this prefix.
  static func has(_ prefix: Prefix, table: UInt32) throws(SystemError) -> Bool {
    let socket = try Descriptor.socket(AF_NETLINK, SOCK_RAW, protocol: clinux_netlink_route, about: "netlink")
    let number = socket.rawValue
    try SystemError.check("bind", "netlink") { clinux_netlink_bind(number, 0) }
    let family = UInt8(prefix.address.family == .ipv4 ? AF_INET : AF_INET6)
    let request = dump(family)
    try SystemError.check("send", "netlink") { request.withUnsafeBytes { send(number, $0.baseAddress, $0.count, 0) } }
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    var isThere = false
    while true {
      var fromKernel: Int32 = 0
      let count = buffer.withUnsafeMutableBytes {
        clinux_netlink_receive(number, $0.baseAddress, $0.count, &fromKernel)
      }
      guard count >= 0 else {
        if errno == EINTR { continue }
        guard errno == EAGAIN else { throw .last("recvmsg", "netlink") }
        var entry = pollfd(fd: number, events: Int16(POLLIN), revents: 0)
        guard poll(&entry, 1, 1000) > 0 else { throw SystemError(call: "recvmsg", code: ETIMEDOUT, subject: "netlink") }
        continue
      }
      guard fromKernel != 0 else { continue }
      switch buffer.withUnsafeBytes({ read($0[..<min(count, $0.count)], prefix, table) }) {
      case .more(let found): isThere = isThere || found
      case .end(let found): return isThere || found
      case .failed(let code): throw SystemError(call: "RTM_GETROUTE", code: code)
      }
    }
  }

  private static func dump(_ family: UInt8) -> [UInt8] {
    var bytes: [UInt8] = []
    // nlmsghdr: length, type, flags, sequence, port; rtmsg: family and eleven more bytes, all of no matter here.
    withUnsafeBytes(of: UInt32(28)) { bytes += $0 }
    withUnsafeBytes(of: getRoute) { bytes += $0 }
    withUnsafeBytes(of: requestDump) { bytes += $0 }
    bytes += [UInt8](repeating: 0, count: 8)
    bytes.append(family)
    bytes += [UInt8](repeating: 0, count: 11)
    return bytes
  }

  private enum Step {
    case more(found: Bool)
    case end(found: Bool)
    case failed(Int32)
  }

  private static func read(_ datagram: Slice<UnsafeRawBufferPointer>, _ prefix: Prefix, _ table: UInt32) -> Step {
    let all = UnsafeRawBufferPointer(rebasing: datagram)
    var offset = 0
    var found = false
    while let length = all.number(offset, UInt32.self).map(Int.init), length >= 16, offset + length <= all.count,
      let type = all.number(offset + 4, UInt16.self)
    {
      let message = UnsafeRawBufferPointer(rebasing: all[offset + 16..<offset + length])
      switch type {
      case done: return .end(found: found)
      case errorMessage: return .failed(0 &- (message.number(0, Int32.self) ?? 0))
      case newRoute: if matches(message, prefix, table) { found = true }
      default: break
      }
      offset += (length + 3) & ~3
    }
    return .more(found: found)
  }

  /// rtmsg: family, destination's length, source's length, tos, table, protocol, scope, type, flags (32 bits); then attributes.
  private static func matches(_ route: UnsafeRawBufferPointer, _ prefix: Prefix, _ wanted: UInt32) -> Bool {
    guard let length = route.number(1, UInt8.self), Int(length) == prefix.length,
      let short = route.number(4, UInt8.self), route.number(7, UInt8.self) == unicast,
      let flags = route.number(8, UInt32.self), flags & unusable == 0
    else { return false }
    var number = UInt32(short)
    var address: IPAddress?
    var offset = 12
    while let length = route.number(offset, UInt16.self).map(Int.init), length >= 4, offset + length <= route.count,
      let type = route.number(offset + 2, UInt16.self)
    {
      switch type & 0x3FFF {
      case destination:
        if prefix.address.family == .ipv4 {
          address = route.number(offset + 4, UInt32.self).map { .v4(IPv4Address(rawValue: UInt32(bigEndian: $0))) }
        } else {
          address = route.number(offset + 4, UInt128.self).map { .v6(IPv6Address(rawValue: UInt128(bigEndian: $0))) }
        }
      case self.table: number = route.number(offset + 4, UInt32.self) ?? number
      default: break
      }
      offset += (length + 3) & ~3
    }
    // The default route has no destination.
    return number == wanted && (address == prefix.address || (address == nil && prefix.length == 0))
  }
}

extension UnsafeRawBufferPointer {
  /// Nil outside of what was received.
  fileprivate func number<Number: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, _: Number.Type) -> Number? {
    guard offset >= 0, offset <= count - MemoryLayout<Number>.size else { return nil }
    return loadUnaligned(fromByteOffset: offset, as: Number.self)
  }
}

/// Tells that something about interfaces or routes has changed, and not what: it is looked at then.
final class KernelNews {
  private let socket: Descriptor
  var descriptor: Int32 { socket.rawValue }

  /// RTMGRP_LINK, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE.
  private static let groups: UInt32 = 1 | 0x40 | 0x400

  init() throws(SystemError) {
    socket = try Descriptor.socket(AF_NETLINK, SOCK_RAW, protocol: clinux_netlink_route, about: "netlink")
    let number = socket.rawValue
    try SystemError.check("bind", "netlink") { clinux_netlink_bind(number, Self.groups) }
  }

  /// Takes what waits. That some was lost (ENOBUFS) is news, too.
  func drain() {
    var chunk = [UInt8](repeating: 0, count: 8 << 10)
    for _ in 0..<64 {
      if recv(descriptor, &chunk, chunk.count, 0) < 0, errno == EAGAIN { return }
    }
  }
}
