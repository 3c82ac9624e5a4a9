import Basis
import Configuration
import Scenario

/// `roost lab run`: a scenario, told to the real cluster as often as wanted, and measured.
public enum LabRun {
  public struct Options: Sendable {
    public var programs: Programs
    /// The configuration's path, for `roost run`; nil for the built-in one of `DemoConfiguration`.
    public var configurationFile: String?
    public var root = LabFolder.defaultRoot
    public var repetitions = 1
    /// These nodes run keepalived instead of roost.
    public var keepalivedNodes: Set<String> = []
    /// After each repetition, the same one with keepalived on every node, on a lab of its own.
    public var comparesWithKeepalived = false
    /// Long-lived connections of the client.
    public var connections = 100
    /// Nil: as the scenario says.
    public var pace: Pace?
    /// How long the last step is watched, and lasts where it has a length; nil: as the scenario says.
    public var length: Duration?

    public init(programs: Programs) { self.programs = programs }
  }

  /// - Parameters:
  ///   - configuration: nil for a cluster of the scenario's own size and timers, and then without a file.
  ///   - say: is told what is being done, one line each.
  ///   - done: is given each scenario's report as soon as there is one.
  @discardableResult
  public static func run(
    _ scenarios: [Scenario], _ configuration: Configuration?, _ options: Options, say: (String) -> Void,
    done: (ScenarioReport) -> Void = { _ in }
  ) throws(LabError) -> [ScenarioReport] {
    for scenario in scenarios { try FaultDriver.refuse(scenario) }
    var reports: [ScenarioReport] = []
    var rest = scenarios[...]
    while let first = rest.first {
      // Scenarios about the same cluster are told on the same lab.
      let group = rest.prefix {
        configuration != nil
          || ($0.nodes, $0.backends, $0.interval) == (first.nodes, first.backends, first.interval)
            && $0.options == first.options
      }
      rest = rest.dropFirst(group.count)
      var plan = LabPlan(first)
      if let configuration { plan.given = (configuration, options.configurationFile ?? "") }
      plan.hasStranger = group.contains(where: FaultDriver.needsStranger)
      let bench = try LabBench(plan, options, say: say)
      defer { bench.remove() }
      for scenario in group {
        let report = try bench.measure(scenario, say: say)
        done(report)
        reports.append(report)
      }
    }
    return reports
  }

  /// Whether the lab has the means for what the scenario tells.
  public static func canTell(_ scenario: Scenario) -> Bool { FaultDriver.canTell(scenario) }
}

/// What cluster a lab is to have.
struct LabPlan {
  /// A person's own configuration, and its file.
  var given: (value: Configuration, file: String)?
  var demo: DemoConfiguration
  var hasPeerLink = true
  var hasStranger = false

  init(_ demo: DemoConfiguration) { self.demo = demo }

  init(_ scenario: Scenario) {
    demo = DemoConfiguration(scenario)
    hasPeerLink = scenario.options.peerLink
  }

  var file: String? { given?.file }

  func configuration() throws(LabError) -> Configuration {
    if let given { return given.value }
    // The secrets are made with the lab; here it only matters that there are some.
    var named = demo
    if hasPeerLink {
      named.secret = "/made/with/the/lab"
    } else if demo.authentication != .off {
      named.key = "/made/with/the/lab"
    }
    return try named.configuration()
  }

  /// - Parameter folder: the lab's, where secrets are made.
  func nodeConfiguration(in folder: String) throws(LabError) -> NodeConfiguration {
    if let given { return .file(given.file) }
    return .demo(try demo.withSecrets(in: folder, hasPeerLink: hasPeerLink))
  }
}

/// One or two labs side by side, on which scenarios are measured one after the other.
final class LabBench {
  private let options: LabRun.Options
  private let session: Session
  private let rival: Session?
  private let interval: Duration

  init(_ plan: LabPlan, _ options: LabRun.Options, say: (String) -> Void) throws(LabError) {
    self.options = options
    let configuration = try plan.configuration()
    if case .vrrp(let router)? = configuration.vips.first?.election {
      interval = router.interval
    } else {
      interval = .seconds(1)
    }
    try Cluster.checkHost()
    let interrupt = try Interrupt()
    for id in Cluster.removeStale(in: options.root) { say("lab \(id), left behind by a run that was killed: removed") }
    say("building the lab")
    func make(_ keepalived: Set<String>) throws(LabError) -> Session {
      try Session(
        plan, in: options.root, programs: options.programs, keepalived: keepalived, connections: options.connections,
        interrupt: interrupt)
    }
    session = try make(options.keepalivedNodes)
    if options.comparesWithKeepalived, options.programs.keepalived != nil {
      do throws(LabError) {
        rival = try make(Set(configuration.cluster.nodes.map(\.name)))
      } catch {
        session.remove()
        throw error
      }
    } else {
      rival = nil
    }
  }

