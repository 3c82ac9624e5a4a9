import Basis
import CLinux
import Configuration
import FoundationEssentials
import Glibc
import Linux
import Scenario
import Wire

/// A lab with its machines running, in which scenarios are told one after the other.
final class Session {
  let cluster: Cluster
  let machines: Machines
  private let monitor: AddressMonitor
  private let driver: FaultDriver
  private let interrupt: Interrupt
  private let vip: Configuration.VIP
  private let service: Configuration.Service?
  private let programs: Programs
  private let connections: Int

  init(
    _ plan: LabPlan, in root: String, programs: Programs, keepalived: Set<String>, connections: Int,
    interrupt: Interrupt
  ) throws(LabError) {
    let configuration = try plan.configuration()
    cluster = try Cluster(
      configuration, in: root, kind: .run, file: plan.file,
      clientAddresses: 1 + connections / Session.connectionsPerAddress, hasStranger: plan.hasStranger)
    self.interrupt = interrupt
    self.programs = programs
    self.connections = connections
    let service = configuration.services.first { $0.listen.contains { $0.transport == .tcp } }
    self.service = service
    guard let vip = configuration.vips.first(where: { $0.name == service?.vip }) ?? configuration.vips.first else {
      throw LabError(.usage, "the lab needs a VIP: the configuration has none under 'vips'")
    }
    self.vip = vip
    machines = try Machines(
      cluster, programs: programs, configuration: try plan.nodeConfiguration(in: cluster.folder.path),
      keepalived: keepalived)
    let hosts = cluster.topology.hosts(.node).map { [cluster] in
      (name: $0.name, namespace: cluster.namespace(of: $0.name))
    }
    monitor = try AddressMonitor(hosts: hosts, addresses: configuration.vips.flatMap(\.addresses))
    let preferred = vip.prefer + configuration.cluster.nodes.map(\.name).filter { !vip.prefer.contains($0) }
    let backends = (service?.backends ?? []).compactMap { [cluster] in cluster.topology.host(holding: $0.address)?.name
    }
    driver = FaultDriver(
      machines: machines, cabling: try Cabling(topology: cluster.topology, namespace: cluster.manifest.switchNamespace),
      monitor: monitor, nodes: preferred, backends: backends, vip: vip)
    try machines.startAll()
  }

  /// More from one address, run after run, and the kernel would run out of ports that nobody has used within the last minute.
  private static let connectionsPerAddress = 2000

  var nodeCount: Int { driver.nodes.count }
  var backendCount: Int { driver.backends.count }

  private var router: Configuration.Router? {
    if case .vrrp(let router) = vip.election { return router }
    return nil
  }

  private var interval: Duration { router?.interval ?? .seconds(1) }

  fileprivate var primaryAddress: IPAddress { vip.addresses.first ?? DemoConfiguration.vip }

  func remove() {
    monitor.stop()
    cluster.remove()
  }

  // MARK: Settling

  /// Until the preferred node, and no other, owns the VIP, the service answers the client, and every backend is up.
  func settle() throws(LabError) {
    try driver.heal()
    try driver.finishErrands()
    try driver.moveHome()
    if router?.preempt == false { try driver.perform(.restart(.owner)) }
    let deadline = Clock.now() + .seconds(20) + interval * 10
    try hold(until: deadline, "no node, or the wrong one, owns \(primaryAddress)") { () throws(LabError) in
      self.isOwnedAsPreferred
    }
    // What an earlier telling left wrong in the client's neighbour table was that one's finding, not the next one's start.
    _ = try? Command.run(
      [Command.find("ip") ?? "ip", "neigh", "flush", "all"], in: cluster.namespace(of: Topology.client))
    if let service {
      let endpoint = Endpoint(primaryAddress, service.listen.first?.ports.lowerBound ?? 80)
      try hold(until: deadline, "\(endpoint.address) port \(endpoint.port) does not answer the client") {
        () throws(LabError) in
        try self.answers(endpoint)
      }
      try hold(until: deadline, "a backend is not up") { () throws(LabError) in self.backendsAreUp }
    }
    // Elections and announcements that are still under way have ended by then.
    try interrupt.wait(min(interval * 2, .milliseconds(500)))
    try hold(until: deadline, "\(primaryAddress) does not stay where it belongs") { () throws(LabError) in
      self.isOwnedAsPreferred
    }
  }

  private var isOwnedAsPreferred: Bool {
    cluster.configuration.vips.allSatisfy { vip in
      let home = vip.prefer.first ?? driver.nodes.first
      return vip.addresses.allSatisfy { monitor.holders(of: $0) == [home].compactMap { $0 } }
    }
  }

