import Basis

/// Keeps a log readable, and small, while something goes wrong over and over.
///
/// The first lines of a cause are written at once. What follows is counted, and said in one line with the last of it at the end of a
/// window, which doubles as long as the cause goes on. When the cause has been quiet for a while the window ends early: what was said last
/// is how it is now, and nobody should have to wait ten minutes for it. Over all causes there is a budget of bytes, so that no number of causes fills a disk: with the
/// standard limits an hour of anything takes less than 1 MB.
struct LineFolder {
  struct Limits: Sendable {
    /// Of one cause, before lines are folded.
    var linesAtOnce = 3
    var window = Duration.seconds(10)
    var longestWindow = Duration.seconds(600)
    /// A window ends when its cause has been silent for so long.
    var quiet = Duration.seconds(30)
    /// Causes that are told apart at a time; the lines of further ones count as one cause.
    var causes = 1024
    /// What may be written at once, in bytes, and how much more a second.
    var burst = 256 * 1024
    var bytesPerSecond = 128
  }

  struct Line: Sendable, Hashable {
    var level: LogLevel
    var text: String
    /// What lines have in common that say the same; nil: all that is not digits.
    var cause: String?
  }

  private struct Cause {
    let key: String
    var written = 1
    var held = 0
    var last: Line
    var opened: Instant
    var window: Duration
    /// When the last line came.
    var heard: Instant

    /// When what is held is said, at the latest.
    func end(_ quiet: Duration) -> Instant { held > 0 ? min(opened + window, heard + quiet) : opened + window }
  }

  private let limits: Limits
  /// By key; the windows' ends are looked through only when one is due.
  private var causes: [String: Cause] = [:]
  /// The end of the earliest window, or earlier.
  private(set) var deadline: Instant?
  private var budget: Int
  private var refilled: Instant?
  private var leftOut = 0

  init(_ limits: Limits = Limits()) {
    self.limits = limits
    budget = limits.burst
  }

  /// Takes a line; gives it back if it is to be written now.
  mutating func admit(_ line: Line, at now: Instant, _ write: (LogLevel, String) -> Void) {
    var key = line.cause ?? String(String.UnicodeScalarView(line.text.unicodeScalars.filter { !(48...57 ~= $0.value) }))
    if causes[key] == nil, causes.count >= limits.causes { key = "" }
    guard var cause = causes[key] else {
      let cause = Cause(key: key, last: line, opened: now, window: limits.window, heard: now)
      causes[key] = cause
      deadline = earlier(deadline, cause.end(limits.quiet))
      put(line.level, line.text, at: now, write)
      return
    }
    if cause.held == 0, cause.written < limits.linesAtOnce {
      cause.written += 1
      causes[key] = cause
      put(line.level, line.text, at: now, write)
      return
    }
    cause.held += 1
    cause.last = line
    cause.heard = now
    causes[key] = cause
    deadline = earlier(deadline, cause.end(limits.quiet))
  }

  /// Writes what was held where a window is over.
  /// - Parameter isLast: nothing will follow, so all windows are.
  mutating func expire(at now: Instant, isLast: Bool = false, _ write: (LogLevel, String) -> Void) {
    defer { sayWhatWasLeftOut(at: now, isLast: isLast, write) }
    guard isLast || deadline.map({ $0 <= now }) ?? false else { return }
    // In the order in which they began, so that the log reads the same however the keys are stored.
    for cause in causes.values.filter({ isLast || $0.end(limits.quiet) <= now }).sorted(by: {
      ($0.opened, $0.key) < ($1.opened, $1.key)
    }) {
      guard cause.held > 0 else {
        causes[cause.key] = nil
        continue
      }
      let text =
        cause.held == 1
        ? cause.last.text
        : "… and \(cause.held) more like it in \((now - cause.opened).words), the last: \(cause.last.text)"
      // Where there is no room, what is held is said at the next end: it is still how things are.
      let isSaid = put(cause.last.level, text, at: now, write)
      var next = cause
      if isSaid { next.held = 0 }
      next.written = limits.linesAtOnce
      next.opened = now
      next.heard = now
      next.window = min(cause.window * 2, limits.longestWindow)
      causes[cause.key] = next
    }
    deadline = causes.values.map { $0.end(limits.quiet) }.min()
  }

  /// False where the budget did not suffice.
  @discardableResult
  private mutating func put(
    _ level: LogLevel, _ text: String, at now: Instant, _ write: (LogLevel, String) -> Void
  ) -> Bool {
    refill(at: now)
    // With the time and the level before it.
    let size = text.utf8.count + 40
    guard size <= budget else {
      leftOut += 1
      return false
    }
    budget -= size
    write(level, text)
    return true
  }

  private mutating func refill(at now: Instant) {
    let last = refilled ?? now
    let gained = (now - last).nanoseconds / 1_000_000 * Int64(limits.bytesPerSecond) / 1000
    guard gained > 0 || refilled == nil else { return }
    budget = min(limits.burst, budget + Int(clamping: gained))
    refilled = now
  }

  private mutating func sayWhatWasLeftOut(at now: Instant, isLast: Bool, _ write: (LogLevel, String) -> Void) {
    guard leftOut > 0 else { return }
    refill(at: now)
    // Not before there is room for more than this line, or each would be followed by another.
    guard budget >= min(4096, limits.burst) || isLast else { return }
    let text = "\(leftOut) lines were left out: there were more than the log may take"
    budget -= min(budget, text.utf8.count + 40)
    leftOut = 0
    write(.warning, text)
  }
}
