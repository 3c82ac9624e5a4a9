import Basis
import Scenario

/// Turns what was seen during one telling into figures, and into verdicts on the scenario's expectations.
struct Evaluation {
  let scenario: Scenario
  let interval: Duration
  let zero: Instant
  let end: Instant
  /// When each step was done.
  let moments: [Instant]
  let record: ClientRecord
  let timeline: OwnershipTimeline
  let nodes: [String]
  /// What the owner said of a backend when it was asked for an expectation, by the expectation's index.
  let answers: [Int: (backend: String?, isUp: Bool)]
  let usage: [ScenarioReport.Usage]
  /// When what didn't change spoke out of turn; nil where nobody listened.
  let outOfTurn: [Instant]?

  func outcome(repetition: Int) -> RunOutcome {
    RunOutcome(
      steps: moments.isEmpty
        ? [figures(of: nil, repetition: repetition)] : moments.indices.map { figures(of: $0, repetition: repetition) },
      usage: usage,
      verdicts: verdicts(),
      // Of the VIP that the story is about: of hundreds, their number is told.
      changes: timeline.changes.filter {
        zero <= $0.time && $0.time <= end && timeline.addresses.contains($0.address)
      }.map {
        ScenarioReport.Change(
          repetition: repetition, atMs: rounded($0.time - zero), node: $0.host, address: $0.address.description,
          isHeld: $0.isHeld)
      })
  }

  // MARK: Figures

  /// The longest gap while nothing was broken.
  private var noiseFloor: Duration {
    guard let first = moments.first, zero < first else { return .zero }
    return record.longestGap(from: zero, to: first)
  }

  /// From a step to the next one that came later, or to the end; without a step, all of it.
  private func window(of step: Int?) -> (start: Instant, end: Instant) {
    guard let step else { return (zero, end) }
    let start = moments[step]
    let at = scenario.steps[step].at
    let next = moments.indices.first { $0 > step && scenario.steps[$0].at > at }
    return (start, next.map { moments[$0] } ?? end)
  }

  private func figures(of step: Int?, repetition: Int) -> ScenarioReport.StepFigures {
    let (start, end) = window(of: step)
    let counts = record.counts(from: start, to: end)
    let owners = timeline.figures(from: start, to: end)
    let gap = record.longestGap(from: start, to: end)
    let calmService = moments.first.flatMap { record.longestServiceGap(from: zero, to: $0) } ?? .zero
    let serviceOutage = record.longestServiceGap(from: start, to: end).map { max(.zero, $0 - calmService) }
    return ScenarioReport.StepFigures(
      repetition: repetition, fault: step.map { scenario.steps[$0].action.word } ?? ScenarioReport.calm,
      atMs: rounded(start - zero), lengthMs: rounded(end - start),
      outageMs: rounded(max(.zero, gap - noiseFloor)), gapMs: rounded(gap), serviceOutageMs: serviceOutage.map(rounded),
      noiseFloorMs: rounded(noiseFloor), proberStallMs: counts.stall > .zero ? rounded(counts.stall) : nil,
      probes: counts.probes, probesLost: counts.probesLost, twoOwnersMs: rounded(owners.twoOwners),
      longestTwoOwnersMs: rounded(owners.longestTwoOwners), noOwnerMs: rounded(owners.noOwner),
      takes: timeline.takes(from: start, to: end), ownersAtEnd: timeline.owners(at: end),
      darkMs: rounded(record.lastGap(from: start, to: end)), connects: counts.connects,
      connectsFailed: counts.connectsFailed, requests: counts.requests, requestsFailed: counts.requestsFailed,
      connectionsOpen: record.connectionsOpen(at: start), connectionsBroken: counts.connectionsBroken,
      outOfTurn: outOfTurn.map { $0.count { start <= $0 && $0 < end } })
  }

  /// To a microsecond.
  private func rounded(_ duration: Duration) -> Double { (duration.milliseconds * 1000).rounded() / 1000 }

  // MARK: Verdicts

  /// By the judge that the simulator has too. What was seen of backends is apart: the lab asks once, at the bound.
  private func verdicts() -> [ScenarioReport.Verdict] {
    zip(told().judge(observations()), scenario.expectations.indices).map { verdict, index in
      let expectation = scenario.expectations[index]
      var outcome = verdict.passed.map { $0 ? ScenarioReport.Verdict.Outcome.held : .failed } ?? .skipped
      var detail = verdict.measured
      if case .backend(_, let isUp, _, _) = expectation.claim {
        let state = answers[index]?.backend
        outcome = state.map { ($0 == "up") == isUp ? .held : .failed } ?? .skipped
        detail = state.map { "the owner said '\($0)'" } ?? "nobody here knows of backends"
      }
      return ScenarioReport.Verdict(text: expectation.text, line: expectation.line, outcome: outcome, detail: detail)
    }
  }

  /// The scenario as it really went: each step at the moment when it was done.
  private func told() -> Scenario {
    var told = scenario
    told.interval = interval
    told.end = end - zero
    for step in moments.indices {
      // Steps of the same time stay at the same time, so that none of them gets a window of its own.
      let first = scenario.steps.firstIndex { $0.at == scenario.steps[step].at } ?? step
      told.steps[step].at = moments[first] - zero
    }
    return told
  }

  private func observations() -> Observations {
    var seen = Observations()
    var before: [String] = []
    for time in [zero] + timeline.moments(from: zero, to: end) {
      let owners = timeline.owners(at: time)
      for (index, node) in nodes.enumerated() where owners.contains(node) != before.contains(node) {
        seen.holdings.append(.init(at: time - zero, node: index, holds: owners.contains(node)))
      }
      before = owners
    }
    func sinceZero(_ span: Range<Instant>) -> Range<Duration> { (span.lowerBound - zero)..<(span.upperBound - zero) }
    seen.twoOwners = timeline.addresses.flatMap { timeline.rivalries(for: $0, from: zero, to: end) }.map(sinceZero)
    seen.gaps = record.gaps(longerThan: noiseFloor, from: zero, to: end).map {
      // Of a gap, what is beyond the machine's own noise.
      sinceZero($0.lowerBound..<($0.upperBound - noiseFloor))
    }
    seen.brokenConnections = record.breaks.map { $0 - zero }.filter { $0 >= .zero }
    seen.outOfTurn = outOfTurn.map { $0.map { $0 - zero } }
    seen.failedConnections = record.failedConnects.map { $0 - zero }.filter { $0 >= .zero }
    seen.failedRequests = record.failedRequests.map { $0 - zero }.filter { $0 >= .zero }
    return seen
  }
}
