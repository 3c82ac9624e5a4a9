import Basis
import Testing

@testable import Scenario

struct BuiltInTests {
  @Test func `every built-in scenario is right, has a picture, one fault and its heal, and something to expect`() {
    #expect(
      Scenario.builtIn.map(\.name) == [
        "polite-stop", "owner-killed", "node-dead", "link-down", "partition", "returning-node", "backend-killed",
      ])
    for scenario in Scenario.builtIn {
      #expect(scenario.drawing.count >= 2, "\(scenario.name)")
      #expect(scenario.steps.count == 2 && scenario.steps[0].action.isFault && !scenario.steps[1].action.isFault)
      #expect(scenario.expectations.count >= 4, "\(scenario.name)")
    }
  }

  @Test func `a name that no scenario has gives none`() {
    #expect(Scenario.builtIn(named: "no-such-thing") == nil)
    #expect(Scenario.builtIn(named: "node-dead")?.nodes == 2)
  }
}
