import Basis

/// So much at once, and so much a second for good.
struct TokenBucket {
  let burst: Double
  let perSecond: Double
  private var tokens: Double
  private var filled: Instant?

  init(burst: Double, perSecond: Double) {
    self.burst = burst
    self.perSecond = perSecond
    tokens = burst
  }

  mutating func take(at now: Instant) -> Bool {
    if let filled, now > filled {
      tokens = min(burst, tokens + Double((now - filled).nanoseconds) / 1e9 * perSecond)
    }
    filled = now
    guard tokens >= 1 else { return false }
    tokens -= 1
    return true
  }

  /// How long until there is one token.
  var wait: Duration { .nanoseconds(Int64(max(0, 1 - tokens) / perSecond * 1e9) + 1) }
}
