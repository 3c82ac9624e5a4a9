import Basis
import VRRP

/// One tracker: what its reports add up to.
public struct TrackerStatus: Sendable {
  public enum Verdict: Sendable, Hashable { case unknown, good, bad }

  /// What a report changed.
  enum Change: Sendable, Hashable {
    case turned
    /// It turns too often: it stays bad until it has been good for `quiet`.
    case damped
    /// It has been.
    case calm
  }

  /// So many turns to bad …
  static let turnsToDamp = 3
  /// … in so long a time are too many. Each would move a VIP, with all its connections.
  static let window = Duration.seconds(60)
  static let quiet = Duration.seconds(30)

  public let settings: TrackerSettings
  /// Unknown until the first report that says anything: a node that has just started must be able to serve.
  public internal(set) var verdict = Verdict.unknown
  /// Why it is bad, or why nothing is known of it, for people.
  public private(set) var message = ""
  public private(set) var isDamped = false

  /// Reports in a row that say otherwise than the verdict.
  private var streak = 0
  /// The latest turns to bad.
  private var turns: [Instant] = []
  /// While it is damped: since when all is well.
  private var goodSince: Instant?

  init(_ settings: TrackerSettings) { self.settings = settings }

  /// When damping may end.
  var deadline: Instant? { goodSince.map { $0.later(by: Self.quiet) } }

  /// Begins with what another process knew, unless this one has had a look of its own.
  mutating func assume(_ known: Resumption.Tracker) {
    guard verdict == .unknown else { return }
    verdict = known.isBad ? .bad : .good
    message = known.message
  }

  mutating func hear(_ report: TrackReport, at now: Instant) -> Change? {
    switch report {
    case .unknown(let why):
      if verdict != .bad { message = why }
      return nil
    case .good: return hearGood(at: now)
    case .bad(let why): return hearBad(why, at: now)
    }
  }

  private mutating func hearGood(at now: Instant) -> Change? {
    if isDamped, goodSince == nil { goodSince = now }
    switch verdict {
    case .good:
      streak = 0
      return nil
    case .unknown: break
    case .bad:
      streak += 1
      guard streak >= settings.rise, !isDamped else { return nil }
    }
    verdict = .good
    message = ""
    streak = 0
    return .turned
  }

  private mutating func hearBad(_ why: String, at now: Instant) -> Change? {
    goodSince = nil
    switch verdict {
    case .bad:
      streak = 0
      message = why
      return nil
    case .unknown: break
    case .good:
      streak += 1
      guard streak >= settings.fall else { return nil }
    }
    verdict = .bad
    message = why
    streak = 0
    turns.removeAll { $0.later(by: Self.window) <= now }
    turns.append(now)
    guard turns.count >= Self.turnsToDamp else { return .turned }
    turns.removeAll()
    isDamped = true
    return .damped
  }

  /// The end of damping, if it has been reached.
  mutating func calm(at now: Instant) -> Change? {
    guard let deadline, deadline <= now else { return nil }
    isDamped = false
    goodSince = nil
    verdict = .good
    message = ""
    streak = 0
    return .calm
  }

  /// For people: why it is bad.
  var trouble: String {
    isDamped
      ? "it turned bad \(Self.turnsToDamp) times within a minute; waiting until it has been good for 30 s (\(message))"
      : message
  }
}

extension Instant {
  /// Held at the end of time: a recording may hold any number.
  func later(by duration: Duration) -> Instant {
    let (sum, overflowed) = nanoseconds.addingReportingOverflow(duration.nanoseconds)
    return Instant(nanoseconds: overflowed ? .max : sum)
  }
}

// From reports to who may own a VIP, and how much this node is preferred.

extension Node {
  /// `Event.track`.
  mutating func tracked(_ tracker: Int, _ report: TrackReport, at now: Instant, _ emit: (Effect) -> Void) {
    guard coordination.trackers.indices.contains(tracker),
      coordination.trackers[tracker].settings.source == .external
    else { return }
    if let change = coordination.trackers[tracker].hear(report, at: now) { tell(of: change, tracker, emit) }
    // A report moves the end of damping.
    if coordination.trackers[tracker].isDamped { coordination.isDirty = true }
  }

