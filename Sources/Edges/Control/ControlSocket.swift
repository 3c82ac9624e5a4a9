import CLinux
import Glibc
import Linux

/// The listening socket and its name in the file system.
///
/// Those who start at once take turns by a lock on the folder, so that none removes the name that another has just bound. The mode is set
/// on the socket before it is bound (Linux gives it to the name), so there is no moment at which others may connect, and no umask
/// that other threads would feel.
struct ControlSocket: ~Copyable {
  let descriptor: Descriptor
  let path: String
  private let identity: Identity

  private struct Identity: Equatable {
    var device: dev_t
    var inode: ino_t
  }

  init(path: String, backlog: Int32 = 128) throws(ControlError) {
    let folder = UnixSocket.split(path).folder
    // Everyone may look for the socket; only its owner may open it.
    if mkdir(folder, 0o755) != 0, errno != EEXIST { throw .system(.last("mkdir", folder)) }
    let lock = try ControlSocket.lock(folder, for: path)
    _ = lock.rawValue  // held until the end of this function

    try ControlSocket.clear(path)
    let socket = try ControlSocket.open(path, backlog)
    guard let found = ControlSocket.identity(of: path) else { throw .system(.last("lstat", path)) }
    descriptor = socket
    self.path = path
    identity = found
  }

  /// The socket of a process before this one, which has the name already.
  init(path: String, adopting socket: consuming Descriptor) throws(ControlError) {
    let number = socket.rawValue
    var kind: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    guard getsockopt(number, SOL_SOCKET, SO_ACCEPTCONN, &kind, &length) == 0, kind == 1,
      let found = ControlSocket.identity(of: path)
    else { throw .system(SystemError(call: "adopt", code: ENOTSOCK, subject: path)) }
    // Who asks for the process behind it hears of this one (SO_PEERCRED).
    _ = Glibc.listen(number, 128)
    descriptor = socket
    self.path = path
    identity = found
  }

  private static func open(_ path: String, _ backlog: Int32) throws(ControlError) -> Descriptor {
    do throws(SystemError) {
      let socket = try Descriptor.socket(AF_UNIX, SOCK_STREAM, about: path)
      let number = socket.rawValue
      try SystemError.check("fchmod", path) { fchmod(number, 0o600) }
      let code = try UnixSocket.withAddress(path) { address, length in bind(number, address, length) == 0 ? 0 : errno }
      guard code == 0 else { throw SystemError(call: "bind", code: code, subject: path) }
      try SystemError.check("listen", path) { listen(number, backlog) }
      return socket
    } catch {
      throw .system(error)
    }
  }

  /// Removes the name, if it still is this socket's.
  borrowing func remove() {
    guard let lock = try? ControlSocket.lock(UnixSocket.split(path).folder, for: path) else { return }
    _ = lock.rawValue
    if ControlSocket.identity(of: path) == identity { unlink(path) }
  }

  /// Makes room for a new socket: removes the name that a dead daemon left, and nothing else.
  private static func clear(_ path: String) throws(ControlError) {
    var status = stat()
    guard lstat(path, &status) == 0 else {
      if errno == ENOENT { return }
      throw .system(.last("lstat", path))
    }
    guard status.st_mode & S_IFMT == S_IFSOCK else { throw .pathTaken(path: path) }
    do throws(SystemError) {
      let probe = try Descriptor.socket(AF_UNIX, SOCK_STREAM, about: path)
      let code = try UnixSocket.connect(probe, to: path)
      switch code {
      case ECONNREFUSED: try SystemError.check("unlink", path) { unlink(path) }
      case ENOENT: break
      // EAGAIN: its queue is full, so it is there, if not well.
      case 0, EAGAIN:
        let process = code == 0 ? UnixSocket.peer(of: probe.rawValue)?.process ?? 0 : 0
        throw SystemError(call: anotherRuns, code: process)
      // A datagram socket, for one.
      case EPROTOTYPE: throw SystemError(call: taken, code: code)
      default: throw SystemError(call: "connect", code: code, subject: path)
      }
    } catch {
      switch error.call {
      case anotherRuns: throw .anotherRuns(path: path, process: error.code)
      case taken: throw .pathTaken(path: path)
      default: throw .system(error)
      }
    }
  }

  private static let anotherRuns = "another runs"
  private static let taken = "taken"

  private static func lock(_ folder: String, for path: String) throws(ControlError) -> Descriptor {
    let number = Glibc.open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard number >= 0 else { throw .system(.last("open", folder)) }
    let descriptor = Descriptor(owning: number)
    // Anyone who may read the folder may lock it, so wait for others no longer than their start can take.
    for _ in 0..<200 {
      if flock(number, LOCK_EX | LOCK_NB) == 0 { return descriptor }
      guard errno == EWOULDBLOCK || errno == EINTR else { throw .system(.last("flock", folder)) }
      usleep(10_000)
    }
    throw .folderBusy(path: path)
  }

  private static func identity(of path: String) -> Identity? {
    var status = stat()
    guard lstat(path, &status) == 0 else { return nil }
    return Identity(device: status.st_dev, inode: status.st_ino)
  }
}