  private func hold(
    until deadline: Instant, _ complaint: String, _ condition: () throws(LabError) -> Bool
  ) throws(LabError) {
    while true {
      if try condition() { return }
      guard Clock.now() < deadline else {
        throw LabError(.failed, "the cluster does not settle: \(complaint)\(lastWords())")
      }
      try interrupt.wait(.milliseconds(5))
    }
  }

  /// The end of each node's log, for the error.
  private func lastWords() -> String {
    machines.nodes.map { node in
      let running = machines.isRunning(node) ? "" : " (not running)"
      let lines = (readSmallFile(machines.log(of: node)) ?? "").split(separator: "\n").suffix(4)
      return "\n  \(node)\(running): " + (lines.isEmpty ? "no word" : lines.joined(separator: "\n    "))
    }.joined()
  }

  /// One request from the client's namespace.
  private func answers(_ endpoint: Endpoint) throws(LabError) -> Bool {
    try cluster.namespace(of: Topology.client).run {
      let descriptor = endpoint.connecting(SOCK_STREAM)
      guard descriptor >= 0 else { return false }
      defer { close(descriptor) }
      var polled = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
      guard poll(&polled, 1, 200) == 1, writeAll(descriptor, Array("GET / HTTP/1.0\r\nHost: lab\r\n\r\n".utf8)) else {
        return false
      }
      polled.events = Int16(POLLIN)
      guard poll(&polled, 1, 500) == 1 else { return false }
      var bytes = [UInt8](repeating: 0, count: 16)
      return read(descriptor, &bytes, bytes.count) >= 12 && bytes.starts(with: "HTTP/1.".utf8)
    }
  }

  // MARK: Asking a node

  private struct Status: Decodable {
    struct Service: Decodable {
      struct Backend: Decodable {
        var name: String
        var state: String
      }
      var name: String
      var backends: [Backend]
    }
    var services: [Service]
  }

  /// What `roost status` says on the node; nil where nothing answers, and with keepalived.
  private func status(of node: String) -> Status? {
    guard machines.daemon(of: node) == .roost, let roost = programs.roost, machines.isRunning(node) else { return nil }
    let answer = try? Command.run([roost, "status", "--json", "--socket", machines.socket(of: node)])
    guard let answer, answer.status == 0 else { return nil }
    return try? JSONDecoder().decode(Status.self, from: Data(answer.output.utf8))
  }

  private var backendsAreUp: Bool {
    for node in machines.nodes where machines.daemon(of: node) == .roost && machines.isRunning(node) {
      guard let status = status(of: node) else { return false }
      if status.services.contains(where: { $0.backends.contains { $0.state != "up" } }) { return false }
    }
    return true
  }

  /// Nil where nobody can tell.
  private func ownerSays(backend index: Int) -> String? {
    guard let owner = driver.resolve(.owner).first, let service, service.backends.indices.contains(index),
      let status = status(of: owner)
    else { return nil }
    let name = service.backends[index].name
    return status.services.first { $0.name == service.name }?.backends.first { $0.name == name }?.state
  }

  // MARK: Telling

  private enum Deed {
    case step(Int)
    case end(Action)
    case measure
    case ask(expectation: Int, backend: Int, isUp: Bool)
  }

