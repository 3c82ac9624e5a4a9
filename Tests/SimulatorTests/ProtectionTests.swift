import Basis
import Scenario
import Simulator
import Testing

/// Each protection is taken away in turn, and its promise stays: the run must then break it, or nobody would know if it did.
struct ProtectionTests {
  struct Case: Sendable, CustomTestStringConvertible {
    var protection: Protection
    var faults: [Chaos.Kind]
    var promise: Violation.Promise
    var nodes = 3
    var testDescription: String { protection.rawValue }
  }

  static let cases = [
    Case(protection: .lease, faults: [.killAll, .stallAll], promise: .oneOwner),
    Case(protection: .guardian, faults: [.kill, .stall], promise: .oneOwner),
    Case(protection: .fence, faults: [.stallAtMessage], promise: .oneOwner),
    Case(protection: .sweep, faults: [.killAll], promise: .nothingLeft),
    Case(protection: .isolation, faults: [.linkCut, .kill], promise: .isolation),
    Case(protection: .authentication, faults: [.rogueAdvert], promise: .stranger),
    Case(protection: .skew, faults: [.kill, .nodeDead], promise: .oneWinner, nodes: 4),
    Case(protection: .reannouncement, faults: [.partition, .rogueAnnouncement], promise: .neighbours),
    Case(protection: .putBack, faults: [.addressRemoved], promise: .someOwner),
  ]

  static func plan(_ one: Case) -> Plan {
    Plan(
      Chaos(every: .seconds(4), longest: .seconds(6), kinds: one.faults), nodes: one.nodes, duration: .seconds(60))
  }

  @Test func `every protection has its case`() {
    #expect(Set(Self.cases.map(\.protection)) == Set(Protection.allCases))
  }

  @Test(arguments: cases)
  func `without a protection its promise is broken, and that is seen`(one: Case) async {
    var plan = Self.plan(one)
    plan.switchOff(one.protection)
    let found = await Simulation.run(plan, seeds: 0..<40).violations
    #expect(found.contains { $0.promise == one.promise }, "\(Set(found.map(\.promise)))")
    #expect(found.first?.again.contains("--without \(one.protection.rawValue)") ?? false)
  }

  @Test(arguments: cases)
  func `with all of them the same faults break nothing`(one: Case) async {
    let report = await Simulation.run(Self.plan(one), seeds: 0..<20)
    for violation in report.violations.prefix(1) { Issue.record("\(violation)") }
  }

  @Test func `with the peer link cut a cluster is plain VRRP, and no worse`() async throws {
    for name in ["polite-stop", "node-dead", "link-down", "partition", "owner-killed", "owner-stalled", "standby"] {
      var scenario = try #require(Scenario.builtIn(named: name))
      scenario.options.peerLink = false
      let report = await Simulation.run(Plan(scenario), seeds: 0..<20)
      for violation in report.violations.prefix(1) { Issue.record("\(name): \(violation)") }
      for line in report.expectations where line.held < line.judged {
        Issue.record("\(name): \(line.expectation.text): seed \(line.failedSeed ?? 0): \(line.measured)")
      }
    }
    // Cut in the middle of whatever happens, and whole again.
    let kinds: [Chaos.Kind] = [.peersCut, .kill, .stop, .stall, .partition, .move, .linkDown]
    let report = await Simulation.run(
      Plan(Chaos(every: .seconds(3), kinds: kinds), nodes: 3, duration: .seconds(60)), seeds: 0..<20)
    for violation in report.violations.prefix(1) { Issue.record("\(violation)") }
  }

  @Test func `people's moves are made, and strangers, thieves, clocks and upgrades change nothing`() async {
    let moves = await Simulation.run(
      Plan(Chaos(every: .seconds(3), kinds: [.move, .kill, .reload]), nodes: 3, duration: .seconds(60)), seeds: 0..<30)
    for violation in moves.violations.prefix(1) { Issue.record("\(violation)") }
    #expect(moves.outcomes.map(\.moves).reduce(0, +) > 30)
    let quiet = await Simulation.run(
      Plan(
        Chaos(every: .seconds(3), kinds: [.rogueAdvert, .clockJump, .peersCut, .rtnlBusy, .hog]), nodes: 3,
        duration: .seconds(60)), seeds: 0..<30)
    for violation in quiet.violations.prefix(1) { Issue.record("\(violation)") }
    #expect(quiet.outcomes.allSatisfy { $0.longestOutage == .zero })
    let upgrades = await Simulation.run(
      Plan(
        Chaos(every: .seconds(1), kinds: [.upgrade, .clockJump, .peersCut, .rtnlBusy]), nodes: 3,
        duration: .seconds(60)), seeds: 0..<30)
    for violation in upgrades.violations.prefix(1) { Issue.record("\(violation)") }
    #expect(upgrades.outcomes.allSatisfy { $0.longestOutage == .zero })
  }
}
