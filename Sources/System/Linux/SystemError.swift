import Glibc

/// A system call that failed: which one, on what, and why; printed with what a person can do about it.
public struct SystemError: Error, Sendable, Hashable {
  /// The call, as its manual page is named: "bind", "setsockopt SO_BINDTODEVICE".
  public var call: String
  /// The errno.
  public var code: Int32
  /// What the call was about: an address, an interface, a path; empty where the call says it all.
  public var subject: String

  public init(call: String, code: Int32, subject: String = "") {
    self.call = call
    self.code = code
    self.subject = subject
  }

  /// The failure that `errno` tells of now.
  public static func last(_ call: String, _ subject: String = "") -> SystemError {
    SystemError(call: call, code: errno, subject: subject)
  }

  /// The result of `body`, again after each EINTR; its -1 is thrown as an error.
  @discardableResult
  public static func check<Result: SignedInteger & FixedWidthInteger>(
    _ call: StaticString, _ subject: @autoclosure () -> String = "", _ body: () -> Result
  ) throws(SystemError) -> Result {
    while true {
      let result = body()
      if result != -1 { return result }
      let code = errno
      if code != EINTR { throw SystemError(call: "\(call)", code: code, subject: subject()) }
    }
  }
}

extension SystemError: CustomStringConvertible {
  public var description: String {
    let what = subject.isEmpty ? call : "\(call) \(subject)"
    let why = "\(what): \(Self.message(code))"
    guard let advice else { return why }
    return "\(why); \(advice)"
  }

  /// What the C library calls this errno.
  public static func message(_ code: Int32) -> String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { buffer in
      guard let start = buffer.baseAddress, strerror_r(code, start, buffer.count) == 0 else { return "error \(code)" }
      return String(cString: start)
    }
  }

  /// What a person can do, where the errno alone tells.
  public var advice: String? {
    switch code {
    case EACCES where call == "RTM_NEWADDR":
      "IPv6 is switched off on that interface: see sysctl net.ipv6.conf.NAME.disable_ipv6"
    case EPERM, EACCES:
      "run as root, or give the program CAP_NET_ADMIN, CAP_NET_RAW and, below port 1024, CAP_NET_BIND_SERVICE"
    case EADDRINUSE: "another program has that address and port: `ss -lntup` shows which"
    case EADDRNOTAVAIL: "the address is on no interface of this host: `ip address` shows those that are"
    case ENODEV, ENXIO: "no such interface: `ip link` shows those there are"
    case ENETDOWN: "the interface is down: `ip link set NAME up`"
    case ENETUNREACH, EHOSTUNREACH: "no route leads there: `ip route get ADDRESS` shows what the kernel thinks"
    case EMFILE: "this process has too many descriptors open: raise its limit (`ulimit -n`, LimitNOFILE=)"
    case ENFILE: "this host has too many descriptors open: raise fs.file-max"
    case ENOBUFS, ENOMEM: "the kernel is short of memory for buffers: see net.core.rmem_max and `free -m`"
    case EAFNOSUPPORT: "this kernel lacks that protocol family (ipv6.disable=1, or a module that is missing)"
    case ENOENT where call.hasPrefix("open"): "the file or its folder is missing"
    default: nil
    }
  }
}
