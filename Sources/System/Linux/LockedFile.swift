import CLinux
import Glibc

/// A file that one process holds at a time, with its number in it for people.
///
/// The lock (flock) is what counts: the kernel gives it back with the process. Whoever can open a file can lock it, even for reading, so
/// nobody else may: 0600, and an older file is made so.
public final class LockedFile: Sendable {
  public let path: String
  private let file: Descriptor
  /// For a process that takes this one's place: the lock is on what both have open.
  public var descriptor: Int32 { file.rawValue }

  public enum Failure: Error, Sendable {
    /// The process, where it is known.
    case held(by: Int32?)
    case system(SystemError)
  }

  /// Another process's, which has the lock for both.
  public init(_ path: String, adopting descriptor: consuming Descriptor) {
    self.path = path
    file = descriptor
  }

  /// Made and locked. One that was removed or replaced between its opening and its locking is another's that just ended.
  public init(_ path: String) throws(Failure) {
    self.path = path
    while true {
      let opened = Descriptor(owning: open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600))
      guard opened.rawValue >= 0 else { throw .system(.last("open", path)) }
      guard flock(opened.rawValue, LOCK_EX | LOCK_NB) == 0 else {
        guard errno == EWOULDBLOCK else { throw .system(.last("flock", path)) }
        throw .held(by: Self.holder(of: opened.rawValue))
      }
      guard Self.leads(path, to: opened.rawValue) else { continue }
      _ = fchmod(opened.rawValue, 0o600)
      file = opened
      return
    }
  }

  /// From now on this process is the one that is named in it.
  public func sign() {
    let pid = Array("\(getpid())\n".utf8)
    // On a full disk what is there can still be written over; cut first, it could not be written again. Where nothing can be written, no
    // number is better than another's: the kernel knows who has the lock.
    let count = pwrite(descriptor, pid, pid.count, 0)
    _ = ftruncate(descriptor, off_t(max(0, count)))
  }

  /// Removes it, if the path still leads to it.
  public func remove() { if Self.leads(path, to: descriptor) { unlink(path) } }

  /// The lock is another process's alone from now on, and goes with that one; or nobody's.
  public func cede() { file.vacate() }

  // MARK: Those of others

  /// Whether somebody holds the file at the path, and who, where that is known.
  public static func isHeld(_ path: String) -> (held: Bool, by: Int32?) {
    let opened = Descriptor(owning: open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW))
    guard opened.rawValue >= 0, flock(opened.rawValue, LOCK_SH | LOCK_NB) != 0 else { return (false, nil) }
    return (true, holder(of: opened.rawValue))
  }

  /// The process that is named in it, if there is one of that number; else the one that took the lock.
  static func holder(of descriptor: Int32) -> Int32? {
    if let named = number(in: descriptor), kill(named, 0) == 0 || errno == EPERM { return named }
    return locker(of: descriptor)
  }

  public static func number(in descriptor: Int32) -> Int32? {
    var bytes = [UInt8](repeating: 0, count: 16)
    let count = pread(descriptor, &bytes, bytes.count, 0)
    guard count > 0 else { return nil }
    return Int32(String(decoding: bytes.prefix(count).prefix { 48...57 ~= $0 }, as: UTF8.self)).flatMap {
      $0 > 0 ? $0 : nil
    }
  }

  /// The process that took the lock, as the kernel tells (/proc/locks, proc(5)); it may have passed it on and ended since. Nil too where
  /// that process is not to be seen from here.
  public static func locker(of descriptor: Int32) -> Int32? {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { return nil }
    let (device, inode) = (UInt64(status.st_dev), UInt64(status.st_ino))
    let major = (device >> 8) & 0xFFF | (device >> 32) & ~0xFFF
    let minor = device & 0xFF | (device >> 12) & ~0xFF
    for line in locks().split(separator: "\n") {
      // 1: FLOCK  ADVISORY  WRITE 708 08:01:131 0 EOF
      let words = line.split(separator: " ")
      guard words.count >= 6, words[1] == "FLOCK" else { continue }
      let place = words[5].split(separator: ":")
      guard place.count == 3, UInt64(place[0], radix: 16) == major, UInt64(place[1], radix: 16) == minor,
        UInt64(place[2]) == inode, let pid = Int32(words[4]), pid > 0
      else { continue }
      return pid
    }
    return nil
  }

  private static func locks() -> String {
    let file = Descriptor(owning: open("/proc/locks", O_RDONLY | O_CLOEXEC))
    var (text, chunk): ([UInt8], [UInt8]) = ([], Array(repeating: 0, count: 16 << 10))
    while text.count < 16 << 20, case let count = read(file.rawValue, &chunk, chunk.count), count > 0 {
      text += chunk[..<count]
    }
    return String(decoding: text, as: UTF8.self)
  }

  private static func leads(_ path: String, to descriptor: Int32) -> Bool {
    var (opened, named) = (stat(), stat())
    return fstat(descriptor, &opened) == 0 && stat(path, &named) == 0 && opened.st_ino == named.st_ino
      && opened.st_dev == named.st_dev
  }
}
