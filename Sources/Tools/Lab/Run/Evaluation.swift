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

  func outcome(repetition: Int) -> RunOutcome {
    RunOutcome(
      steps: moments.indices.map { figures(of: $0, repetition: repetition) },
      verdicts: scenario.expectations.indices.map { verdict(on: $0) },
      changes: timeline.changes.filter { zero <= $0.time && $0.time <= end }.map {
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

  private func serviceOutage(of step: Int) -> Duration? {
    let window = window(of: step)
    guard let gap = record.longestServiceGap(from: window.start, to: window.end), let first = moments.first else {
      return nil
    }
    return max(.zero, gap - (record.longestServiceGap(from: zero, to: first) ?? .zero))
  }

  /// From a step to the next one that came later, or to the end.
  private func window(of step: Int) -> (start: Instant, end: Instant) {
    let start = moments[step]
    let at = scenario.steps[step].at
    let next = moments.indices.first { $0 > step && scenario.steps[$0].at > at }
    return (start, next.map { moments[$0] } ?? end)
  }

  private func outage(of step: Int) -> Duration {
    let window = window(of: step)
    return max(.zero, record.longestGap(from: window.start, to: window.end) - noiseFloor)
  }

  private func figures(of step: Int, repetition: Int) -> ScenarioReport.StepFigures {
    let (start, end) = window(of: step)
    let counts = record.counts(from: start, to: end)
    let owners = timeline.figures(from: start, to: end)
    return ScenarioReport.StepFigures(
      repetition: repetition, fault: scenario.steps[step].action.word, atMs: rounded(start - zero),
      outageMs: rounded(outage(of: step)), gapMs: rounded(record.longestGap(from: start, to: end)),
      serviceOutageMs: serviceOutage(of: step).map(rounded),
      noiseFloorMs: rounded(noiseFloor), proberStallMs: counts.stall > .zero ? rounded(counts.stall) : nil,
      probesLost: counts.probesLost, twoOwnersMs: rounded(owners.twoOwners),
      longestTwoOwnersMs: rounded(owners.longestTwoOwners), noOwnerMs: rounded(owners.noOwner),
      ownersAtEnd: timeline.owners(at: end), connects: counts.connects, connectsFailed: counts.connectsFailed,
      requests: counts.requests, requestsFailed: counts.requestsFailed,
      connectionsOpen: record.connectionsOpen(at: start), connectionsBroken: counts.connectionsBroken)
  }

  /// To a microsecond.
  private func rounded(_ duration: Duration) -> Double { (duration.milliseconds * 1000).rounded() / 1000 }

  // MARK: Verdicts

  private typealias Outcome = ScenarioReport.Verdict.Outcome

  private func verdict(on index: Int) -> ScenarioReport.Verdict {
    let expectation = scenario.expectations[index]
    let (outcome, detail) = judge(expectation.claim, index)
    return ScenarioReport.Verdict(text: expectation.text, line: expectation.line, outcome: outcome, detail: detail)
  }

  private func judge(_ claim: Claim, _ index: Int) -> (Outcome, String?) {
    switch claim {
    case .owner(let who, let within, let moment):
      return each(moment) { step in ownerIs(who, at: window(of: step).start + within.duration(interval: interval)) }
    case .oneOwnerAtEnd:
      let owners = timeline.owners(at: end)
      return (owners.count == 1 ? .held : .failed, "owners at the end: \(list(owners))")
    case .ownerAtEnd(let who): return ownerIs(who, at: end)
    case .outage(let below, let moment):
      return each(moment) { step in
        let seen = outage(of: step)
        return (seen < below.duration(interval: interval) ? .held : .failed, "outage \(rounded(seen)) ms")
      }
    case .twoOwners(let atMost):
      let seen = timeline.figures(from: zero, to: end).longestTwoOwners
      return (seen <= atMost.duration(interval: interval) ? .held : .failed, "two owners for \(rounded(seen)) ms")
    case .noAddress(let who, let within, let moment):
      guard let name = name(who) else { return (.skipped, "the lab judges this for named nodes only") }
      return each(moment) { step in
        let time = window(of: step).start + within.duration(interval: interval)
        let holds = timeline.addresses.contains { timeline.holders(of: $0, at: time).contains(name) }
        return (holds ? .failed : .held, holds ? "\(name) held the address still" : nil)
      }
    case .backend(_, let isUp, _, _):
      guard let answer = answers[index], let state = answer.backend else {
        return (.skipped, "nobody here knows of backends")
      }
      let fits = (state == "up") == isUp
      return (fits ? .held : .failed, "the owner said '\(state)'")
    case .noConnectionBroken(let moment):
      let stretches =
        moment.map { scenario.steps(of: $0).filter(moments.indices.contains).map(window) } ?? [(zero, end)]
      let broken = stretches.reduce(0) { $0 + record.counts(from: $1.start, to: $1.end).connectionsBroken }
      return (broken == 0 ? .held : .failed, "\(broken) broken")
    case .failedRequests(let below, let moment):
      return each(moment) { step in
        let (start, end) = window(of: step)
        let failed = record.counts(from: start, to: end).requestsFailed
        return (failed < below ? .held : .failed, "\(failed) requests failed")
      }
    }
  }

  /// The first step of that moment for which it does not hold speaks for all.
  private func each(_ moment: Moment, _ judge: (Int) -> (Outcome, String?)) -> (Outcome, String?) {
    let verdicts = scenario.steps(of: moment).filter(moments.indices.contains).map(judge)
    return verdicts.first { $0.0 == .failed } ?? verdicts.first ?? (.skipped, "no such step")
  }

  /// The VIP is on that node and on no other that it reaches.
  private func ownerIs(_ who: Selector, at time: Instant) -> (Outcome, String?) {
    guard let name = name(who) else { return (.skipped, "the lab judges this for named nodes only") }
    let state = timeline.connectivity(at: time)
    for address in timeline.addresses {
      let holders = timeline.holders(of: address, at: time)
      let rivals = holders.filter { $0 != name && state.isMutual($0, name) }
      if !holders.contains(name) || !rivals.isEmpty { return (.failed, "on \(list(holders.sorted()))") }
    }
    return (.held, nil)
  }

  private func name(_ who: Selector) -> String? {
    if case .node(let index) = who, nodes.indices.contains(index) { return nodes[index] }
    return nil
  }

  private func list(_ names: [String]) -> String { names.isEmpty ? "nobody" : names.joined(separator: ", ") }
}
