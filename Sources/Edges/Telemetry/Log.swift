import Basis
import Glibc
import Linux

/// Lines for people on standard error, and other slow work that must not be done on the loop: both on one thread, in order.
///
/// Under systemd (`JOURNAL_STREAM` is set) a line starts with its level, "<5>", and has no time, because the journal adds one.
public final class Log: Sendable {
  private enum Job: Sendable {
    case line(LogLevel, WallTime, String)
    case work(@Sendable () -> Void)
    case end
  }

  /// More lines than this may not wait; what is beyond is counted and said.
  static let capacity = 10_000

  private let jobs: Mailbox<Job>
  private let thread: Thread

  public init() throws(SystemError) {
    let jobs = try Mailbox<Job>(capacity: Self.capacity)
    self.jobs = jobs
    let forJournal = getenv("JOURNAL_STREAM") != nil
    thread = try Thread.start(named: "roost-log") {
      var refused: UInt64 = 0
      var isEnding = false
      while !isEnding {
        Self.wait(for: jobs)
        jobs.drain { job in
          switch job {
          case .line(let level, let time, let text): Self.write(level, time, text, forJournal)
          case .work(let body): body()
          case .end: isEnding = true
          }
        }
        if jobs.refused > refused {
          Self.write(.warning, Clock.wall(), "\(jobs.refused - refused) lines were dropped", forJournal)
          refused = jobs.refused
        }
      }
    }
  }

  public func write(_ level: LogLevel, _ text: String) {
    jobs.send(.line(level, Clock.wall(), text))
  }

  /// Has `body` run on the log's thread, after what was written before. False where too much waits already.
  @discardableResult
  public func perform(_ body: @escaping @Sendable () -> Void) -> Bool { jobs.send(.work(body)) }

  /// Writes what is waiting, and ends the thread.
  public func close() {
    while !jobs.send(.end) { usleep(1000) }
    thread.join()
  }

  private static func wait(for jobs: Mailbox<Job>) {
    var ready = pollfd(fd: jobs.waker.descriptor, events: Int16(POLLIN), revents: 0)
    while poll(&ready, 1, -1) < 0, errno == EINTR {}
    jobs.waker.acknowledge()
  }

  private static func write(_ level: LogLevel, _ time: WallTime, _ text: String, _ forJournal: Bool) {
    let line = forJournal ? "<\(level.rawValue)>\(text)\n" : "\(time) \(level.word) \(text)\n"
    var bytes = Array(line.utf8)[...]
    while !bytes.isEmpty {
      let count = bytes.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
      if count < 0 {
        if errno == EINTR { continue }
        return  // nobody reads: a log that can't be written stops nothing
      }
      bytes = bytes.dropFirst(count)
    }
  }
}

extension LogLevel {
  /// Padded, so that lines align.
  var word: String {
    switch self {
    case .error: "error  "
    case .warning: "warning"
    case .notice: "notice "
    case .info: "info   "
    }
  }
}
