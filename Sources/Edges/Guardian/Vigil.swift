import Basis

/// When silence is death: the guardian's judgement of the loop, as a value.
///
/// Its own lateness is no fault of the loop's. A guardian that wakes up late (the machine was busy, or stood still as a whole) gives the
/// loop as much time again as it was late itself, up to the full patience; but not for ever, for on a machine that is always late
/// somebody must decide.
struct Vigil: Sendable {
  enum Verdict: Sendable, Hashable {
    case alive
    /// Look again then.
    case waiting(until: Instant)
    case silent(since: Instant)
  }

  /// Silence before this doesn't count.
  private var forgiven: Instant
  private var extensions = 0
  private var lastBeat: Instant?
  private static let mostExtensions = 4

  init(from start: Instant) { forgiven = start }

  /// From when the loop counts as silent.
  func silence(since beat: Instant) -> Instant { max(beat, forgiven) }

  /// Silence so far is forgiven.
  mutating func begin(at now: Instant) { forgiven = now }

  /// - Parameters:
  ///   - planned: when the guardian wanted to wake up.
  ///   - patience: of the most impatient VIP that is owned.
  mutating func judge(beat: Instant, patience: Duration, planned: Instant, at now: Instant) -> Verdict {
    if lastBeat != beat {
      lastBeat = beat
      extensions = 0
    }
    let since = silence(since: beat)
    guard now - since >= patience else { return .alive }
    let late = now - planned
    guard late > patience / 10, extensions < Self.mostExtensions else { return .silent(since: since) }
    extensions += 1
    let until = now + min(late, patience)
    forgiven = max(forgiven, until - patience)
    return .waiting(until: until)
  }
}
