import Basis
import Configuration
import Glibc
import Linux
import Scenario
import Wire

/// Does to a lab what the steps of a scenario say, and knows what is broken at any time.
final class FaultDriver {
  let machines: Machines
  let cabling: Cabling
  private let monitor: AddressMonitor
  /// The scenario's lb1, lb2, … and app1, app2, …, by the names that they have in this lab.
  let nodes: [String]
  let backends: [String]
  /// The VIP that the story is about.
  let vip: Configuration.VIP

  private(set) var history: [(time: Instant, state: Connectivity)] = []
  var state = Connectivity()
  var rules = Cabling.Rules()
  private var pulled: Set<String> = []
  /// What stands still on each node.
  private(set) var stalled: [String: [ProcessIdentity]] = [:]
  var disturbances: [String: [Disturbance]] = [:]
  var errands: [Errand] = []
  var errandCount = 0
  var onStandby: Set<String> = []
  var hasMoved = false
  /// Interfaces that are not what they were.
  var renamed: [String: (name: String, now: String)] = [:]
  var removed: Set<String> = []

  init(
    machines: Machines, cabling: Cabling, monitor: AddressMonitor, nodes: [String], backends: [String],
    vip: Configuration.VIP
  ) {
    self.machines = machines
    self.cabling = cabling
    self.monitor = monitor
    self.nodes = nodes
    self.backends = backends
    self.vip = vip
  }

  func forgetHistory() { history = [(Clock.now(), state)] }

  func perform(_ action: Action) throws(LabError) {
    switch action {
    case .stop(let who): for node in resolve(who) { machines.signalDaemon(node, SIGTERM) }
    case .kill(let who): for node in resolve(who) { machines.killDaemon(node) }
    case .killAll(let who): for node in resolve(who) { try killAll(node) }
    case .guardianKill(let who): for node in resolve(who) { try theGuardian(of: node).signal(SIGKILL) }
    case .stall(let who, _): for node in resolve(who) { stall(node, machines.daemonProcesses(node)) }
    case .stallAll(let who, _):
      for node in resolve(who) {
        let guardian = machines.daemon(of: node) == .roost ? [try theGuardian(of: node)] : []
        stall(node, machines.daemonProcesses(node) + guardian)
      }
    case .nodeDead(let who): for node in resolve(who) { try die(node) }
    case .linkDown(let who): for node in resolve(who) { try pull(node) }
    case .linkCut(let who):
      for node in resolve(who) {
        try cabling.setForwarding(node, false)
        state.isolated.insert(node)
      }
    case .partition, .oneWay, .loss, .linkPeersCut: try breakPaths(action)
    case .delay, .clockJump: throw LabError(.usage, "the lab can't do `\(action.word)`; `roost simulate` can")
    case .start(let who): for node in resolve(who) { try start(node) }
    case .restart(let who): for node in resolve(who) { try restart(node) }
    case .move(let target): try move(to: target.flatMap { resolve($0).first })
    case .standby(let who): for node in resolve(who) { try standby(node) }
    case .resume(let who): for node in resolve(who) { try resumeService(node) }
    case .reload(let who, let change): for node in resolve(who) { try reload(node, change) }
    case .upgrade(let who): for node in resolve(who) { try upgrade(node) }
    case .rogueAdvert(let priority, _): try startRogue(priority)
    case .rtnlBusy: try startChurn()
    case .hog: try startHogs()
    case .addressRemoved(let who): for node in resolve(who) { try removeAddresses(of: node) }
    case .interfaceRenamed(let who): for node in resolve(who) { try renameInterface(of: node) }
    case .interfaceRemoved(let who): for node in resolve(who) { try removeInterface(of: node) }
    case .interfaceRecreated(let who): for node in resolve(who) { try recreateInterface(of: node) }
    case .heal: try heal()
    case .backendKill(let index): if backends.indices.contains(index) { machines.killServer(backends[index]) }
    case .backendStart(let index): if backends.indices.contains(index) { try machines.startServer(backends[index]) }
    }
    history.append((Clock.now(), state))
  }

  /// What the action began is over, if it is one that ends by itself; nothing happens where it is over already.
  func end(_ action: Action) throws(LabError) {
    switch action {
    case .stall, .stallAll: for node in stalled.keys.sorted() { awake(node) }
    case .rogueAdvert, .rtnlBusy, .hog: try endDisturbances(action.word)
    default: break
    }
  }

  /// Every fault undone.
  func heal() throws(LabError) {
    rules = Cabling.Rules()
    state.cut = []
    try setPaths()
    disturbances = [:]
    for node in stalled.keys.sorted() { awake(node) }
    for node in nodes { try recreateInterface(of: node) }
    for host in state.isolated.union(state.dead).sorted() where !state.dead.contains(host) { try rejoin(host) }
    for node in nodes { try start(node) }
    for backend in backends where !machines.isServing(backend) { try machines.startServer(backend) }
    for node in onStandby.sorted() { try resumeService(node) }
    for node in try machines.restoreConfigurations() { try tellToReload(node) }
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
    nodes.filter { !state.dead.contains($0) && monitor.holds($0, anyOf: vip.addresses) }
  }

  // MARK: Processes

  private func theGuardian(of node: String) throws(LabError) -> ProcessIdentity {
    guard let guardian = machines.guardian(node) else {
      throw LabError(
        .failed, "no guardian runs on \(node): \(machines.cluster.folder.stateFolder(node))/guardian.pid names none")
    }
    return guardian
  }

  /// Both, or it would not be what the story says; keepalived has only itself.
  private func killAll(_ node: String) throws(LabError) {
    if machines.daemon(of: node) == .roost { _ = try theGuardian(of: node) }
    machines.killDaemon(node, withGuardian: true)
  }

  private func stall(_ node: String, _ processes: [ProcessIdentity]) {
    for process in processes { process.signal(SIGSTOP) }
    stalled[node] = processes
  }

  private func awake(_ node: String) {
    for process in stalled.removeValue(forKey: node) ?? [] { process.signal(SIGCONT) }
  }

  /// The processes are looked up first, so that link and processes go within microseconds.
  private func die(_ node: String) throws(LabError) {
    let processes = machines.processes(on: node)
    try cabling.setForwarding(node, false)
    for process in processes { process.signal(SIGSTOP) }
    for process in processes { process.signal(SIGKILL) }
    stalled[node] = nil
    state.dead.insert(node)
    state.isolated.insert(node)
  }

  private func pull(_ node: String) throws(LabError) {
    try cabling.setCarrier(node, false)
    pulled.insert(node)
    state.isolated.insert(node)
  }

  func rejoin(_ node: String) throws(LabError) {
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
    if stalled[node] != nil { return }
    try machines.startDaemon(node)
  }

  private func forgetAddresses(of node: String) throws(LabError) {
    let names = machines.cluster.topology.host(node)?.interfaces.map(\.name) ?? []
    let addresses = machines.cluster.configuration.vips.flatMap(\.addresses)
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
