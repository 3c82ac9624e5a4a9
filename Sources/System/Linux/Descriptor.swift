import CLinux
import Glibc

/// A file descriptor that closes itself. Noncopyable because exactly one value may close a descriptor: a second close hits
/// whatever was opened under the same number meanwhile.
public struct Descriptor: ~Copyable, Sendable {
  public let rawValue: Int32

  /// Takes over an open descriptor.
  public init(owning rawValue: Int32) { self.rawValue = rawValue }

  deinit { close(rawValue) }

  /// Gives the descriptor away, open.
  public consuming func release() -> Int32 {
    let value = rawValue
    discard self
    return value
  }
}

extension Descriptor {
  /// Lets go of what it stands for, of which another process has a copy; the number stays this one's, and leads nowhere.
  public borrowing func vacate() {
    let nowhere = Descriptor(owning: open("/dev/null", O_RDONLY | O_CLOEXEC))
    if nowhere.rawValue >= 0, dup2(nowhere.rawValue, rawValue) >= 0 { _ = fcntl(rawValue, F_SETFD, FD_CLOEXEC) }
  }

  /// A socket, close-on-exec and non-blocking.
  public static func socket(
    _ domain: Int32, _ type: __socket_type, protocol number: Int32 = 0, about subject: String = ""
  ) throws(SystemError) -> Descriptor {
    let flags = Int32(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
    return Descriptor(
      owning: try SystemError.check("socket", subject) { Glibc.socket(domain, Int32(type.rawValue) | flags, number) })
  }

  public borrowing func setOption<Value: BitwiseCopyable>(
    _ level: Int32, _ name: Int32, _ value: Value, _ call: StaticString, about subject: String = ""
  ) throws(SystemError) {
    let number = rawValue
    try SystemError.check(call, subject) {
      withUnsafeBytes(of: value) { setsockopt(number, level, name, $0.baseAddress, socklen_t($0.count)) }
    }
  }

  /// Ties the socket to one interface (SO_BINDTODEVICE).
  public borrowing func bind(toInterface name: String) throws(SystemError) {
    let number = rawValue
    try SystemError.check("setsockopt SO_BINDTODEVICE", name) {
      name.withCString { setsockopt(number, SOL_SOCKET, SO_BINDTODEVICE, $0, socklen_t(name.utf8.count + 1)) }
    }
  }

  /// Asks for a receive buffer of that many bytes, past `net.core.rmem_max` where the process may.
  public borrowing func setReceiveBuffer(bytes: Int32) {
    var size = bytes
    let length = socklen_t(MemoryLayout<Int32>.size)
    if setsockopt(rawValue, SOL_SOCKET, SO_RCVBUFFORCE, &size, length) == 0 { return }
    // Without CAP_NET_ADMIN the kernel gives what it allows; a smaller buffer is no reason to fail.
    _ = setsockopt(rawValue, SOL_SOCKET, SO_RCVBUF, &size, length)
  }
}
