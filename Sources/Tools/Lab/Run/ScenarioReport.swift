import FoundationEssentials

/// What a scenario did to a cluster, as `roost lab run --json` gives it. Durations are in milliseconds.
public struct ScenarioReport: Sendable, Codable {
  public var scenario: String
  public var title: String
  /// What the figures outside `peers` are of: `roost`, `keepalived`, or `mixed`.
  public var daemon: String
  public var `repeat`: Int
  public var intervalMs: Double
  public var runs: [StepFigures]
  /// What the nodes' daemons used before the first step, one for each node and repetition.
  public var usage: [Usage]
  public var summary: Summary
  /// The same for each step's word.
  public var steps: [String: Summary]
  public var expectations: [Verdict]
  /// Who took and lost which address when, as netlink told it.
  public var changes: [Change]
  /// Other daemons in the same run, each repetition after one of ours.
  public var peers: [String: Measured]?

  /// Stands for a step in a story that has none.
  public static let calm = "calm"

  /// What a node's processes used of the machine.
  public struct Usage: Sendable, Codable {
    public var repetition: Int
    public var node: String
    /// It had the VIP.
    public var owns: Bool
    /// Of one processor, daemon and guardian together.
    public var processorPercent: Double
    public var daemonPercent: Double
    public var guardianPercent: Double?
    /// Of both processes, as if they had a machine to themselves: what they wrote, and what of program files is in memory, once.
    public var memoryKb: Int
    /// The sum of their proportional set sizes: less, because the lab's other processes share the program's pages.
    public var pssKb: Int

    init(repetition: Int, node: String, owns: Bool, _ reading: UsageMeter.Reading) {
      func rounded(_ value: Double) -> Double { (value * 100).rounded() / 100 }
      (self.repetition, self.node, self.owns) = (repetition, node, owns)
      daemonPercent = rounded(reading.daemonPercent)
      guardianPercent = reading.guardianPercent.map(rounded)
      processorPercent = rounded(reading.daemonPercent + (reading.guardianPercent ?? 0))
      memoryKb = reading.memory.resident
      pssKb = reading.memory.proportional
    }
  }

  /// One step of one repetition: from it to the next.
  public struct StepFigures: Sendable, Codable {
    public var repetition: Int
    public var fault: String
    /// After the time when the cluster had settled.
    public var atMs: Double
    public var lengthMs: Double
    /// The longest gap between answered probes, less the noise floor.
    public var outageMs: Double
    public var gapMs: Double
    /// The longest gap between requests that were answered through the service, less its own noise floor; absent without a service.
    public var serviceOutageMs: Double?
    public var noiseFloorMs: Double
    /// For how long the prober itself was not run, at worst; only where that was over 5 ms.
    public var proberStallMs: Double?
    public var probes: Int
    public var probesLost: Int
    public var twoOwnersMs: Double
    public var longestTwoOwnersMs: Double
    public var noOwnerMs: Double
    /// How often a node took an address, of any VIP.
    public var takes: Int
    public var ownersAtEnd: [String]
    /// From the last answered probe to the step's end: long where nothing answers any more.
    public var darkMs: Double
    public var connects: Int
    public var connectsFailed: Int
    public var requests: Int
    public var requestsFailed: Int
    public var connectionsOpen: Int
    public var connectionsBroken: Int
    /// Adverts and announcements, out of turn, of VIPs that did not change; absent where nobody listened.
    public var outOfTurn: Int?
  }

  public struct Change: Sendable, Codable {
    public var repetition: Int
    /// After the time when the cluster had settled; what was before is left out.
    public var atMs: Double
    public var node: String
    public var address: String
    public var isHeld: Bool
  }

  public struct Summary: Sendable, Codable {
    public var outageMs: Spread
    public var serviceOutageMs: Spread?
    public var twoOwnersMs: Spread
    public var noOwnerMs: Spread
    public var requestsFailed: Spread
    public var connectionsBroken: Spread
    public var noiseFloorMs: Spread

    /// Nil without figures.
    init?(_ figures: [StepFigures]) {
      func spread(_ value: (StepFigures) -> Double) -> Spread? { Spread(figures.map(value)) }
      guard let outage = spread(\.outageMs), let two = spread(\.twoOwnersMs), let none = spread(\.noOwnerMs),
        let failed = spread({ Double($0.requestsFailed) }), let broken = spread({ Double($0.connectionsBroken) }),
        let noise = spread(\.noiseFloorMs)
      else { return nil }
      (outageMs, twoOwnersMs, noOwnerMs, requestsFailed, connectionsBroken, noiseFloorMs) = (
        outage, two, none, failed, broken, noise
      )
      serviceOutageMs = Spread(figures.compactMap(\.serviceOutageMs))
    }
  }

  public struct Measured: Sendable, Codable {
    public var runs: [StepFigures]
    public var usage: [Usage]
    public var summary: Summary
    public var steps: [String: Summary]
    public var expectations: [Verdict]
    public var changes: [Change]
  }

  /// Whether an expectation of the scenario held, in every repetition.
  public struct Verdict: Sendable, Codable {
    public enum Outcome: String, Sendable, Codable { case held, failed, skipped }
    public var text: String
    public var line: Int
    public var outcome: Outcome
    /// What was seen instead, or why it was not looked at.
    public var detail: String?
  }

  public var didHold: Bool { !expectations.contains { $0.outcome == .failed } }

  public func json() throws -> String {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    return String(decoding: try encoder.encode(self), as: UTF8.self)
  }
}

extension ScenarioReport.Measured {
  /// - Parameter mainFault: the summary is of the steps with that word: the first that breaks something.
  init?(_ outcomes: [RunOutcome], mainFault: String?) {
    runs = outcomes.flatMap(\.steps)
    usage = outcomes.flatMap(\.usage)
    let main = runs.filter { $0.fault == mainFault }
    guard let summary = ScenarioReport.Summary(main.isEmpty ? runs : main) else { return nil }
    self.summary = summary
    steps = [:]
    for word in Set(runs.map(\.fault)) { steps[word] = ScenarioReport.Summary(runs.filter { $0.fault == word }) }
    changes = outcomes.flatMap(\.changes)
    expectations = outcomes.first?.verdicts ?? []
    for outcome in outcomes.dropFirst() {
      for index in expectations.indices
      where outcome.verdicts.indices.contains(index) && outcome.verdicts[index].outcome == .failed {
        expectations[index] = outcome.verdicts[index]
      }
    }
  }
}

/// What came of telling a scenario once.
struct RunOutcome: Sendable {
  var steps: [ScenarioReport.StepFigures]
  var usage: [ScenarioReport.Usage]
  var verdicts: [ScenarioReport.Verdict]
  var changes: [ScenarioReport.Change]
}
