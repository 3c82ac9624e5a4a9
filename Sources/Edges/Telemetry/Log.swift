import Basis
import Glibc
import Linux

/// Lines for people on standard error, and other slow work that must not be done on the loop: both on one thread, in order.
///
/// Lines of one cause that repeat are folded (`LineFolder`). Under systemd (`JOURNAL_STREAM` is set) a line starts with its level, "<5>", and has no time, because the journal adds one.
public final class Log: Sendable {
  private enum Job: Sendable {
    case line(LineFolder.Line, WallTime)
    /// A line that is made on this thread.
    case composed(WallTime, @Sendable () -> LineFolder.Line?)
    case work(@Sendable () -> Void)
    case later(Instant, @Sendable () -> Void)
    case end
  }

  /// More lines than this may not wait; what is beyond is counted and said.
  static let capacity = 10_000

  private let jobs: Mailbox<Job>
  private let thread: Thread

  public convenience init() throws(SystemError) { try self.init(to: STDERR_FILENO, isJournal: Self.isJournal) }

  /// - Parameter descriptor: where lines go; it must stay open until `close` has returned.
  init(
    to descriptor: Int32, isJournal: Bool = false, limits: LineFolder.Limits = LineFolder.Limits()
  ) throws(SystemError) {
    let jobs = try Mailbox<Job>(capacity: Self.capacity)
    self.jobs = jobs
    thread = try Thread.start(named: "roost-log") {
      var writer = Writer(descriptor: descriptor, isJournal: isJournal)
      Self.run(jobs, LineFolder(limits)) { writer.write($0, $1, $2) }
    }
  }

  private static func run(
    _ jobs: Mailbox<Job>, _ folder: LineFolder, _ put: (LogLevel, WallTime, String) -> Void
  ) {
    var folder = folder
    var timers: [(due: Instant, body: @Sendable () -> Void)] = []
    var refused: UInt64 = 0
    var isEnding = false
    while !isEnding {
      wait(for: jobs, until: earlier(folder.deadline, timers.first?.due))
      jobs.drain { job in
        switch job {
        case .line(let line, let time): folder.admit(line, at: Clock.now()) { put($0, time, $1) }
        case .composed(let time, let make):
          if let line = make() { folder.admit(line, at: Clock.now()) { put($0, time, $1) } }
        case .work(let body): body()
        case .later(let due, let body):
          timers.insert((due, body), at: timers.firstIndex { $0.due > due } ?? timers.count)
        case .end: isEnding = true
        }
      }
      let now = Clock.now()
      while let timer = timers.first, timer.due <= now {
        timers.removeFirst()
        timer.body()
      }
      folder.expire(at: now, isLast: isEnding) { put($0, Clock.wall(), $1) }
      if jobs.refused > refused {
        put(.warning, Clock.wall(), "\(jobs.refused - refused) lines were dropped")
        refused = jobs.refused
      }
    }
  }

  /// - Parameter cause: what lines that say the same have in common, where that is not the text without its digits.
  public func write(_ level: LogLevel, _ text: String, cause: String? = nil) {
    jobs.send(.line(LineFolder.Line(level: level, text: text, cause: cause), Clock.wall()))
  }

  /// Writes a line that is made on the log's thread, with the time of now. False where too much waits already.
  @discardableResult
  func compose(_ make: @escaping @Sendable () -> LineFolder.Line?) -> Bool {
    jobs.send(.composed(Clock.wall(), make))
  }

  /// Has `body` run on the log's thread, after what was written before. False where too much waits already.
  @discardableResult
  public func perform(_ body: @escaping @Sendable () -> Void) -> Bool { jobs.send(.work(body)) }

  /// Has `body` run on the log's thread at that time, or soon after; not at all where the log is closed before.
  public func perform(at due: Instant, _ body: @escaping @Sendable () -> Void) { jobs.send(.later(due, body)) }

  /// Writes what is waiting, and ends the thread.
  public func close() {
    while !jobs.send(.end) { usleep(1000) }
    thread.join()
  }

  private static func wait(for jobs: Mailbox<Job>, until due: Instant?) {
    var ready = pollfd(fd: jobs.waker.descriptor, events: Int16(POLLIN), revents: 0)
    // Rounded up, so that the last millisecond is not spun through.
    let timeout = due.map { Int32(clamping: max(0, ($0 - Clock.now()).nanoseconds / 1_000_000 + 1)) } ?? -1
    if poll(&ready, 1, timeout) == 1 { jobs.waker.acknowledge() }
  }

  /// Where lines go.
  private struct Writer {
    let descriptor: Int32
    let isJournal: Bool
    /// Nobody waits for a reader that has just let a line wait in vain.
    private var patience = Writer.longestPatience

    /// How long a line waits for whoever reads. Behind that it is lost: a reader that has stopped must not stop reports, or the end of
    /// the process.
    private static let longestPatience: Int32 = 200  // milliseconds

    init(descriptor: Int32, isJournal: Bool) {
      self.descriptor = descriptor
      self.isJournal = isJournal
    }

    mutating func write(_ level: LogLevel, _ time: WallTime, _ text: String) {
      let line = isJournal ? "<\(level.rawValue)>\(text)\n" : "\(time) \(level.word) \(text)\n"
      patience = put(Array(line.utf8)) ? Writer.longestPatience : 0
    }

    /// Writes in pieces that a pipe takes whole (PIPE_BUF), each only when the kernel says that it will not block. False where the line
    /// was lost.
    private func put(_ bytes: [UInt8]) -> Bool {
      var rest = bytes[...]
      while !rest.isEmpty {
        var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        guard poll(&ready, 1, patience) == 1 else { return false }
        let piece = rest.prefix(4096)
        let count = piece.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        if count < 0 {
          if errno == EINTR { continue }
          return false
        }
        rest = rest.dropFirst(count)
      }
      return true
    }
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
  public var name: String {
    switch self {
    case .error: "error"
    case .warning: "warning"
    case .notice: "notice"
    case .info: "info"
    }
  }

  /// Padded, so that lines align.
  var word: String { name.padding(to: 7) }
}

extension String {
  /// With spaces behind it, so that it has so many characters at least.
  fileprivate func padding(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }
}
