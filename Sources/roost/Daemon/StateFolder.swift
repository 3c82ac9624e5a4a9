import Glibc
import Linux

/// The folder that belongs to one running daemon: `daemon.pid`, locked for as long as the daemon lives, and `guardian.pid`.
final class StateFolder: Sendable {
  let path: String
  private let lock: LockedFile
  /// For a process that takes this one's place: the lock is on what both have open.
  var descriptor: Int32 { lock.descriptor }

  /// The folder of another process, which goes on with it until `claim`.
  init(_ path: String, adopting lock: consuming Descriptor) {
    self.path = path
    self.lock = LockedFile(Self.daemonFile(in: path), adopting: lock)
  }

  /// From now on this process is the one that is named in it.
  func claim() { lock.sign() }

  /// The lock is another process's alone from now on, and goes with that one.
  func cede() { lock.cede() }

  /// Makes the folder where it is missing, for this user alone: nobody else has anything to look for in it, or to lock.
  init(_ path: String) throws(StateFolderError) {
    self.path = path
    try Self.makeFolders(path)
    do throws(LockedFile.Failure) {
      lock = try LockedFile(Self.daemonFile(in: path))
    } catch {
      switch error {
      case .held(let pid): throw .inUse(path: path, pid: pid)
      case .system(let error): throw .system(error)
      }
    }
    // The lock is what counts; the number in it is for people. A full disk must not keep a node from starting.
    claim()
  }

  private static func daemonFile(in path: String) -> String { path + "/daemon.pid" }

  /// The guardian's, locked for as long as it lives.
  var guardianFile: String { path + "/guardian.pid" }

  /// What may have to be removed after a crash, by `roost release` too.
  var journalFile: String { Self.journalFile(in: path) }
  static func journalFile(in path: String) -> String { path + "/addresses.json" }

  /// The process that holds the folder now, 0 where it is not known; nil where no daemon does.
  static func holder(of path: String) -> Int32? {
    let (isHeld, process) = LockedFile.isHeld(daemonFile(in: path))
    return isHeld ? process ?? 0 : nil
  }

  /// Polite end: the pid file goes; the folder stays.
  func release() {
    lock.remove()
    lock.cede()
  }

  private static func makeFolders(_ path: String) throws(StateFolderError) {
    var partial = path.hasPrefix("/") ? "" : "."
    let parts = path.split(separator: "/")
    for (index, part) in parts.enumerated() {
      partial += "/\(part)"
      let mode: mode_t = index == parts.count - 1 ? 0o700 : 0o755
      if mkdir(partial, mode) != 0, errno != EEXIST { throw .system(.last("mkdir", partial)) }
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
