import Basis
import Node
import Scenario
import Simulator
import Testing

/// A checker that never speaks proves nothing: each is shown a node that does what it is there to find.
struct CheckerTests {
  private func violations<Plane: ControlPlane>(of plane: Plane.Type) async -> [Violation] {
    let kinds: [Chaos.Kind] = [
      .stop, .kill, .restart, .stall, .nodeDead, .linkDown, .linkCut, .partition, .oneWay, .loss, .delay, .workersSick,
    ]
    let plan = Plan(
      story: .chaos(Chaos(every: .seconds(5), kinds: kinds)), nodes: 3, duration: .seconds(60))
    return await Simulation.run(plan, seeds: 0..<20, plane: plane).violations
  }

  @Test func `an owner that ignores a better one makes two owners, and is found`() async {
    let found = await violations(of: IgnoresBetter.self)
    #expect(!found.isEmpty && found.allSatisfy { $0.promise == .oneOwner })
  }

  @Test func `a node that never releases makes two owners, and is found`() async {
    let found = await violations(of: NeverReleases.self)
    #expect(found.contains { $0.promise == .oneOwner })
  }

  @Test func `a node that never releases leaves an address behind when it stops, and is found`() async throws {
    // Alone, so that there is no second owner to be found first.
    let scenario = try #require(Scenario.builtIn(named: "polite-stop"))
    let plan = Plan(story: .scenario(scenario), nodes: 1, duration: scenario.end)
    let found = await Simulation.run(plan, seeds: 0..<5, plane: NeverReleases.self).violations
    #expect(found.count == 5 && found.allSatisfy { $0.promise == .nothingLeft })
  }

  @Test func `an owner that never renews leaves nobody, and is found`() async {
    let found = await violations(of: NeverRenews.self)
    #expect(!found.isEmpty && found.allSatisfy { $0.promise == .someOwner })
  }

  @Test func `a node that stops before its address is gone is found`() async {
    let found = await violations(of: StopsAtOnce.self)
    #expect(!found.isEmpty && found.allSatisfy { $0.promise == .nothingLeft })
  }

  @Test func `a node that never stops is found`() async {
    let found = await violations(of: NeverStops.self)
    #expect(!found.isEmpty && found.allSatisfy { $0.promise == .nothingLeft })
  }

  @Test func `a node that runs in a circle is found`() async {
    let found = await violations(of: RunsInACircle.self)
    #expect(found.count == 20 && found.allSatisfy { $0.promise == .progress })
  }

  @Test func `a node that babbles is found`() async {
    let found = await violations(of: Babbles.self)
    #expect(found.count == 20 && found.allSatisfy { $0.promise == .progress })
  }

  @Test func `a violation tells its seed, its time, its last events and how to see it again`() async throws {
    let violation = try #require(await violations(of: IgnoresBetter.self).first)
    #expect(violation.trace.count == 40)
    let text = violation.description
    #expect(text.contains("seed \(violation.seed), "))
    #expect(text.contains("both hold VIP 1"))
    #expect(text.contains("roost simulate --seed \(violation.seed) --nodes 3"))
  }
}