  var daemon: String {
    let all = Set(session.machines.nodes.map { session.machines.daemon(of: $0).rawValue })
    return all.count == 1 ? all.first ?? "" : "mixed"
  }

  func remove() {
    session.remove()
    rival?.remove()
  }

  /// - Parameter withRival: whether the peer is measured too.
  func measure(_ told: Scenario, withRival: Bool = true, say: (String) -> Void) throws(LabError) -> ScenarioReport {
    try FaultDriver.check(told, nodes: session.nodeCount, backends: session.backendCount)
    let paced = options.pace.map { told.hurried(to: $0) } ?? told
    let scenario = options.length.map { paced.lasting($0) } ?? paced
    let strange = FaultDriver.strangeToKeepalived(scenario)
    if withRival, rival != nil, let strange { say("\(scenario.name): keepalived knows no \(strange), and is left out") }
    var ours: [RunOutcome] = []
    var theirs: [RunOutcome] = []
    let count = max(1, options.repetitions)
    for repetition in 1...count {
      let prefix = count == 1 ? scenario.name : "\(scenario.name) \(repetition)/\(count)"
      ours.append(try session.tell(scenario, repetition: repetition) { say("\(prefix), \(daemon): \($0)") })
      if withRival, strange == nil, let rival {
        theirs.append(try rival.tell(scenario, repetition: repetition) { say("\(prefix), keepalived: \($0)") })
      }
    }
    let main = scenario.steps.first { $0.action.isFault }?.action.word
    guard let measured = ScenarioReport.Measured(ours, mainFault: main) else {
      throw LabError(.failed, "nothing was measured of the scenario \(scenario.name)")
    }
    var report = ScenarioReport(
      scenario: scenario.name, title: scenario.title, daemon: daemon, repeat: count, intervalMs: interval.milliseconds,
      runs: measured.runs, usage: measured.usage, summary: measured.summary, steps: measured.steps,
      expectations: measured.expectations,
      changes: measured.changes, peers: nil)
    if let peer = ScenarioReport.Measured(theirs, mainFault: main) { report.peers = ["keepalived": peer] }
    return report
  }
}

/// How long a hurried telling waits at most: before the first step, between two, and after the last.
public struct Pace: Sendable, Hashable {
  public var lead: Duration
  public var between: Duration
  public var tail: Duration

  public init(lead: Duration, between: Duration, tail: Duration) {
    self.lead = lead
    self.between = between
    self.tail = tail
  }

  /// What the demo takes: long enough for a kernel lease to end.
  public static let brisk = Pace(lead: .milliseconds(900), between: .milliseconds(2600), tail: .milliseconds(1200))
}

extension Scenario {
  /// The same steps with no more time than that between them: for who watches.
  func hurried(to pace: Pace) -> Scenario {
    var hurried = self
    var last = Duration.zero
    var lastTold = Duration.zero
    for index in steps.indices {
      // What goes on for a while is let go on.
      let length = index > 0 ? steps[index - 1].action.length ?? .zero : .zero
      lastTold += min(index == 0 ? pace.lead : max(pace.between, length + pace.tail), steps[index].at - last)
      last = steps[index].at
      hurried.steps[index].at = lastTold
    }
    if let step = hurried.steps.last, let length = step.action.length { lastTold += length }
    hurried.end = lastTold + min(pace.tail, end - last)
    return hurried
  }

  /// The same, with the last step lasting that long, if it is one that lasts; without a step, that long in all.
  func lasting(_ length: Duration) -> Scenario {
    var longer = self
    guard let last = steps.indices.last else {
      longer.end = length
      return longer
    }
    longer.steps[last].action = steps[last].action.lasting(length)
    longer.end = steps[last].at + length + min(.seconds(1), end - steps[last].at)
    return longer
  }
}

extension Action {
  /// The same for another length, where it has one.
  fileprivate func lasting(_ length: Duration) -> Action {
    switch self {
    case .stall(let who, _): .stall(who, for: length)
    case .stallAll(let who, _): .stallAll(who, for: length)
    case .rogueAdvert(let priority, _): .rogueAdvert(priority: priority, for: length)
    case .rtnlBusy: .rtnlBusy(for: length)
    case .hog: .hog(for: length)
    default: self
    }
  }
}
