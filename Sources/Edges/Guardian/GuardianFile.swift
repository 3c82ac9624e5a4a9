import CLinux
import Glibc
import Linux

/// `guardian.pid`: locked by the guardian of the life that counts, so that there is one of it.
///
/// A guardian holds it until everything of its life is gone, and the next life's waits for that. One that is stopped or hangs never lets go, and
/// must not act when somebody wakes it up: the addresses are another life's by then. So a life that has waited long enough dismisses
/// it: takes the file's write permission away, which is a bit in an inode that the old one has open, puts a new file in its place,
/// and kills the process. A guardian looks at that bit before each deed; no disk is read for it, so a disk that hangs delays nothing.
final class GuardianFile: Sendable {
  private let file: LockedFile

  /// Waits for the lock.
  /// - Parameter waiting: called again and again meanwhile.
  init?(_ path: String, unless hasEnded: () -> Bool, waiting: () -> Void) {
    while !hasEnded() {
      do throws(LockedFile.Failure) {
        file = try LockedFile(path)
        file.sign()
        return
      } catch {
        guard case .held = error else { return nil }
        waiting()
        usleep(2000)
      }
    }
    return nil
  }

  /// Another guardian has taken, or may take, this one's place.
  var isDismissed: Bool {
    var status = stat()
    return fstat(file.descriptor, &status) == 0 && status.st_mode & 0o200 == 0
  }

  func remove() { file.remove() }

  /// What became of a guardian that was in the way.
  enum Dismissal: Sendable, Hashable {
    case killed(Int32)
    /// The process is not to be seen, or it is not certain that it is a guardian. It finds out when it looks.
    case dismissed
  }

  /// Puts another guardian, one of an earlier life, out of office.
  /// - Parameter own: the guardian of this life, which is left alone.
  /// - Returns: nil where none is in the way.
  static func dismiss(_ path: String, sparing own: Int32?) -> Dismissal? {
    let opened = Descriptor(owning: open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW))
    guard opened.rawValue >= 0, flock(opened.rawValue, LOCK_SH | LOCK_NB) != 0 else { return nil }
    let (locker, named) = (LockedFile.locker(of: opened.rawValue), LockedFile.number(in: opened.rawValue))
    if let own, locker ?? named == own { return nil }
    // In this order: from the first on it does nothing more.
    _ = fchmod(opened.rawValue, 0o400)
    let new = Descriptor(owning: open(path + ".new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600))
    if new.rawValue < 0 || rename(path + ".new", path) != 0 { unlink(path) }
    if let locker, kill(locker, ifItRunsWith: nil) { return .killed(locker) }
    if let named, named != locker, kill(named, ifItRunsWith: path) { return .killed(named) }
    return .dismissed
  }

  /// - Parameter path: what it has to have among its arguments; nil for one of which the kernel says that it holds the file.
  private static func kill(_ pid: Int32, ifItRunsWith path: String?) -> Bool {
    // This very process, whatever its number is used for later. If it ended before its arguments were read, no other one gets the signal.
    let process = Descriptor(owning: clinux_pidfd_open(pid))
    guard process.rawValue >= 0, let bytes = WatchedProcess.read("/proc/\(pid)/cmdline", capacity: 8192) else {
      return false
    }
    let arguments = bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
    guard arguments.count > 1, arguments[1] == "guardian", arguments.contains("--pid-file") else { return false }
    guard path.map(arguments.contains) ?? true else { return false }
    guard clinux_pidfd_signal(process.rawValue, SIGKILL) == 0 else { return false }
    // What it has in the kernel ends first.
    var entry = pollfd(fd: process.rawValue, events: Int16(POLLIN), revents: 0)
    return poll(&entry, 1, 1000) > 0
  }
}
