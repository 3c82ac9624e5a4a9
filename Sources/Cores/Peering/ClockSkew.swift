import Basis

/// By how much a peer's clock is ahead of this node's, as NTP finds it out (RFC 5905 §8): the peer says its time of day between a question
/// and its answer, so the truth is at most half a round trip from the middle of the two.
///
/// Of the last answers the one with the shortest round trip counts, as in NTP's clock filter (§10): what waited on the way says less.
public struct ClockSkew: Sendable, Hashable {
  public struct Estimate: Sendable, Hashable {
    /// The peer's clock less ours.
    public var offset: Duration
    /// The truth is no farther from `offset` than this.
    public var error: Duration

    public init(offset: Duration, error: Duration) {
      self.offset = offset
      self.error = error
    }
  }

  /// How many answers are compared: as many seconds, with the standard heartbeat. A clock that is set is seen so late at most.
  static let window = 8

  private var samples: [Estimate] = []
  private var oldest = 0

  public init() {}

  /// Nil before the first answer.
  public var estimate: Estimate? { samples.min { $0.error < $1.error } }

  /// An answer has come.
  /// - Parameters:
  ///   - theirs: the peer's time of day in it, in nanoseconds since 1970. May be anything.
  ///   - ours: this node's when it came, likewise.
  ///   - roundTrip: since the question, by a clock that nobody sets.
  public mutating func answered(theirs: Int64, ours: Int64, roundTrip: Duration) {
    let half = max(0, roundTrip.nanoseconds) / 2
    let (middle, early) = ours.subtractingReportingOverflow(half)
    let (offset, far) = theirs.subtractingReportingOverflow(early ? .min : middle)
    // Centuries: whatever it means, it is too much.
    let held = far ? (theirs < 0 ? -Int64.max : Int64.max) : max(offset, -Int64.max)
    let sample = Estimate(offset: .nanoseconds(held), error: .nanoseconds(half))
    if samples.count < Self.window {
      samples.append(sample)
    } else {
      samples[oldest] = sample
      oldest = (oldest + 1) % Self.window
    }
  }
}
