import Basis
import Glibc
import Linux
import Scenario
import Wire

/// Does to a lab what the steps of a scenario say, and knows what is broken at any time.
final class FaultDriver {
  private let machines: Machines
  private let cabling: Cabling
  private let monitor: AddressMonitor
  /// The scenario's lb1, lb2, … and app1, app2, …, by the names that they have in this lab.
  let nodes: [String]
  let backends: [String]
  private let addresses: [IPAddress]
  private let interfaces: [(node: String, name: String)]

  private(set) var history: [(time: Instant, state: Connectivity)] = []
  private var state = Connectivity()
  private var lossy: [Cabling.Pair: Double] = [:]
  private var pulled: Set<String> = []
  private(set) var stalled: Set<String> = []

  init(
    machines: Machines, cabling: Cabling, monitor: AddressMonitor, nodes: [String], backends: [String],
    addresses: [IPAddress]
  ) {
    self.machines = machines
    self.cabling = cabling
    self.monitor = monitor
    self.nodes = nodes
    self.backends = backends
    self.addresses = addresses
    interfaces = machines.cluster.topology.hosts(.node).flatMap { host in host.interfaces.map { (host.name, $0.name) } }
  }

  func forgetHistory() { history = [(Clock.now(), state)] }

  /// What the lab can do on no machine, said before anything is built.
  static func refuseDelay(_ scenario: Scenario) throws(LabError) {
    for step in scenario.steps {
      guard case .delay = step.action else { continue }
      throw LabError(
        .usage,
        "\(scenario.name).scenario:\(step.line): the lab can't delay packets (that needs netem in the kernel); `roost simulate` can"
      )
    }
  }