  /// Trackers that follow this node's own VIPs and services.
  mutating func trackOwn(at now: Instant, _ emit: (Effect) -> Void) {
    for tracker in coordination.trackers.indices {
      switch coordination.trackers[tracker].settings.source {
      case .external: continue
      case .vip(let vip):
        guard vips.indices.contains(vip) else { continue }
        // Without damping: it would keep one VIP away from the other, which is what the tracker is there to prevent.
        let verdict = vips[vip].state == .active ? TrackerStatus.Verdict.good : .bad
        guard coordination.trackers[tracker].verdict != verdict else { continue }
        coordination.trackers[tracker].verdict = verdict
        coordination.isDirty = true
        coordination.fitnessChanged = true
      case .service(let service, let atLeast):
        guard services.indices.contains(service) else { continue }
        var count = 0
        for backend in services[service].backends.indices where services[service].backends[backend].takesTraffic {
          count += 1
        }
        let report =
          count >= atLeast ? TrackReport.good : .bad("\(count) of the \(atLeast) backends that it needs take traffic")
        let isGood = report == .good
        // Not counted like reports of something outside: nothing new is known when something else has changed.
        let verdict = coordination.trackers[tracker].verdict
        guard verdict != (isGood ? .good : .bad) || coordination.trackers[tracker].isDamped else { continue }
        if let change = coordination.trackers[tracker].hear(report, at: now) { tell(of: change, tracker, emit) }
      }
    }
  }

  /// Damping that has lasted long enough.
  mutating func calmTrackers(at now: Instant, _ emit: (Effect) -> Void) {
    for tracker in coordination.trackers.indices {
      if let change = coordination.trackers[tracker].calm(at: now) { tell(of: change, tracker, emit) }
    }
  }

  private mutating func tell(of change: TrackerStatus.Change, _ tracker: Int, _ emit: (Effect) -> Void) {
    let status = coordination.trackers[tracker]
    switch change {
    case .turned:
      emit(.report(.tracker(tracker, isGood: status.verdict == .good, message: status.message)))
    case .damped: emit(.report(.trackerDamped(tracker, message: status.message)))
    case .calm: emit(.report(.trackerCalm(tracker)))
    }
    coordination.isDirty = true
    coordination.fitnessChanged = true
  }

  /// Why what is tracked, or a person, keeps this node from owning the VIP.
  func trackedObstacle(_ vip: Int) -> String? {
    if coordination.standby != .no { return "standby" }
    for track in coordination.standings[vip].tracks where track.consequence == .forbid {
      let tracker = coordination.trackers[track.tracker]
      guard tracker.verdict == .bad else { continue }
      if case .vip(let other) = tracker.settings.source, vips.indices.contains(other) {
        return "tracker \(tracker.settings.name) is bad: this node does not own \(vips[other].settings.name)"
      }
      return "tracker \(tracker.settings.name) is bad: \(tracker.trouble)"
    }
    return nil
  }

  /// By how much what is bad lowers the VIP's priority.
  private func lowering(_ vip: Int) -> Int {
    var sum = 0
    for track in coordination.standings[vip].tracks {
      guard case .lower(let steps) = track.consequence, coordination.trackers[track.tracker].verdict == .bad else {
        continue
      }
      sum += Int(steps)
    }
    return sum
  }

  /// The priority that this node's adverts should have now. Members of a group have that of the first, lowered by what is bad for
  /// any of them: two nodes then agree on all members who is the better one.
  func wantedPriority(_ vip: Int) -> UInt8? {
    guard vips[vip].hasElection else { return nil }
    let own = vips[vip].machine.settings.priority
    if own == 255 { return 255 }
    guard let group = coordination.standings[vip].group, settings.groups.indices.contains(group) else {
      return UInt8(clamping: max(1, Int(own) - lowering(vip)))
    }
    let members = settings.groups[group].filter { vips.indices.contains($0) }
    let base = members.first.flatMap { vips[$0].hasElection ? vips[$0].machine.settings.priority : nil } ?? own
    let lowered = Int(min(base, 254)) - (members.map(lowering).max() ?? 0)
    return UInt8(clamping: max(1, lowered))
  }

  /// Tells routers their priorities, where they changed.
  mutating func settlePriorities(at now: Instant, _ emit: (Effect) -> Void) {
    for vip in vips.indices {
      guard let priority = wantedPriority(vip), priority != vips[vip].machine.priority else { continue }
      coordination.isDirty = true
      elect(vip: vip, .priority(priority), at: now, emit)
    }
  }
}
