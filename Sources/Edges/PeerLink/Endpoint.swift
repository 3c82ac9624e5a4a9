import Basis
import CLinux
import Glibc
import Linux
import Wire

/// The link's TCP sockets: non-blocking, close-on-exec.
enum PeerSocket {
  /// Bound also while the address is not there yet: the link must not depend on what came first.
  static func listen(at address: IPAddress, port: UInt16) throws(SystemError) -> Descriptor {
    var endpoint = clinux_endpoint(address, port: port)
    let subject = "\(address) port \(port)"
    let descriptor = try make(address.family, subject)
    descriptor.set(SOL_SOCKET, SO_REUSEADDR, 1)
    descriptor.allowAbsentAddress(address.family)
    let number = descriptor.rawValue
    try SystemError.check("bind", subject) { endpoint.withAddress { bind(number, $0, $1) } }
    try SystemError.check("listen", subject) { Glibc.listen(number, 64) }
    return descriptor
  }

  /// A connection under way, from one of our own addresses: the other side takes none from others.
  static func call(_ address: IPAddress, port: UInt16, from own: IPAddress?) throws(SystemError) -> Descriptor {
    let subject = "\(address) port \(port)"
    let descriptor = try make(address.family, subject)
    let number = descriptor.rawValue
    if let own {
      var source = clinux_endpoint(own, port: 0)
      try SystemError.check("bind", "\(own)") { source.withAddress { bind(number, $0, $1) } }
    }
    var endpoint = clinux_endpoint(address, port: port)
    let result = endpoint.withAddress { connect(number, $0, $1) }
    if result != 0, errno != EINPROGRESS { throw .last("connect", subject) }
    return descriptor
  }

  /// The next connection and where it comes from; nil when none waits.
  static func accept(_ listener: Int32) throws(SystemError) -> (Int32, IPAddress)? {
    var from = clinux_endpoint()
    let result = clinux_proxy_accept_from(listener, &from)
    if result >= 0 {
      guard let address = from.address else {
        close(result)
        return nil
      }
      tune(result)
      return (result, address)
    }
    switch -result {
    case EAGAIN: return nil
    default: throw SystemError(call: "accept", code: -result)
    }
  }

  /// How a connection that was under way came out; 0 is well.
  static func failure(of descriptor: Int32) -> Int32 {
    var code: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    return getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &length) == 0 ? code : errno
  }

  private static func make(_ family: AddressFamily, _ subject: String) throws(SystemError) -> Descriptor {
    let descriptor = try Descriptor.socket(family == .ipv4 ? AF_INET : AF_INET6, SOCK_STREAM, about: subject)
    tune(descriptor.rawValue)
    return descriptor
  }

  /// A message is sent at once, and the kernel holds no more of it than it must.
  private static func tune(_ descriptor: Int32) {
    _ = clinux_proxy_no_delay(descriptor)
    _ = clinux_proxy_set(descriptor, SOL_SOCKET, SO_SNDBUF, 128 * 1024)
    _ = clinux_proxy_set(descriptor, SOL_SOCKET, SO_RCVBUF, 128 * 1024)
  }
}

extension Descriptor {
  fileprivate borrowing func set(_ level: Int32, _ option: Int32, _ value: Int32) {
    _ = clinux_proxy_set(rawValue, level, option, value)
  }

  fileprivate borrowing func allowAbsentAddress(_ family: AddressFamily) {
    switch family {
    case .ipv4: set(Int32(IPPROTO_IP), Int32(IP_FREEBIND), 1)
    case .ipv6: set(Int32(IPPROTO_IPV6), Int32(clinux_IPV6_FREEBIND), 1)
    }
  }
}

extension clinux_endpoint {
  init(_ address: IPAddress, port: UInt16) {
    self.init()
    switch address {
    case .v4(let address): clinux_endpoint_v4(&self, address.rawValue, port)
    case .v6(let address):
      clinux_endpoint_v6(
        &self, UInt64(truncatingIfNeeded: address.rawValue >> 64), UInt64(truncatingIfNeeded: address.rawValue), port)
    }
  }

  var address: IPAddress? {
    mutating get {
      switch clinux_endpoint_family(&self) {
      case AF_INET: return .v4(IPv4Address(rawValue: clinux_endpoint_address_v4(&self)))
      case AF_INET6:
        let high = UInt128(clinux_endpoint_address_v6(&self, 0)) << 64
        return .v6(IPv6Address(rawValue: high | UInt128(clinux_endpoint_address_v6(&self, 1))))
      default: return nil
      }
    }
  }

  mutating func withAddress(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
    withUnsafePointer(to: &self) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, clinux_endpoint_size(pointer)) }
    }
  }
}