  /// What this lab has no means for, said before a scenario is told.
  static func check(_ scenario: Scenario, nodes: Int, backends: Int) throws(LabError) {
    try refuseDelay(scenario)
    for step in scenario.steps {
      switch step.action {
      case .partition, .oneWay, .loss: try Cabling.checkFilter()
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

  func perform(_ action: Action) throws(LabError) {
    switch action {
    case .stop(let who): for node in resolve(who) { machines.signalDaemon(node, SIGTERM) }
    case .kill(let who): for node in resolve(who) { machines.killDaemon(node) }
    case .stall(let who, _): for node in resolve(who) { stall(node) }
    case .nodeDead(let who): for node in resolve(who) { try die(node) }
    case .linkDown(let who):
      for node in resolve(who) {
        try cabling.setCarrier(node, false)
        pulled.insert(node)
        state.isolated.insert(node)
      }
    case .linkCut(let who):
      for node in resolve(who) {
        try cabling.setForwarding(node, false)
        state.isolated.insert(node)
      }
    case .partition(let groups): try partition(groups)
    case .oneWay(let from, let to):
      for pair in pairs(from, to, bothWays: false) { state.cut.insert(pair) }
      try setPaths()
    case .loss(let path, let share):
      for pair in pairs(path.from, path.to, bothWays: path.bothWays) {
        if share >= 1 { state.cut.insert(pair) } else { lossy[pair] = share }
      }
      try setPaths()
    case .delay: throw LabError(.usage, "the lab can't delay packets; `roost simulate` can")
    case .start(let who): for node in resolve(who) { try start(node) }
    case .restart(let who): for node in resolve(who) { try restart(node) }
    case .heal: try heal()
    case .backendKill(let index): if backends.indices.contains(index) { machines.killServer(backends[index]) }
    case .backendStart(let index): if backends.indices.contains(index) { try machines.startServer(backends[index]) }
    default: throw LabError(.usage, "the lab can't do `\(action.word)`; `roost simulate` can")
    }
    history.append((Clock.now(), state))
  }

  /// Ends a stall; nothing happens to a node that is not stalled.
  func resume(_ node: String) {
    guard stalled.remove(node) != nil else { return }
    for process in machines.daemonProcesses(node) { process.signal(SIGCONT) }
  }

  /// Every fault undone.
  func heal() throws(LabError) {
    state.cut = []
    lossy = [:]
    try setPaths()
    for node in stalled.sorted() { resume(node) }
    for host in state.isolated.union(state.dead).sorted() where !state.dead.contains(host) { try rejoin(host) }
    for node in nodes { try start(node) }
    for backend in backends where !machines.isServing(backend) { try machines.startServer(backend) }
  }

  // MARK: Selectors

  func resolve(_ selector: Selector) -> [String] {
    switch selector {
    case .node(let index): nodes.indices.contains(index) ? [nodes[index]] : []
    case .owner: Array(owners.prefix(1))
    case .backup: Array(nodes.filter { !owners.contains($0) && machines.isRunning($0) }.prefix(1))
    case .all: nodes
    case .rest: []  // settled by the partition that it stands in
    }
  }

  private var owners: [String] {
    nodes.filter { !state.dead.contains($0) && monitor.holds($0, anyOf: addresses) }
  }

  private func pairs(_ from: Selector, _ to: Selector, bothWays: Bool) -> [Cabling.Pair] {
    var pairs: [Cabling.Pair] = []
    let sources = resolve(from), targets = resolve(to)
    for source in sources {
      for target in targets where source != target {
        pairs.append(Cabling.Pair(from: source, to: target))
        if bothWays { pairs.append(Cabling.Pair(from: target, to: source)) }
      }
    }
    return pairs
  }

  // MARK: Faults

  private func partition(_ selectors: [[Selector]]) throws(LabError) {
    var groups = selectors.map { $0.flatMap(resolve) }
    let named = Set(groups.joined())
    for index in selectors.indices where selectors[index].contains(.rest) {
      groups[index] += nodes.filter { !named.contains($0) }
    }
    for (index, group) in groups.enumerated() {
      for other in groups[(index + 1)...] {
        for (from, to) in group.flatMap({ from in other.map { (from, $0) } }) {
          state.cut.insert(Cabling.Pair(from: from, to: to))
          state.cut.insert(Cabling.Pair(from: to, to: from))
        }
      }
    }
    try setPaths()
  }

  private func setPaths() throws(LabError) { try cabling.setPaths(cut: state.cut, lossy: lossy) }

  private func stall(_ node: String) {
    for process in machines.daemonProcesses(node) { process.signal(SIGSTOP) }
    stalled.insert(node)
  }

  /// The processes are looked up first, so that link and processes go within microseconds.
  private func die(_ node: String) throws(LabError) {
    let processes = machines.processes(on: node)
    try cabling.setForwarding(node, false)
    for process in processes { process.signal(SIGSTOP) }
    for process in processes { process.signal(SIGKILL) }
    stalled.remove(node)
    state.dead.insert(node)
    state.isolated.insert(node)
  }

  private func rejoin(_ node: String) throws(LabError) {
    if pulled.remove(node) != nil { try cabling.setCarrier(node, true) } else { try cabling.setForwarding(node, true) }
    state.isolated.remove(node)
  }

  private func start(_ node: String) throws(LabError) {
    if state.dead.contains(node) {
      // A machine that was dead remembers no address.
      try forgetAddresses(of: node)
      try machines.startServer(node)
      try rejoin(node)
      state.dead.remove(node)
    }
    if stalled.contains(node) { return }
    try machines.startDaemon(node)
  }

  private func forgetAddresses(of node: String) throws(LabError) {
    let names = interfaces.filter { $0.node == node }.map(\.name)
    let commands = names.flatMap { name in
      addresses.map { "address del \($0)/\($0.family == .ipv4 ? 32 : 128) dev \(name)" }
    }
    // Most are not there; that is no mistake.
    _ = try Command.run(
      [Command.find("ip") ?? "ip", "-force", "-batch", "-"], input: commands.joined(separator: "\n") + "\n",
      in: machines.cluster.namespace(of: node))
  }

  private func restart(_ node: String) throws(LabError) {
    machines.signalDaemon(node, SIGTERM)
    let deadline = Clock.now() + .seconds(10)
    while machines.isRunning(node) {
      guard Clock.now() < deadline else { throw LabError(.failed, "\(node) did not end within 10 s of SIGTERM") }
      usleep(1_000)
    }
    try machines.startDaemon(node)
  }
}
