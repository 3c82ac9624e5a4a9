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

  /// Stops the process, unless a person has: what is stopped already stays so, and is not this one's to continue.
  ///
  /// One that is traced (state t) stands still as well, but goes on when its debugger says so, or leaves: it is stopped like one that runs. The
  /// stop waits until then, and `letGo` takes it back; without that, the process would stand still for ever behind the debugger.
  /// - Returns: whether SIGSTOP was sent, so that `letGo` has to follow.
  func hold(_ thread: Int32, within limit: Duration) -> Bool {
    guard state(ofThread: thread) != Self.stopped else { return false }
    // Before the signal, for this process may die behind it.
    lifeline.tie()
    // Tying takes a moment, in which a person may have stopped it.
    guard state(ofThread: thread) != Self.stopped else {
      lifeline.untie()
      return false
    }
    stop(thread, within: limit)
    return true
  }

  /// What `hold` began ends.
  func letGo() {
    signal(SIGCONT)
    lifeline.untie()
  }

  /// Stopped by a signal.
  private static let stopped = UInt8(ascii: "T")

  /// Every thread stands still, or the time is up: one that waits in the kernel, for the lock of the network configuration for example,
  /// stops only when it returns.
  private func stop(_ thread: Int32, within limit: Duration) {
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
