import Basis
import Testing

@testable import Scenario

struct BuiltInTests {
  @Test func `every built-in scenario is right, has a picture, a fault and its heal, and something to expect`() {
    #expect(
      Scenario.builtIn.map(\.name) == [
        "polite-stop", "owner-killed", "all-killed", "owner-stalled", "node-dead", "link-down", "partition",
        "adverts-lost", "rogue-advert", "hand-over", "standby", "rolling-change", "reload", "upgrade", "returning-node",
        "clock-jump", "guardian-killed", "address-removed", "rtnl-busy", "hog", "interface-renamed",
        "interface-removed", "many-instances", "backend-killed",
      ])
    for scenario in Scenario.builtIn {
      #expect(scenario.drawing.count >= 2, "\(scenario.name)")
      #expect(scenario.steps.first?.action.isFault == true && scenario.steps.last?.action.isFault == false)
      #expect(2...3 ~= scenario.steps.count && scenario.expectations.count >= 4, "\(scenario.name)")
    }
  }

  @Test func `a name that no scenario has gives none`() {
    #expect(Scenario.builtIn(named: "no-such-thing") == nil)
    #expect(Scenario.builtIn(named: "node-dead")?.nodes == 2)
  }
}
