import CLinux
import Glibc
import Linux

/// What server and client need of stream sockets with a path.
enum UnixSocket {
  /// Calls `body` with the address of that path. A path too long for an address (107 bytes) is reached through its folder's descriptor.
  static func withAddress<Result>(
    _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
  ) throws(SystemError) -> Result {
    var address = sockaddr_un()
    let capacity = MemoryLayout.size(ofValue: address.sun_path)
    guard path.utf8.count >= capacity else { return fill(&address, path, body) }

    let (folder, name) = split(path)
    let descriptor = Descriptor(owning: try SystemError.check("open", folder) { clinux_open_folder(folder) })
    let short = "/proc/self/fd/\(descriptor.rawValue)/\(name)"
    guard short.utf8.count < capacity else { throw SystemError(call: "bind", code: ENAMETOOLONG, subject: path) }
    return fill(&address, short, body)
  }

  /// The folder and the last part of a path.
  static func split(_ path: String) -> (folder: String, name: String) {
    guard let slash = path.lastIndex(of: "/") else { return (".", path) }
    let folder = path[..<slash]
    return (folder.isEmpty ? "/" : String(folder), String(path[path.index(after: slash)...]))
  }

  static func peer(of descriptor: Int32) -> PeerCredentials? {
    var (process, user, group) = (Int32(0), UInt32(0), UInt32(0))
    guard clinux_peer_credentials(descriptor, &process, &user, &group) == 0 else { return nil }
    return PeerCredentials(process: process, user: user, group: group)
  }

  /// Connects without waiting. Returns 0 or an errno.
  static func connect(_ descriptor: borrowing Descriptor, to path: String) throws(SystemError) -> Int32 {
    let number = descriptor.rawValue
    return try withAddress(path) { address, length in
      while Glibc.connect(number, address, length) != 0 {
        if errno != EINTR { return errno }
      }
      return 0
    }
  }

  private static func fill<Result>(
    _ address: inout sockaddr_un, _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
  ) -> Result {
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    return withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
  }
}
