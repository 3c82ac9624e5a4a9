/// What was seen while a story was told, by whoever told it. Times count from time zero of the story.
public struct Observations: Sendable, Hashable {
  /// A node begins or ceases to hold the VIP's address on its interface.
  public struct Holding: Sendable, Hashable {
    public var at: Duration
    public var node: Int
    public var holds: Bool

    public init(at: Duration, node: Int, holds: Bool) {
      self.at = at
      self.node = node
      self.holds = holds
    }
  }

  /// The owner's view of a backend changes.
  public struct BackendChange: Sendable, Hashable {
    public var at: Duration
    public var backend: Int
    public var isUp: Bool

    public init(at: Duration, backend: Int, isUp: Bool) {
      self.at = at
      self.backend = backend
      self.isUp = isUp
    }
  }

  /// In order of time; before the first nobody holds the VIP. Those before time zero have negative times.
  public var holdings: [Holding] = []
  /// While two nodes that reach each other both ways hold the VIP.
  public var twoOwners: [Range<Duration>] = []
  /// While the client gets no answer.
  public var gaps: [Range<Duration>] = []
  public var backends: [BackendChange] = []
  /// When connections broke; nil where nobody looked.
  public var brokenConnections: [Duration]?
  /// When requests failed; nil where nobody looked.
  public var failedRequests: [Duration]?
  /// When attempts to connect failed; nil where nobody looked.
  public var failedConnections: [Duration]?
  /// When a VIP that didn't change sent something that wasn't due; nil where nobody looked.
  public var outOfTurn: [Duration]?

  public init() {}

  /// The longest time in a window in which no node holds the VIP.
  func vacancy(in window: Range<Duration>) -> Duration {
    var longest = Duration.zero
    var since = holders(at: window.lowerBound).isEmpty ? window.lowerBound : nil
    var count = holders(at: window.lowerBound).count
    for change in holdings where change.at > window.lowerBound && change.at < window.upperBound {
      count += change.holds ? 1 : -1
      if count <= 0, since == nil { since = change.at }
      // Of changes in the same instant all have happened.
      if count > 0, let began = since {
        longest = max(longest, change.at - began)
        since = nil
      }
    }
    if let began = since { longest = max(longest, window.upperBound - began) }
    return longest
  }

  /// The nodes that hold the VIP at that time, in order.
  public func holders(at time: Duration) -> [Int] {
    var holders: [Int] = []
    for change in holdings where change.at <= time {
      holders.removeAll { $0 == change.node }
      if change.holds { holders.append(change.node) }
    }
    return holders.sorted()
  }
}

/// Whether an expectation held, and what was measured.
public struct Verdict: Sendable, Hashable {
  public var expectation: Expectation
  /// Nil: it can't be told from what was seen.
  public var passed: Bool?
  /// For people, such as "312 ms".
  public var measured: String
}

extension Scenario {
  /// Holds what was seen against what was expected: one verdict an expectation, of its worst moment.
  public func judge(_ seen: Observations) -> [Verdict] {
    expectations.map { expectation in
      let results: [(passed: Bool?, measured: String)]
      if let moment = expectation.claim.moment {
        results = steps(of: moment).map { judge(expectation.claim, after: $0, seen) }
      } else {
        results = [judge(expectation.claim, seen)]
      }
      let worst =
        results.first { $0.passed == false } ?? results.first { $0.passed == nil } ?? results.last ?? (
          nil, "no such step"
        )
      return Verdict(expectation: expectation, passed: worst.passed, measured: worst.measured)
    }
  }

  /// Claims about the whole story and its end.
  private func judge(_ claim: Claim, _ seen: Observations) -> (passed: Bool?, measured: String) {
    let atEnd = seen.holders(at: end)
    switch claim {
    case .oneOwnerAtEnd: return (atEnd.count == 1, names(atEnd))
    case .ownerAtEnd(let selector):
      // Who `owner` or `backup` was before the first step.
      return (atEnd == nodes(selector, before: steps.first?.at ?? end, seen), names(atEnd))
    case .twoOwners(let bound):
      // Before time zero the cluster was still settling.
      let longest =
        seen.twoOwners.map { $0.upperBound - max(.zero, $0.lowerBound) }.max().map { max(.zero, $0) } ?? .zero
      return (longest <= bound.duration(interval: interval), text(longest))
    case .noConnectionBroken:
      guard let broken = seen.brokenConnections else { return (nil, "not measured") }
      return (broken.isEmpty, "\(broken.count) broken")
    case .nobody(let bound, _):
      let longest = seen.vacancy(in: .zero..<max(.zero, end))
      return (longest <= bound.duration(interval: interval), text(longest))
    case .owner, .outage, .noAddress, .backend, .failedRequests, .noConnectionFails, .sameOwner, .quiet:
      return (nil, "no such step")
    }
  }

