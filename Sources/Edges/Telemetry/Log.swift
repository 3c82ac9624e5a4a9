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
    let forJournal = Self.isJournal
    thread = try Thread.start(named: "roost-log") {
      var refused: UInt64 = 0
      var isEnding = false
      // Nobody waits for a reader that has just let a line wait in vain.
      var patience = Self.patience
      func put(_ level: LogLevel, _ time: WallTime, _ text: String) {
        patience = Self.write(level, time, text, forJournal, patience) ? Self.patience : 0
      }
      while !isEnding {
        Self.wait(for: jobs)
        jobs.drain { job in
          switch job {
          case .line(let level, let time, let text): put(level, time, text)
          case .work(let body): body()
          case .end: isEnding = true
          }
        }
        if jobs.refused > refused {
          put(.warning, Clock.wall(), "\(jobs.refused - refused) lines were dropped")
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

  /// False where the line was lost.
  private static func write(
    _ level: LogLevel, _ time: WallTime, _ text: String, _ forJournal: Bool, _ patience: Int32
  ) -> Bool {
    let line = forJournal ? "<\(level.rawValue)>\(text)\n" : "\(time) \(level.word) \(text)\n"
    return put(Array(line.utf8), patience)
  }

  /// How long a line waits for whoever reads standard error. Behind that it is lost: a reader that has stopped must not stop
  /// reports, or the end of the process.
  private static let patience: Int32 = 200  // milliseconds

  /// Writes in pieces that a pipe takes whole (PIPE_BUF), each only when the kernel says that it will not block.
  private static func put(_ bytes: [UInt8], _ patience: Int32) -> Bool {
    var rest = bytes[...]
    while !rest.isEmpty {
      var ready = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
      guard poll(&ready, 1, patience) == 1 else { return false }
      let piece = rest.prefix(4096)
      let count = piece.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
      if count < 0 {
        if errno == EINTR { continue }
        return false
      }
      rest = rest.dropFirst(count)
    }
    return true
  }

  /// Whether standard error is the journal's: systemd says which device and inode it made (systemd.exec(5)), and a variable that was
  /// merely inherited names another.
  private static var isJournal: Bool {
    guard let stream = getenv("JOURNAL_STREAM") else { return false }
    var status = stat()
    guard fstat(STDERR_FILENO, &status) == 0 else { return false }
    return String(cString: stream) == "\(status.st_dev):\(status.st_ino)"
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
