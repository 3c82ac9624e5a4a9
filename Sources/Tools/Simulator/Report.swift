import Basis
import FoundationEssentials
import Scenario

/// What the runs of a simulation came to.
public struct Report: Sendable {
  /// In the order of their seeds.
  public var outcomes: [Outcome]
  /// Virtual time of a run.
  public var duration: Duration
  public var nodes: Int
  /// How long it took, in real time.
  public var took: Duration

  init(_ plan: Plan, _ outcomes: [Outcome], took: Duration) {
    self.outcomes = outcomes
    self.took = took
    duration = plan.duration
    nodes = plan.settings.count
  }

  public var violations: [Violation] { outcomes.compactMap(\.violation) }
  public var events: Int { outcomes.reduce(0) { $0 + $1.events } }
  /// Stands for all runs: equal for equal plans and seeds.
  public var hash: UInt64 {
    outcomes.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ $1.hash) &* 0x0000_0100_0000_01B3 }
  }
  /// No promise broken, and every expectation that could be judged held, in every run.
  public var passed: Bool {
    outcomes.allSatisfy { $0.violation == nil && $0.verdicts.allSatisfy { $0.passed != false } }
  }
  /// The share of virtual time in which the client was answered: what these timers and these faults allow for.
  public var availability: Double {
    let all = duration * max(1, outcomes.count)
    return 1 - min(1, outcomes.reduce(Duration.zero) { $0 + $1.unanswered } / all)
  }

  /// Of each expectation: in how many runs it held, and what was measured in the first where it didn't.
  public var expectations: [(expectation: Expectation, held: Int, judged: Int, failedSeed: UInt64?, measured: String)] {
    guard let first = outcomes.first(where: { !$0.verdicts.isEmpty }) else { return [] }
    return first.verdicts.indices.map { index in
      let all = outcomes.compactMap { outcome in
        outcome.verdicts.indices.contains(index) ? (outcome.seed, outcome.verdicts[index]) : nil
      }
      let failed = all.first { $0.1.passed == false }
      return (
        first.verdicts[index].expectation, all.count { $0.1.passed == true }, all.count { $0.1.passed != nil },
        failed?.0, (failed ?? all.first)?.1.measured ?? ""
      )
    }
  }

  /// The report for programs. Durations are milliseconds; `seeds` is how many.
  public func json() throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(Encoded(self)), as: UTF8.self)
  }
}

extension Report: CustomStringConvertible {
  /// What was simulated, what came of it, and the first broken promises and expectations in full.
  public var description: String {
    let speed = Int(Double(events) / max(0.001, took / .seconds(1)))
    var lines = [
      "\(outcomes.count) runs of \(text(duration)) with \(nodes) nodes: \(events) events in \(text(took)), \(speed) a second",
      "  the client was answered \(percent(availability)) of the time; its longest outage was "
        + text(outcomes.map(\.longestOutage).max() ?? .zero),
      "  two owners that hear each other: \(text(outcomes.map(\.longestTwoOwners).max() ?? .zero)) at the longest; "
        + "nobody where a healthy node is connected: \(text(outcomes.map(\.longestVacancy).max() ?? .zero))",
    ]
    let moves = outcomes.reduce(0) { $0 + $1.moves }, refusals = outcomes.reduce(0) { $0 + $1.refusals }
    if moves + refusals > 0 { lines.append("  \(moves) moves were made, \(refusals) refused") }
    for line in expectations {
      let mark = line.judged == 0 ? "–" : line.held == line.judged ? "✓" : "✗"
      let failure = line.failedSeed.map { " (seed \($0))" } ?? ""
      let share = line.judged == 0 ? "" : "\(line.held) of \(line.judged), "
      lines.append("  \(mark) \(line.expectation.text): \(share)such as \(line.measured)\(failure)")
    }
    if violations.isEmpty {
      lines.append("  no promise was broken")
    } else {
      lines.append("  \(violations.count) runs broke a promise; the first:")
      lines.append("\(violations[0])")
    }
    return lines.joined(separator: "\n")
  }
}

/// A length of time for people: "330 ms", "3.6 s", "1 h".
private func text(_ duration: Duration) -> String {
  let milliseconds = Int((duration / .milliseconds(1)).rounded())
  if milliseconds < 10_000 { return "\(milliseconds) ms" }
  if milliseconds < 600_000 { return "\(milliseconds / 1000).\(milliseconds / 100 % 10) s" }
  let minutes = Double(milliseconds) / 60_000
  if minutes < 600, minutes != 60 { return "\(Int(minutes.rounded())) min" }
  return "\(Int((minutes / 60).rounded())) h"
}

/// 99.864 %.
private func percent(_ share: Double) -> String {
  let thousandths = Int((share * 100_000).rounded(.down))
  let fraction = String(thousandths % 1000)
  return "\(thousandths / 1000).\(String(repeating: "0", count: 3 - fraction.count))\(fraction) %"
}

extension Violation: CustomStringConvertible {
  /// What was promised, what was seen, how it came to that, and how to see it again.
  public var description: String {
    """
    broken: \(promise.rawValue)
      seed \(seed), \(seconds(at.nanoseconds)) s: \(message)
      the last events:
    \(trace.map { "    " + $0 }.joined(separator: "\n"))
      again: \(again)
    """
  }
}

private struct Encoded: Encodable {
  struct Broken: Encodable {
    var promise: String
    var seed: UInt64
    var at_ms: Double
    var message: String
    var trace: [String]
    var again: String
  }
  struct Expected: Encodable {
    var expectation: String
    var held: Int
    var judged: Int
    var failed_seed: UInt64?
    var measured: String
  }

  var passed: Bool
  var seeds: Int
  var nodes: Int
  var duration_ms: Double
  var took_ms: Double
  var events: Int
  var events_per_second: Double
  var hash: String
  var availability: Double
  var longest_outage_ms: Double
  var longest_two_owners_ms: Double
  var longest_vacancy_ms: Double
  var violations: [Broken]
  var expectations: [Expected]

  init(_ report: Report) {
    passed = report.passed
    seeds = report.outcomes.count
    nodes = report.nodes
    duration_ms = report.duration.milliseconds
    took_ms = report.took.milliseconds
    events = report.events
    events_per_second = took_ms > 0 ? Double(events) / took_ms * 1000 : 0
    hash = String(report.hash, radix: 16)
    availability = report.availability
    longest_outage_ms = report.outcomes.map(\.longestOutage.milliseconds).max() ?? 0
    longest_two_owners_ms = report.outcomes.map(\.longestTwoOwners.milliseconds).max() ?? 0
    longest_vacancy_ms = report.outcomes.map(\.longestVacancy.milliseconds).max() ?? 0
    violations = report.violations.map {
      Broken(
        promise: $0.promise.rawValue, seed: $0.seed, at_ms: $0.at.milliseconds, message: $0.message, trace: $0.trace,
        again: $0.again)
    }
    expectations = report.expectations.map {
      Expected(
        expectation: $0.expectation.text, held: $0.held, judged: $0.judged, failed_seed: $0.failedSeed,
        measured: $0.measured)
    }
  }
}
