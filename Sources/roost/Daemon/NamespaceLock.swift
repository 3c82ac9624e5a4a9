import CLinux
import Glibc
import Linux

/// One daemon in a network namespace: a second one would take the first one's addresses for leftovers of an earlier life.
///
/// A name in the abstract space of unix sockets belongs to one network namespace, is held by one process, and goes with it (unix(7)); it is
/// seen wherever the namespace is, in containers too. But every local user may take it, which must not keep a node from starting. So a
/// name counts where root, or this user, has it, and beside it there is a locked file in /run/roost with the namespace's number, which nobody else
/// can open. Either of both held by another daemon is enough.
final class NamespaceLock: Sendable {
  private static let name = Array("\0roost daemon".utf8)
  static let folder = "/run/roost"
  private let socket: Descriptor
  private let file: LockedFile?
  /// What a person should know, in words.
  let warning: String?

  /// For a process that takes this one's place.
  var descriptor: Int32 { socket.rawValue }
  /// The file's; nil where there is none.
  var fileDescriptor: Int32? { file?.descriptor }

  enum Failure: Error, CustomStringConvertible {
    case held(by: Int32?)
    case unprotected(String, SystemError)
    case system(SystemError)

    var description: String {
      switch self {
      case .held(let pid):
        "another roost\(pid.map { " (pid \($0))" } ?? "") runs in this network namespace: stop it first"
      case .unprotected(let who, let error):
        "\(who), and no lock can be had in its place: \(error); end that process, or make \(NamespaceLock.folder) writable"
      case .system(let error): error.description
      }
    }
  }

  /// Another process's, which has both; an earlier version had no file.
  init(adopting socket: consuming Descriptor, file: consuming Descriptor?) {
    self.socket = socket
    if let file {
      self.file = LockedFile(Self.path, adopting: file)
    } else {
      self.file = try? Self.lockFile()
    }
    warning = nil
  }

  /// From now on this process is the one that is named to others.
  func claim() {
    _ = listen(socket.rawValue, Self.backlog)
    file?.sign()
  }

  /// Both are another process's alone from now on, and go with that one.
  func cede() {
    socket.vacate()
    file?.cede()
  }

  /// The end.
  func release() {
    file?.remove()
    cede()
  }

  init() throws(Failure) {
    var refusal: SystemError?
    do throws(LockedFile.Failure) {
      file = try Self.lockFile()
      file?.sign()
    } catch {
      switch error {
      case .held(let pid): throw .held(by: pid)
      case .system(let error):
        file = nil
        refusal = error
      }
    }
    do throws(SystemError) {
      socket = try Descriptor.socket(AF_UNIX, SOCK_STREAM, about: "the daemon's name")
    } catch {
      throw .system(error)
    }
    let number = socket.rawValue
    if Self.withName({ bind(number, $0, $1) }) == 0, listen(number, Self.backlog) == 0 {
      warning = nil
      return
    }
    guard errno == EADDRINUSE else { throw .system(.last("bind", "the daemon's name")) }
    let holder = Self.holder()
    if let holder, holder.user == 0 || holder.user == geteuid() { throw .held(by: holder.process) }
    let who =
      if let holder {
        "process \(holder.process) of user \(holder.user), which is no roost, has taken the daemon's name in this network namespace"
      } else {
        "a process that does not say who it is has taken the daemon's name in this network namespace"
      }
    if let refusal { throw .unprotected(who, refusal) }
    warning = "\(who) (ss -xlp shows it); the lock \(Self.path) is used instead"
  }

  /// More than anybody who asks for the holder leaves behind: nobody accepts them.
  private static let backlog: Int32 = 64

  // MARK: The file

  private static func lockFile() throws(LockedFile.Failure) -> LockedFile {
    if mkdir(folder, 0o755) != 0, errno != EEXIST { throw .system(.last("mkdir", folder)) }
    return try LockedFile(path)
  }

  /// Named after the namespace: many can be on one machine.
  static var path: String {
    var status = stat()
    _ = stat("/proc/thread-self/ns/net", &status)
    return "\(folder)/network-\(status.st_dev)-\(status.st_ino).pid"
  }

  // MARK: The name

  /// The process that has the name now, and its user; nil where it doesn't listen, or has a full queue.
  private static func holder() -> (process: Int32, user: UInt32)? {
    guard let socket = try? Descriptor.socket(AF_UNIX, SOCK_STREAM) else { return nil }
    guard withName({ connect(socket.rawValue, $0, $1) }) == 0 else { return nil }
    var (process, user, group) = (Int32(0), UInt32(0), UInt32(0))
    guard clinux_peer_credentials(socket.rawValue, &process, &user, &group) == 0 else { return nil }
    return (process, user)
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
