import Basis

/// What one client saw, made to answer questions about stretches of time.
struct ClientRecord: Sendable {
  /// When each answered datagram was answered, in order.
  private let answers: [Instant]
  /// When the service served somebody, over whatever connection.
  private let served: [Instant]
  private let samples: [Sample]

  init(_ samples: [Sample]) {
    self.samples = samples
    answers = samples.filter { $0.kind == .datagram }.compactMap(\.end).sorted()
    served = samples.filter { $0.kind == .request || $0.kind == .freshRequest }.compactMap(\.end).sorted()
  }

  /// The longest time without an answered datagram inside the stretch.
  func longestGap(from start: Instant, to end: Instant) -> Duration { Self.longestGap(answers, start, end) }

  /// The longest time without an answered request; nil where the client made none.
  func longestServiceGap(from start: Instant, to end: Instant) -> Duration? {
    let isAsked = samples.contains { $0.kind == .request || $0.kind == .freshRequest }
    return isAsked ? Self.longestGap(served, start, end) : nil
  }

  private static func longestGap(_ moments: [Instant], _ start: Instant, _ end: Instant) -> Duration {
    var last = start
    var longest = Duration.zero
    var index = first(of: moments, after: start)
    while index < moments.count, moments[index] < end {
      longest = max(longest, moments[index] - last)
      last = moments[index]
      index += 1
    }
    return max(longest, end - last)
  }

  /// Each time without an answered datagram that was longer than that, in order.
  func gaps(longerThan bound: Duration, from start: Instant, to end: Instant) -> [Range<Instant>] {
    guard start < end else { return [] }
    let inside = answers[Self.first(of: answers, after: start)...].prefix { $0 < end }
    let moments = [start] + inside + [end]
    return zip(moments, moments.dropFirst()).filter { $1 - $0 > bound }.map { $0..<$1 }
  }

  /// When long-lived connections broke.
  var breaks: [Instant] { samples.filter { $0.kind == .broken }.map(\.start) }

  /// When requests failed; one that was under way at a step belongs to that step.
  var failedRequests: [Instant] {
    samples.filter { ($0.kind == .request || $0.kind == .freshRequest) && $0.duration == nil }
      .map { $0.start + Self.underWay }
  }

  /// When connects failed; one that was under way at a step belongs to that step.
  var failedConnects: [Instant] {
    samples.filter { $0.kind == .connect && $0.duration == nil }.map { $0.start + Self.underWay }
  }

  /// From the last answered datagram of the stretch to its end: long where nothing answers any more.
  func lastGap(from start: Instant, to end: Instant) -> Duration {
    let index = Self.first(of: answers, after: end)
    let last = index > 0 ? max(answers[index - 1], start) : start
    return max(.zero, end - last)
  }

  private static func first(of answers: [Instant], after time: Instant) -> Int {
    var low = 0
    var high = answers.count
    while low < high {
      let middle = low + (high - low) / 2
      if answers[middle] <= time { low = middle + 1 } else { high = middle }
    }
    return low
  }

  struct Counts: Sendable, Hashable {
    var probes = 0
    var probesLost = 0
    var connects = 0
    var connectsFailed = 0
    var requests = 0
    var requestsFailed = 0
    /// Each once, however often it was made anew and broke again.
    var connectionsBroken = 0
    /// The longest time for which the prober itself was not run.
    var stall = Duration.zero
  }

  /// A request counts where it was begun; what was under way when the stretch began counts here too, for that long.
  static let underWay = Duration.milliseconds(50)

  func counts(from start: Instant, to end: Instant) -> Counts {
    var counts = Counts()
    var broken: Set<UInt16> = []
    for sample in samples {
      let begun = sample.start
      switch sample.kind {
      case .datagram where start <= begun && begun < end:
        counts.probes += 1
        if sample.duration == nil { counts.probesLost += 1 }
      case .connect where Self.counts(begun, start, end):
        counts.connects += 1
        if sample.duration == nil { counts.connectsFailed += 1 }
      case .request where Self.counts(begun, start, end), .freshRequest where Self.counts(begun, start, end):
        counts.requests += 1
        if sample.duration == nil { counts.requestsFailed += 1 }
      case .broken: if start <= begun, begun < end { broken.insert(sample.number) }
      case .stall: if start <= begun, begun < end { counts.stall = max(counts.stall, sample.duration ?? .zero) }
      default: break
      }
    }
    counts.connectionsBroken = broken.count
    return counts
  }

  private static func counts(_ begun: Instant, _ start: Instant, _ end: Instant) -> Bool {
    let shifted = begun + underWay
    return start <= shifted && shifted < end
  }

  /// Long-lived connections that stood then.
  func connectionsOpen(at time: Instant) -> Int {
    var open: Set<UInt16> = []
    for sample in samples where sample.start < time {
      if sample.kind == .opened { open.insert(sample.number) }
      if sample.kind == .broken { open.remove(sample.number) }
    }
    return open.count
  }
}

/// The spread of a figure over repetitions.
public struct Spread: Sendable, Hashable, Codable {
  public var min: Double
  public var median: Double
  public var p95: Double
  public var max: Double

  /// Nil where there is nothing to tell of.
  public init?(_ values: [Double]) {
    let sorted = values.sorted()
    guard let first = sorted.first, let last = sorted.last else { return nil }
    min = first
    max = last
    let middle = sorted.count / 2
    median = sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    // The smallest value that 95 % do not exceed.
    p95 = sorted[Swift.min(sorted.count - 1, Int((Double(sorted.count) * 0.95).rounded(.up)) - 1)]
  }
}