  /// Tells the scenario once to the running cluster and gives what came of it.
  func tell(
    _ scenario: Scenario, repetition: Int, say: (String) -> Void
  ) throws(LabError) -> RunOutcome {
    say("waiting until \(driver.nodes.first ?? "a node") owns \(primaryAddress)")
    try settle()
    let prober = try startProber()
    let watch = try watch(for: scenario)
    try prober.awaitConnections()
    // The noise floor is measured from time zero until the first step.
    try interrupt.wait(.milliseconds(400))
    driver.forgetHistory()
    let zero = Clock.now()
    var moments: [Instant] = []
    let meters = meters()
    var usage: [ScenarioReport.Usage] = []
    var answers: [Int: (backend: String?, isUp: Bool)] = [:]
    var agenda: [(at: Instant, deed: Deed)] = scenario.steps.indices.map { (zero + scenario.steps[$0].at, .step($0)) }
    for (index, expectation) in scenario.expectations.enumerated() {
      guard case .backend(let backend, let isUp, let within, let moment) = expectation.claim else { continue }
      for step in scenario.steps(of: moment) {
        agenda.append(
          (
            zero + scenario.steps[step].at + within.duration(interval: interval),
            .ask(expectation: index, backend: backend, isUp: isUp)
          ))
      }
    }
    // Reading how much memory a process has holds that process up for a moment: not while something is timed.
    let calm = scenario.steps.first?.at ?? scenario.end
    agenda.append((zero + calm - min(calm / 2, .milliseconds(200)), .measure))
    while let next = agenda.indices.min(by: { (agenda[$0].at, $0) < (agenda[$1].at, $1) }) {
      let (at, deed) = agenda.remove(at: next)
      try interrupt.wait(until: at)
      switch deed {
      case .step(let index):
        let step = scenario.steps[index]
        say("\(step.action.word), then watching for \(seconds(scenario.window(of: index)))")
        moments.append(Clock.now())
        try driver.perform(step.action)
        if let length = step.action.length { agenda.append((at + length, .end(step.action))) }
      case .end(let action): try driver.end(action)
      case .measure: usage = readings(of: meters, repetition: repetition)
      case .ask(let index, let backend, let isUp):
        let state = ownerSays(backend: backend)
        if answers[index].map({ ($0.backend == "up") == $0.isUp }) ?? true { answers[index] = (state, isUp) }
      }
    }
    try interrupt.wait(until: zero + scenario.end)
    let end = Clock.now()
    let record = ClientRecord(try prober.finish())
    try driver.finishErrands()
    let evaluation = Evaluation(
      scenario: scenario, interval: interval, zero: zero, end: end, moments: moments, record: record,
      timeline: OwnershipTimeline(
        addresses: vip.addresses, nodes: driver.nodes, changes: monitor.changes, connectivity: driver.history),
      nodes: driver.nodes, answers: answers, usage: usage,
      outOfTurn: watch.map { outOfTurn(scenario).moments(in: $0.finish()) })
    return evaluation.outcome(repetition: repetition)
  }

  /// Only where a configuration is read again, or a process goes on in another's place, does it matter what is said out of turn; and only
  /// multicast is heard.
  private func watch(for scenario: Scenario) throws(LabError) -> PacketWatch? {
    guard router?.peers == .multicast, scenario.steps.contains(where: { $0.action.goesUnnoticed }) else { return nil }
    return try PacketWatch(bridges: cluster.topology.links.map(\.bridge), in: cluster.manifest.switchNamespace)
  }

  /// The VIPs that no step changes.
  private func outOfTurn(_ scenario: Scenario) -> OutOfTurn {
    let isFirstChanged = scenario.steps.contains { $0.action.change == .address }
    let vips = cluster.configuration.vips.filter { $0.name != vip.name || !isFirstChanged }
    let ids = vips.compactMap { vip -> UInt8? in
      guard case .vrrp(let router) = vip.election else { return nil }
      return router.id
    }
    return OutOfTurn(ids: Set(ids), addresses: Set(vips.flatMap(\.addresses)), interval: interval)
  }

  private func meters() -> [(node: String, owns: Bool, meter: UsageMeter)] {
    let owners = driver.resolve(.owner)
    return driver.nodes.map { node in
      let meter = UsageMeter(daemon: machines.daemonProcesses(node), guardian: machines.guardian(node))
      return (node, owners.contains(node), meter)
    }
  }

  private func readings(
    of meters: [(node: String, owns: Bool, meter: UsageMeter)], repetition: Int
  ) -> [ScenarioReport.Usage] {
    meters.compactMap { node, owns, meter in
      meter.read().map { ScenarioReport.Usage(repetition: repetition, node: node, owns: owns, $0) }
    }
  }

  private func seconds(_ window: Range<Duration>) -> String {
    let tenths = ((window.upperBound - window.lowerBound).milliseconds / 100).rounded() / 10
    return "\(tenths) s"
  }

  private func startProber() throws(LabError) -> RunningProber {
    let folder = cluster.folder.hostFolder(Topology.client)
    let specification = ProbeSpecification(
      datagrams: Endpoint(primaryAddress, machines.datagramPort),
      service: service.map { Endpoint(primaryAddress, $0.listen.first?.ports.lowerBound ?? 80) },
      connections: connections,
      sources: connections > Session.connectionsPerAddress ? clientAddresses : [],
      nodes: driver.nodes, output: "\(folder)/samples")
    return try RunningProber(specification, machines: machines, helper: programs.helper, folder: folder)
  }
}

extension Action {
  /// Peers are to hear nothing of it.
  var goesUnnoticed: Bool { if case .upgrade = self { true } else { change != nil } }

  /// What a configuration that is read again has changed; nil for all other actions.
  var change: Change? {
    if case .reload(_, let change) = self { return change }
    return nil
  }
}

extension Session {
  /// Of the VIP's family.
  fileprivate var clientAddresses: [String] {
    let all = cluster.topology.host(Topology.client)?.interfaces.flatMap(\.addresses).map(\.address) ?? []
    return all.filter { $0.family == primaryAddress.family }.map(\.description)
  }
}
