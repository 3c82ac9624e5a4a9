import Basis

/// How results of a check become a state. The check itself (what is sent, what is expected) is the prober's business.
public struct Settings: Sendable, Hashable {
  /// From the start of one check to the start of the next.
  public var interval: Duration
  /// A check that has not ended by then has failed; at most `interval`.
  public var timeout: Duration
  /// Successes in a row that bring a backend up.
  public var rise: Int
  /// Failures in a row that take it down.
  public var fall: Int
  /// After a first failure of a backend that is up, the next check starts this soon.
  public var recheck: Duration
  /// The share of the interval by which each start is moved at random, 0 to 0.5: checks of many backends spread out.
  public var jitter: Double

  public init(
    interval: Duration = .seconds(1), timeout: Duration = .seconds(1), rise: Int = 2, fall: Int = 3,
    recheck: Duration = .milliseconds(100), jitter: Double = 0.1
  ) {
    self.interval = interval
    self.timeout = timeout
    self.rise = rise
    self.fall = fall
    self.recheck = recheck
    self.jitter = jitter
  }
}

/// How one check ended.
public struct CheckResult: Sendable, Hashable {
  public enum Verdict: Sendable, Hashable {
    case passed
    case failed
    /// The check could not run (no descriptor, no route from here): says nothing of the backend.
    case unknown
  }
  public var verdict: Verdict
  /// From the first packet to the verdict.
  public var latency: Duration
  /// One line for people, such as "200 OK" or "connection refused".
  public var message: String

  public init(_ verdict: Verdict, latency: Duration, message: String) {
    self.verdict = verdict
    self.latency = latency
    self.message = message
  }
}