  /// Claims about what follows a step.
  private func judge(_ claim: Claim, after step: Int, _ seen: Observations) -> (passed: Bool?, measured: String) {
    let window = window(of: step)
    switch claim {
    case .owner(let selector, let within, _):
      let wanted = nodes(selector, before: window.lowerBound, seen)
      let limit = min(window.lowerBound + within.duration(interval: interval), window.upperBound)
      let alone = !seen.twoOwners.contains { $0.contains(limit) }
      let holders = seen.holders(at: limit)
      let passed = alone && wanted.contains { holders.contains($0) }
      let taken = seen.holdings.last { $0.holds && $0.at <= limit && wanted.contains($0.node) }?.at
      let measured =
        taken.map { "\(names(holders)) after \(text(max(.zero, $0 - window.lowerBound)))" } ?? names(holders)
      return (passed, measured)
    case .outage(let bound, _):
      let longest =
        seen.gaps.map { max(.zero, min($0.upperBound, window.upperBound) - max($0.lowerBound, window.lowerBound)) }
        .max() ?? .zero
      return (longest < bound.duration(interval: interval), text(longest))
    case .noAddress(let selector, let within, _):
      let limit = min(window.lowerBound + within.duration(interval: interval), window.upperBound)
      let left = nodes(selector, before: window.lowerBound, seen).filter { node in
        seen.holders(at: limit).contains(node)
          || seen.holdings.contains { $0.node == node && $0.holds && $0.at > limit && $0.at < window.upperBound }
      }
      return (left.isEmpty, left.isEmpty ? "none" : "left on \(names(left))")
    case .backend(let backend, let isUp, let within, _):
      let limit = window.lowerBound + within.duration(interval: interval)
      guard
        let change = seen.backends.first(where: {
          $0.backend == backend && $0.isUp == isUp && window.contains($0.at)
        })
      else { return (false, "not seen") }
      return (change.at <= limit, text(change.at - window.lowerBound))
    case .noConnectionBroken:
      guard let broken = seen.brokenConnections?.filter(window.contains) else { return (nil, "not measured") }
      return (broken.isEmpty, "\(broken.count) broken")
    case .failedRequests(let bound, _):
      guard let failed = seen.failedRequests?.filter(window.contains) else { return (nil, "not measured") }
      return (failed.count < bound, "\(failed.count) failed")
    case .noConnectionFails:
      guard let failed = seen.failedConnections?.filter(window.contains) else { return (nil, "not measured") }
      return (failed.isEmpty, "\(failed.count) failed")
    case .nobody(let bound, _):
      let longest = seen.vacancy(in: window)
      return (longest <= bound.duration(interval: interval), text(longest))
    case .sameOwner:
      let before = seen.holders(at: window.lowerBound - .nanoseconds(1))
      let others = seen.holdings.filter { $0.holds && window.contains($0.at) && !before.contains($0.node) }
      let after = seen.holders(at: window.upperBound - .nanoseconds(1))
      let met = others.map(\.node).reduce(into: [Int]()) { if !$0.contains($1) { $0.append($1) } }
      return (met.isEmpty && after == before, met.isEmpty ? names(after) : "also \(names(met))")
    case .quiet:
      guard let sent = seen.outOfTurn?.filter(window.contains) else { return (nil, "not measured") }
      return (sent.isEmpty, "\(sent.count) out of turn")
    case .oneOwnerAtEnd, .ownerAtEnd, .twoOwners: return (nil, "no such step")
    }
  }

  /// The nodes that a selector meant just before a time.
  func nodes(_ selector: Selector, before time: Duration, _ seen: Observations) -> [Int] {
    let holders = seen.holders(at: time - .nanoseconds(1))
    switch selector {
    case .node(let index): return [index]
    case .owner: return Array(holders.prefix(1))
    case .backup: return Array((0..<nodes).filter { !holders.contains($0) }.prefix(1))
    case .all, .rest: return Array(0..<nodes)
    }
  }

  private func names(_ indices: [Int]) -> String {
    indices.isEmpty ? "nobody" : indices.map { "lb\($0 + 1)" }.joined(separator: ", ")
  }

  private func text(_ duration: Duration) -> String {
    let tenths = (duration / .microseconds(100)).rounded()
    return tenths >= 100_000 ? "\(tenths / 10_000) s" : "\(tenths / 10) ms"
  }
}
