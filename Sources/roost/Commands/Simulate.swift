import ArgumentParser
import Basis
import Configuration
import Dispatch
import Glibc
import Linux
import Scenario
import Simulator
import Synchronization

struct Simulate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "The cluster on virtual time: many nodes, a faulty network, checkers.",
    discussion: """
      Without --scenario the faults are drawn from the seed: daemons and guardians that crash or stall, also in the middle of \
      a message to the kernel; restarts, partitions, loss, delay, links and interfaces that go, clocks that jump, strangers, \
      thieves, moves, reloads. The checkers look for two owners that hear each other, for a VIP that nobody owns though a \
      healthy node is connected, for addresses that are left behind, for neighbours that are left in the dark, and for whatever \
      a stranger, a reload or a move must not do. Exit code 1 if one of them, or an expectation, fails.

      --without takes one of the protections away and leaves its promise: a run that then finds nothing proves nothing. \
      --without help lists them.
      """)

  @Option(
    name: .long, help: "A built-in scenario, a file, or \"all\" (default: random faults); may be given several times.")
  var scenario: [String] = []
  @Option(name: .long, help: "How many runs, each with a seed of its own.")
  var seeds: UInt64 = 100
  @Option(name: .customLong("first-seed"), help: "The first seed.")
  var firstSeed: UInt64 = 1
  @Option(name: .long, help: "Only this seed, as a broken promise names it.")
  var seed: UInt64?
  @Option(name: .long, help: "Nodes, 1 to 32.")
  var nodes = 5
  @Option(name: .long, help: "VIPs, 1 to 255, each preferring another node.")
  var vips = 1
  @Option(name: .long, help: "Without this protection; may be given several times; \"help\" lists them.")
  var without: [String] = []
  @Option(name: .long, help: "Only faults of these kinds, with commas between; \"help\" lists them.")
  var faults: String?
  @Option(name: .long, help: "Between two adverts, such as 10ms (default: 100ms, or as the scenario says).")
  var interval: String?
  @Option(name: .long, help: "Virtual time of a run with random faults, such as 10m.")
  var duration = "10m"
  @Option(name: .long, help: "Runs at the same time (default: one for each processor).")
  var threads: Int?
  @OptionGroup var output: OutputOptions

  func validate() throws {
    if !(1...32 ~= nodes) { throw ValidationError("--nodes takes 1 to 32") }
    if !(1...255 ~= vips) { throw ValidationError("--vips takes 1 to 255") }
    if let threads, !(1...256 ~= threads) { throw ValidationError("--threads takes 1 to 256") }
    if seed == .max { throw ValidationError("--seed is too large") }
    if seeds == 0 { throw ValidationError("--seeds takes 1 or more") }
    if firstSeed.addingReportingOverflow(seeds).overflow {
      throw ValidationError("--first-seed and --seeds are too large")
    }
    _ = try Self.interval(interval)
    for name in without where name != "help" && Protection(rawValue: name) == nil {
      throw ValidationError("--without knows no protection \(name); it has: \(Self.names(Protection.self))")
    }
    for name in kindNames where name != "help" && Chaos.Kind(rawValue: name) == nil {
      throw ValidationError("--faults knows no kind \(name); it has: \(Self.names(Chaos.Kind.self))")
    }
    if let length = try Self.duration("duration", duration), length < .seconds(1) {
      throw ValidationError("--duration takes 1s or more, not \(duration)")
    }
  }

  private var kindNames: [String] { (faults ?? "").split(separator: ",").map(String.init) }

  private static func names<Kind: RawRepresentable & CaseIterable>(_ kind: Kind.Type) -> String
  where Kind.RawValue == String {
    Kind.allCases.map(\.rawValue).joined(separator: ", ")
  }

  func run() throws {
    if without.contains("help") {
      for protection in Protection.allCases { print("\(protection.rawValue): \(protection.without)") }
      return
    }
    if kindNames.contains("help") { return print(Self.names(Chaos.Kind.self)) }
    var reports: [String] = []
    var passed = true
    for (name, plan) in try plans() {
      let report = simulate(plan, name)
      passed = passed && report.passed
      if output.json { reports.append(try report.json()) } else { print("\(name): \(report)") }
    }
    if output.json { print(reports.count == 1 ? reports[0] : "[\n" + reports.joined(separator: ",\n") + "\n]") }
    if !passed { throw ExitCode(ExitStatus.failed.rawValue) }
  }

  private func plans() throws -> [(name: String, plan: Simulator.Plan)] {
    let interval = interval.flatMap { Duration(written: $0) }
    var plans: [(name: String, plan: Simulator.Plan)]
    if scenario.isEmpty {
      var chaos = Chaos()
      let kinds = kindNames.compactMap(Chaos.Kind.init(rawValue:))
      if !kinds.isEmpty { chaos.kinds = kinds }
      let plan = Simulator.Plan(
        chaos, nodes: nodes, vips: vips, interval: interval ?? .milliseconds(100),
        duration: Duration(written: duration) ?? .seconds(600))
      plans = [("random faults", plan)]
    } else {
      plans = try scenarios(scenario).map { ($0.name, Simulator.Plan($0, interval: interval)) }
    }
    for protection in without.compactMap(Protection.init(rawValue:)) {
      for index in plans.indices { plans[index].plan.switchOff(protection) }
    }
    return plans
  }

  private func simulate(_ plan: Simulator.Plan, _ name: String) -> Report {
    let range = seed.map { $0..<($0 + 1) } ?? firstSeed..<(firstSeed + seeds)
    let progress = Progress("\(name): simulated", of: Int(clamping: range.upperBound - range.lowerBound))
    let threads = self.threads ?? Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    defer { progress.end() }
    return blocking { await Simulation.run(plan, seeds: range, threads: threads) { progress.reached($0) } }
  }
}

/// Waits for something asynchronous; for commands, whose main thread has nothing else to do.
func blocking<Result: Sendable>(_ body: @escaping @Sendable () async -> Result) -> Result {
  let place = Mutex<Result?>(nil)
  let done = DispatchSemaphore(value: 0)
  let box = Box(place)
  Task.detached {
    let result = await body()
    box.place.withLock { $0 = result }
    done.signal()
  }
  done.wait()
  return box.place.withLock { $0 }!
}

private final class Box<Result: Sendable>: Sendable {
  let place: Mutex<Result?>
  init(_ place: consuming Mutex<Result?>) { self.place = place }
}

/// A line on standard error now and then: whatever takes over two seconds says how far it is.
final class Progress: Sendable {
  private let what: String
  private let total: Int
  private let started = Clock.now()
  private let said = Mutex(Clock.now())
  private let isTerminal = isatty(STDERR_FILENO) == 1

  init(_ what: String, of total: Int) {
    self.what = what
    self.total = total
  }

  func reached(_ count: Int) {
    said.withLock { said in
      let now = Clock.now()
      guard now - started > .seconds(2), now - said > (isTerminal ? .milliseconds(200) : .seconds(10)) else { return }
      said = now
      let line = "\(what) \(count) of \(total)"
      if isTerminal {
        let bytes = Array("\r\u{1B}[K\(line)".utf8)
        _ = write(STDERR_FILENO, bytes, bytes.count)
      } else {
        printError(line)
      }
    }
  }

  func end() {
    guard isTerminal else { return }
    let bytes = Array("\r\u{1B}[K".utf8)
    _ = write(STDERR_FILENO, bytes, bytes.count)
  }
}
