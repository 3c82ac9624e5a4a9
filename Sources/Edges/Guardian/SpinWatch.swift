import Basis
import CLinux
import Glibc
import Linux

/// A thread under SCHED_FIFO that never sleeps would take a processor away from everything else. This looks, a few times a second, how
/// much processor time the loop used, and takes its priority away when it used much without a single pause.
///
/// The kernel's own means, RLIMIT_RTTIME, kills the process instead, and with it a VIP that was well.
struct SpinWatch {
  static let interval = Duration.milliseconds(50)
  static let limit = Duration.milliseconds(200)

  private let folder: String
  private let thread: Int32
  private var last: (awake: Duration, at: Instant)?
  /// When it began to seem restless: its processor time, and its pauses, then.
  private var restless: (burnt: Duration, pauses: UInt64)?

  init(process: Int32, thread: Int32) {
    folder = "/proc/\(process)/task/\(thread)"
    self.thread = thread
  }

  /// Gives what the loop burnt where that was too much, and it is demoted.
  mutating func look(at now: Instant) -> Duration? {
    if let last, now - last.at < Self.interval { return nil }
    guard clinux_thread_policy(thread) == Int32(SCHED_FIFO), let (burnt, awake) = times else {
      last = nil
      restless = nil
      return nil
    }
    defer { last = (awake, now) }
    // Cheap first: who neither ran nor waited for a processor for a tenth of the time has slept.
    guard let last, (awake - last.awake) * 10 > (now - last.at) * 9 else {
      restless = nil
      return nil
    }
    guard let pauses else { return nil }
    guard let begun = restless, begun.pauses == pauses else {
      restless = (burnt, pauses)
      return nil
    }
    let since = burnt - begun.burnt
    guard since > Self.limit, clinux_demote_thread(thread) == 0 else { return nil }
    return since
  }

  /// On a processor, and that with the time in which it waited for one: the first two numbers of schedstat, nanoseconds.
  private var times: (burnt: Duration, awake: Duration)? {
    guard let text = WatchedProcess.read("\(folder)/schedstat", capacity: 128) else { return nil }
    let numbers = text.split(separator: UInt8(ascii: " ")).prefix(2).compactMap {
      Int64(String(decoding: $0, as: UTF8.self))
    }
    guard numbers.count == 2 else { return nil }
    return (.nanoseconds(numbers[0]), .nanoseconds(numbers[0]) + .nanoseconds(numbers[1]))
  }

  /// How often it went to sleep by itself.
  private var pauses: UInt64? {
    guard let text = WatchedProcess.read("\(folder)/status", capacity: 4096) else { return nil }
    let name = Array("\nvoluntary_ctxt_switches:\t".utf8)
    guard let at = text.indices.first(where: { text[$0...].starts(with: name) }) else { return nil }
    return UInt64(String(decoding: text[(at + name.count)...].prefix { 48...57 ~= $0 }, as: UTF8.self))
  }
}
