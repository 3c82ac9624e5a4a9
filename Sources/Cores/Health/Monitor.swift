import Basis

/// The life of one check of one backend: when to probe, and what the results say of the backend.
///
/// - **The first verdict after `.start` decides at once**, up or down: a node that starts, or a backend that was just added,
///   must not wait for `rise` or `fall` checks. From then on a change takes `rise` successes or `fall` failures in a row.
/// - **One probe is in flight at most.** Each carries a number; a result with another number than that of the probe in flight
///   belongs to an abandoned probe, and is ignored.
/// - **Two deadlines.** Whoever performs the probe ends it at `Settings.timeout` and says why. If even that answer is missing a
///   little later (`grace`), the probe counts as failed here.
/// - **A stall of this node says nothing of the backend.** When that second deadline is noticed very late, the verdict is
///   `unknown` rather than `failed`.
/// - **`unknown` changes nothing**: not the state, not a streak.
///
/// The initial probe comes after a random part of 100 ms (or of the interval, if shorter), so that many monitors that start
/// together spread out; each later one is `interval`, give or take `jitter`, behind the start of the one before. After the first
/// failure of a backend that is up the next probe comes `recheck` after that failure.
public struct Monitor: Sendable, Hashable {
  public enum State: String, Sendable, Hashable { case unknown, up, down }

  public enum Input: Sendable, Hashable {
    /// Begin. Ignored by a monitor that runs.
    case start
    /// End: nothing is known from here on, and a probe in flight is abandoned. Emits nothing.
    case stop
    /// `deadline` was reached. Harmless at any other time.
    case timer
    /// The probe of that number ended.
    case result(CheckResult, probe: UInt64)
    /// The probe in flight will not be answered: another one is made at once instead.
    case abandoned
    /// Other settings, from the next probe on; what is known of the backend stays.
    case settings(Settings)
  }

  public enum Output: Sendable, Hashable {
    /// Perform the check now; answer with `Input.result` and this number.
    case probe(UInt64)
    /// The state changed, because of this result.
    case changed(from: State, to: State, CheckResult)
  }

  public private(set) var settings: Settings
  public private(set) var state: State = .unknown
  /// When the state became what it is; nil before the first `.start`.
  public private(set) var since: Instant?
  /// When `.timer` is wanted; nil while stopped.
  public private(set) var deadline: Instant?
  /// How the last probe ended, whatever its verdict.
  public private(set) var last: CheckResult?
  /// Successes in a row, `unknown` ones left out.
  public private(set) var successes = 0
  /// Failures in a row, `unknown` ones left out.
  public private(set) var failures = 0
  /// The number of the latest probe; 0 before the first. Never starts again, so that no late result is taken for a new one.
  public private(set) var probes: UInt64 = 0

  private var started: Instant?
  private var inFlight = false
  private var random: SplitMix64

  public init(_ settings: Settings, seed: UInt64) {
    self.settings = settings
    random = SplitMix64(seed: seed)
  }

  public mutating func handle(_ input: Input, at now: Instant, _ emit: (Output) -> Void) {
    switch input {
    case .start: start(at: now)
    case .stop: stop(at: now)
    case .timer: expire(at: now, emit)
    case .result(let result, let number):
      guard inFlight, number == probes else { return }
      conclude(result, at: now, emit)
    case .abandoned:
      guard inFlight else { return }
      inFlight = false
      deadline = now
    case .settings(let settings): self.settings = settings
    }
  }

  /// Begins with what another process knew, instead of nothing. Once a probe has ended it is too late.
  public mutating func assume(_ known: State, at now: Instant) {
    guard last == nil, state == .unknown else { return }
    state = known
    since = now
  }

  /// How long behind `timeout` a result is still waited for, so that the words of whoever performed the probe win.
  public static func grace(after timeout: Duration) -> Duration { min(timeout / 4, .milliseconds(50)) }
}

extension Monitor {
  private mutating func start(at now: Instant) {
    guard deadline == nil else { return }
    if since == nil { since = now }
    let spread = min(interval, .milliseconds(100))
    deadline = now + .nanoseconds(Int64(random.next(below: UInt64(spread.nanoseconds))))
  }

  private mutating func stop(at now: Instant) {
    guard deadline != nil else { return }
    if state != .unknown { since = now }
    state = .unknown
    deadline = nil
    inFlight = false
    (successes, failures) = (0, 0)
  }

  private mutating func expire(at now: Instant, _ emit: (Output) -> Void) {
    guard let deadline, now >= deadline else { return }
    guard inFlight else { return probe(at: now, emit) }
    let latency = now - (started ?? deadline)
    let late = now - deadline
    if late > settings.timeout / 2 {
      let message = "this node was stalled while it checked"
      conclude(CheckResult(.unknown, latency: latency, message: message), at: now, emit)
    } else {
      conclude(CheckResult(.failed, latency: latency, message: "the check gave no result in time"), at: now, emit)
    }
  }

  private mutating func probe(at now: Instant, _ emit: (Output) -> Void) {
    probes += 1
    inFlight = true
    started = now
    deadline = now + settings.timeout + Monitor.grace(after: settings.timeout)
    emit(.probe(probes))
  }

  private mutating func conclude(_ result: CheckResult, at now: Instant, _ emit: (Output) -> Void) {
    inFlight = false
    last = result
    switch result.verdict {
    case .passed:
      failures = 0
      successes = min(successes, .max - 1) + 1
    case .failed:
      successes = 0
      failures = min(failures, .max - 1) + 1
    case .unknown: break
    }
    deadline = next(after: result.verdict, at: now)

    let verdict = decided(by: result.verdict)
    guard verdict != state else { return }
    let old = state
    state = verdict
    since = now
    emit(.changed(from: old, to: verdict, result))
  }

  /// The state that the streaks ask for, now that a probe ended so.
  private func decided(by verdict: CheckResult.Verdict) -> State {
    switch (state, verdict) {
    case (_, .unknown): state
    case (.unknown, .passed): .up
    case (.unknown, .failed): .down
    case (.up, .failed): failures >= settings.fall ? .down : .up
    case (.down, .passed): successes >= settings.rise ? .up : .down
    case (.up, .passed), (.down, .failed): state
    }
  }

  /// When the next probe starts. Called before the state changes: a failure is a first one only to a backend that is up.
  private mutating func next(after verdict: CheckResult.Verdict, at now: Instant) -> Instant {
    let regular = max(now, (started ?? now) + jittered(interval))
    guard state == .up, verdict == .failed, failures == 1 else { return regular }
    return min(regular, now + max(settings.recheck, .zero))
  }

  private mutating func jittered(_ duration: Duration) -> Duration {
    let share = min(max(settings.jitter, 0), 0.5)
    return duration + duration * (share * (2 * random.nextFraction() - 1))
  }

  /// Never so short that a monitor spins, whatever the settings say.
  private var interval: Duration { max(settings.interval, .milliseconds(1)) }
}
