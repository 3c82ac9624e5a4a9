import Basis
import CLinux
import Glibc
import Linux

/// The daemon as its guardian sees it: a descriptor that stands for this very process, however its number is used later.
final class WatchedProcess: Sendable {
  private let handle: Descriptor
  let pid: Int32
  /// Tied while it is stopped from here.
  let lifeline: Lifeline

  init(pid: Int32, handle: consuming Descriptor, lifeline: Lifeline) {
    self.pid = pid
    self.handle = handle
    self.lifeline = lifeline
  }

  /// Readable when the whole process is dead: none of its threads will do anything any more.
  var descriptor: Int32 { handle.rawValue }

  var isDead: Bool {
    var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return poll(&entry, 1, 0) > 0
  }

  func signal(_ number: Int32) { _ = clinux_pidfd_signal(descriptor, number) }

  /// The third field of /proc/PID/task/TID/stat (proc(5)); nil where there is no such thread.
  func state(ofThread thread: Int32) -> UInt8? {
    guard let line = Self.read("/proc/\(pid)/task/\(thread)/stat", capacity: 256) else { return nil }
    // The name before it is in brackets and may hold anything, brackets too.
    guard let end = line.lastIndex(of: UInt8(ascii: ")")), end + 2 < line.count else { return nil }
    return line[end + 2]
  }

  /// Every thread stands still, or the time is up: one that waits in the kernel, for the lock of the network configuration for example,
  /// stops only when it returns.
  func stop(_ thread: Int32, within limit: Duration) {
    signal(SIGSTOP)
    let end = OwnershipRecord.now() + limit
    while OwnershipRecord.now() < end {
      guard let state = state(ofThread: thread), !Self.standsStill(state) else { return }
      usleep(20)
    }
  }

  /// Stopped, traced, dead.
  static func standsStill(_ state: UInt8) -> Bool { "TtZXx".utf8.contains(state) }

  static func read(_ path: String, capacity: Int) -> [UInt8]? {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    return [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
      count = max(0, Glibc.read(file, buffer.baseAddress, buffer.count))
    }
  }
}
