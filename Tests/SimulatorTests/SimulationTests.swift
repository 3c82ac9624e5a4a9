import Basis
import Node
import Scenario
import Simulator
import Testing

struct SimulationTests {
  static let chaos = Plan(Chaos(every: .seconds(5)), nodes: 3, duration: .seconds(60))

  @Test func `the same seed gives the same trace, twice`() async {
    let first = await Simulation.run(Self.chaos, seeds: 0..<20)
    let second = await Simulation.run(Self.chaos, seeds: 0..<20, threads: 1)
    #expect(first.hash == second.hash)
    #expect(first.outcomes.map(\.hash) == second.outcomes.map(\.hash))
    #expect(first.events == second.events)
    #expect(Set(first.outcomes.map(\.hash)).count == 20)
  }

  @Test func `hundreds of seeds of chaos break no promise`() async {
    let report = await Simulation.run(Self.chaos, seeds: 0..<200)
    for violation in report.violations.prefix(3) { Issue.record("\(violation)") }
    #expect(report.violations.isEmpty)
    #expect(report.events > 100_000)
  }

  @Test func `a network that loses, repeats and reorders, and VIPs that prefer other nodes, break no promise`() async {
    var plan = Plan(Chaos(every: .seconds(3)), nodes: 4, vips: 3, duration: .seconds(60))
    plan.loss = 0.001
    plan.duplication = 0.01
    plan.jitter = .milliseconds(20)
    let report = await Simulation.run(plan, seeds: 0..<40)
    for violation in report.violations.prefix(1) { Issue.record("\(violation)") }
    #expect(report.violations.isEmpty)
  }

  @Test func `a report says what was simulated, for people and for programs`() async throws {
    let scenario = try #require(Scenario.builtIn(named: "node-dead"))
    let report = await Simulation.run(Plan(scenario), seeds: 0..<4)
    #expect(report.description.contains("✓ owner lb1 at end: 4 of 4, such as lb1"))
    #expect(report.description.contains("no promise was broken"))
    let json = try report.json()
    #expect(json.contains("\"passed\" : true"))
    #expect(json.contains("\"expectation\" : \"owner lb1 at end\""))
  }

  @Test(arguments: Scenario.builtIn)
  func `every built-in scenario goes as expected`(scenario: Scenario) async {
    // 255 elections are a lot of work where nothing is optimized.
    let seeds: UInt64 = scenario.options.vips > 16 ? 1 : 20
    let report = await Simulation.run(Plan(scenario), seeds: 0..<seeds)
    for violation in report.violations.prefix(1) { Issue.record("\(violation)") }
    for line in report.expectations where line.held < line.judged {
      Issue.record(
        "\(line.expectation.text): \(line.held) of \(line.judged); seed \(line.failedSeed ?? 0): \(line.measured)")
    }
    #expect(report.passed)
  }
}
