import Scenario

/// What the lab can't do, said before anything is built.
extension FaultDriver {
  /// What it can do on no machine.
  static func refuse(_ scenario: Scenario) throws(LabError) {
    if !scenario.options.guardian {
      throw LabError(
        .usage, "\(scenario.name).scenario: the lab's nodes have their guardians; `roost simulate` can do without")
    }
    for step in scenario.steps {
      guard let reason = impossible(step.action) else { continue }
      throw LabError(.usage, "\(scenario.name).scenario:\(step.line): the lab can't \(reason); `roost simulate` can")
    }
  }

  private static func impossible(_ action: Action) -> String? {
    switch action {
    case .delay: "delay packets (that needs netem in the kernel)"
    case .clockJump: "move one node's wall clock (all namespaces of a machine have the same one)"
    default: nil
    }
  }

  /// Whether the lab could tell it: for those that are not asked for by name.
  static func canTell(_ scenario: Scenario) -> Bool {
    scenario.options.guardian && !scenario.steps.contains { impossible($0.action) != nil }
  }

  /// What keepalived knows nothing of; nil where it can be put through the same.
  static func strangeToKeepalived(_ scenario: Scenario) -> String? {
    scenario.steps.first {
      switch $0.action {
      case .move, .standby, .resume, .upgrade, .guardianKill, .linkPeersCut, .backendKill: true
      default: false
      }
    }?.action.word
  }

  /// Whether there has to be a host that means no good.
  static func needsStranger(_ scenario: Scenario) -> Bool {
    scenario.steps.contains {
      switch $0.action {
      case .rogueAdvert, .rtnlBusy, .hog: true
      default: false
      }
    }
  }

  /// What this lab has no means for, said before a scenario is told.
  static func check(_ scenario: Scenario, nodes: Int, backends: Int) throws(LabError) {
    try refuse(scenario)
    for step in scenario.steps {
      switch step.action {
      case .partition, .oneWay, .loss, .linkPeersCut: try Cabling.checkFilter()
      default: break
      }
    }
    guard scenario.nodes <= nodes else {
      throw LabError(
        .usage, "the scenario \(scenario.name) is about \(scenario.nodes) nodes; the configuration has \(nodes)")
    }
    let used = scenario.steps.compactMap { step -> Int? in
      switch step.action {
      case .backendKill(let index), .backendStart(let index): index
      default: nil
      }
    }.max()
    if let used, used >= backends {
      throw LabError(
        .usage, "the scenario \(scenario.name) is about app\(used + 1); the first service has \(backends) backends")
    }
  }
}
