import Glibc
import Linux

/// The folder that belongs to one running daemon: `daemon.pid`, locked for as long as the daemon lives, and `guardian.pid`.
final class StateFolder: Sendable {
  let path: String
  private let lock: Int32
  /// For a process that takes this one's place: the lock is on what both have open.
  var descriptor: Int32 { lock }

  /// The folder of another process, which goes on with it until `claim`.
  init(_ path: String, adopting lock: consuming Descriptor) {
    self.path = path
    self.lock = lock.release()
  }

  /// From now on this process is the one that is named in it.
  func claim() {
    let pid = Array("\(getpid())\n".utf8)
    // On a full disk what is there can still be written over; cut first, it could not be written again.
    let count = pwrite(lock, pid, pid.count, 0)
    if count > 0 { _ = ftruncate(lock, off_t(count)) }
  }

  /// The lock is another process's alone from now on, and goes with that one.
  func cede() { close(lock) }

  /// Makes the folder where it is missing (mode 0755; what is secret in it has a mode of its own).
  init(_ path: String) throws(StateFolderError) {
    self.path = path
    try Self.makeFolders(path)
    let file = path + "/daemon.pid"
    let descriptor = try Self.lockedFile(file, in: path)
    lock = descriptor
    // The lock is what counts; the number in it is for people. A full disk must not keep a node from starting.
    claim()
  }

  /// The guardian's, locked for as long as it lives.
  var guardianFile: String { path + "/guardian.pid" }

  /// What may have to be removed after a crash, by `roost release` too.
  var journalFile: String { Self.journalFile(in: path) }
  static func journalFile(in path: String) -> String { path + "/addresses.json" }

  /// The process that holds the folder now; nil where no daemon does.
  static func holder(of path: String) -> Int32? {
    let file = path + "/daemon.pid"
    let descriptor = open(file, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    if flock(descriptor, LOCK_SH | LOCK_NB) == 0 { return nil }
    return read(descriptor) ?? 0
  }

  /// Polite end: the pid file goes; the folder stays.
  func release() {
    unlink(path + "/daemon.pid")
    close(lock)
  }

  /// The file of that name, locked. One that was removed between its opening and its locking is another's that just ended.
  private static func lockedFile(_ file: String, in path: String) throws(StateFolderError) -> Int32 {
    while true {
      let descriptor = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o644)
      guard descriptor >= 0 else { throw .system(.last("open", file)) }
      guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
        let owner = read(descriptor)
        close(descriptor)
        throw .inUse(path: path, pid: owner)
      }
      var (opened, named) = (stat(), stat())
      if fstat(descriptor, &opened) == 0, stat(file, &named) == 0, opened.st_ino == named.st_ino { return descriptor }
      close(descriptor)
    }
  }

  private static func read(_ descriptor: Int32) -> Int32? {
    var bytes = [UInt8](repeating: 0, count: 16)
    let count = pread(descriptor, &bytes, bytes.count, 0)
    guard count > 0 else { return nil }
    return Int32(String(decoding: bytes.prefix(count).prefix { 48...57 ~= $0 }, as: UTF8.self))
  }

  private static func makeFolders(_ path: String) throws(StateFolderError) {
    var partial = path.hasPrefix("/") ? "" : "."
    for part in path.split(separator: "/") {
      partial += "/\(part)"
      if mkdir(partial, 0o755) != 0, errno != EEXIST { throw .system(.last("mkdir", partial)) }
    }
  }
}

enum StateFolderError: Error, CustomStringConvertible {
  case inUse(path: String, pid: Int32?)
  case system(SystemError)

  var description: String {
    switch self {
    case .inUse(let path, let pid):
      "another roost\(pid.map { " (pid \($0))" } ?? "") uses the state folder \(path); "
        + "stop it, or give this one a folder of its own with --state"
    case .system(let error): error.description
    }
  }
}
