import CLinux
import Glibc

/// A network namespace, kept alive by a descriptor. Threads enter it one by one; a thread that did should end there.
public final class NetworkNamespace: Sendable {
  private let file: Descriptor

  /// For `ip link set … netns /proc/PID/fd/N`.
  public var descriptor: Int32 { file.rawValue }

  private init(_ file: consuming Descriptor) { self.file = file }

  /// The calling thread's.
  public static func current() throws(SystemError) -> NetworkNamespace { try open("/proc/thread-self/ns/net") }

  /// One with a name, as `ip netns add` makes.
  public static func named(_ name: String) throws(SystemError) -> NetworkNamespace { try open("/run/netns/\(name)") }

  public static func open(_ path: String) throws(SystemError) -> NetworkNamespace {
    NetworkNamespace(
      Descriptor(owning: try SystemError.check("open", path) { Glibc.open(path, O_RDONLY | O_CLOEXEC) }))
  }

  /// Makes a fresh one, with nothing but a loopback interface that is down, and moves the calling thread into it.
  public static func enterNew() throws(SystemError) -> NetworkNamespace {
    try SystemError.check("unshare CLONE_NEWNET") { clinux_network_unshare() }
    return try current()
  }

  /// Moves the calling thread into it.
  public func enter() throws(SystemError) {
    let number = descriptor
    try SystemError.check("setns", "a network namespace") { clinux_network_enter(number) }
  }
}
