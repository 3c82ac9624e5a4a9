import CLinux
import Glibc
import Linux

/// One daemon in a network namespace: a second one would take the first one's addresses for leftovers of an earlier life.
///
/// A name in the abstract space of unix sockets belongs to one network namespace, is held by one process, and goes with it (unix(7)).
final class NamespaceLock: Sendable {
  private static let name = Array("\0roost daemon".utf8)
  private let socket: Descriptor
  /// For a process that takes this one's place.
  var descriptor: Int32 { socket.rawValue }

  enum Failure: Error, CustomStringConvertible {
    case held(by: Int32?)
    case system(SystemError)

    var description: String {
      switch self {
      case .held(let pid):
        "another roost\(pid.map { " (pid \($0))" } ?? "") runs in this network namespace: stop it first"
      case .system(let error): error.description
      }
    }
  }

  /// Another process's, which has the name for both.
  init(adopting socket: consuming Descriptor) { self.socket = socket }

  /// From now on this process is the one that is named to others.
  func name() { _ = listen(socket.rawValue, 1) }

  /// The name is another process's alone from now on, and goes with that one.
  func cede() { socket.vacate() }

  init() throws(Failure) {
    do throws(SystemError) {
      socket = try Descriptor.socket(AF_UNIX, SOCK_STREAM, about: "the daemon's name")
    } catch {
      throw .system(error)
    }
    guard Self.withName({ bind(socket.rawValue, $0, $1) }) == 0, listen(socket.rawValue, 1) == 0 else {
      if errno == EADDRINUSE { throw .held(by: Self.holder()) }
      throw .system(.last("bind", "the daemon's name"))
    }
  }

  /// The process that has the name now.
  private static func holder() -> Int32? {
    guard let socket = try? Descriptor.socket(AF_UNIX, SOCK_STREAM) else { return nil }
    guard withName({ connect(socket.rawValue, $0, $1) }) == 0 else { return nil }
    var (process, user, group) = (Int32(0), UInt32(0), UInt32(0))
    return clinux_peer_credentials(socket.rawValue, &process, &user, &group) == 0 ? process : nil
  }

  private static func withName(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
    let length = socklen_t(MemoryLayout<sa_family_t>.size + name.count)
    return withUnsafePointer(to: address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
    }
  }
}
