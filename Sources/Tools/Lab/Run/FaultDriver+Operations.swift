import Basis
import Configuration
import FoundationEssentials
import Glibc
import Linux
import Scenario
import VRRP
import Wire

/// What a person asks of a healthy cluster, and what strangers do to it.
extension FaultDriver {
  /// A command of roost's own, given on that node. It goes on beside the story.
  private func give(_ words: [String], to node: String) throws(LabError) {
    guard machines.daemon(of: node) == .roost, let roost = machines.programs.roost else {
      throw LabError(.usage, "\(node) runs keepalived, which has no `\(words.joined(separator: " "))`")
    }
    errandCount += 1
    errands.append(
      try Errand(
        [roost] + words + ["--socket", machines.socket(of: node)], on: node, of: machines, number: errandCount))
  }

  /// Waits for the commands that were given; throws if one of them failed.
  func finishErrands() throws(LabError) {
    let deadline = Clock.now() + .seconds(10)
    let waiting = errands
    errands = []
    for errand in waiting { try errand.finish(by: deadline) }
  }

  func move(to target: String?) throws(LabError) {
    guard let owner = resolve(.owner).first else {
      throw LabError(.failed, "nobody owns \(vip.name): there is nothing to move")
    }
    hasMoved = true
    try give(["move", vip.name] + (target.map { ["--to", $0] } ?? []), to: owner)
  }

  /// After a story in which it was moved: home again, so that the next one begins as told.
  func moveHome() throws(LabError) {
    guard hasMoved, let home = nodes.first, resolve(.owner) != [home] else { return }
    hasMoved = false
    try move(to: home)
    hasMoved = false
    try finishErrands()
  }

  func standby(_ node: String) throws(LabError) {
    try give(["node", "standby", "--force"], to: node)
    onStandby.insert(node)
  }

  func resumeService(_ node: String) throws(LabError) {
    guard onStandby.remove(node) != nil else { return }
    try give(["node", "resume"], to: node)
  }

  func reload(_ node: String, _ change: Action.Change) throws(LabError) {
    try machines.change(node, change)
    try tellToReload(node)
  }

  func tellToReload(_ node: String) throws(LabError) {
    guard machines.isRunning(node) else { return }
    switch machines.daemon(of: node) {
    case .roost: try give(["reload"], to: node)
    case .keepalived: machines.signalDaemon(node, SIGHUP)
    }
  }

  /// To the same program. Which process is the node's daemon then is in its file (`Machines.daemonProcesses`).
  func upgrade(_ node: String) throws(LabError) { try give(["upgrade"], to: node) }

  // MARK: Strangers

  private func disturb(_ word: String, _ role: String, _ specification: (some Encodable)?) throws(LabError) {
    let folder = machines.cluster.folder.hostFolder(Topology.stranger)
    let file = "\(folder)/\(role).json"
    if let specification {
      do {
        try JSONEncoder().encode(specification).write(to: URL(filePath: file))
      } catch {
        throw LabError(.failed, "\(file) can't be written: \(error)")
      }
    }
    disturbances[word, default: []].append(
      try Disturbance(machines.programs.helper + [role, file], on: Topology.stranger, of: machines))
  }

  /// Throws where one of them ended before it should: then nothing was disturbed.
  func endDisturbances(_ word: String) throws(LabError) {
    guard let ending = disturbances.removeValue(forKey: word) else { return }
    guard !ending.contains(where: \.hasEnded) else {
      let log = "\(machines.cluster.folder.hostFolder(Topology.stranger))/disturbance.log"
      throw LabError(.failed, "\(word) ended by itself: \((readSmallFile(log) ?? "").prefix(300))")
    }
  }

  func startRogue(_ priority: UInt8) throws(LabError) {
    guard case .vrrp(let router) = vip.election else {
      throw LabError(.usage, "VIP \(vip.name) has no election that a stranger could take part in")
    }
    let topology = machines.cluster.topology
    guard let interface = topology.host(Topology.stranger)?.interfaces.first else { return }
    let source: IPAddress?
    switch router.family {
    case .ipv4: source = interface.addresses.map(\.address).first { $0.family == .ipv4 }
    case .ipv6: source = try linkLocalAddress(of: Topology.stranger, interface.name)
    }
    guard let source else { throw LabError(.failed, "the stranger has no address to send from") }
    let peers =
      router.peers == .unicast
      ? machines.cluster.configuration.cluster.nodes.compactMap { $0.address(router.family) } : []
    let settings = VRRP.Settings(
      id: router.id, version: router.version, family: router.family, priority: priority, interval: router.interval,
      addresses: vip.addresses.filter { $0.family == router.family })
    try disturb(
      "rogue-advert", "rogue",
      Nuisance.Rogue(
        interface: interface.name, id: router.id, isVersion2: router.version == .v2, priority: priority, intervalMs: 10,
        addresses: settings.advertisedAddresses.map(\.description), source: source.description,
        peers: peers.map(\.description)))
  }

  private func linkLocalAddress(of host: String, _ interface: String) throws(LabError) -> IPAddress? {
    let words = try Command.run(
      [Command.find("ip") ?? "ip", "-6", "-o", "address", "show", "dev", interface, "scope", "link"],
      in: machines.cluster.namespace(of: host)
    ).output.split(whereSeparator: { $0 == " " || $0 == "/" })
    return words.firstIndex(of: "inet6").flatMap { IPAddress(String(words[$0 + 1])) }
  }

  /// As much as a machine full of containers does on a bad day.
  func startChurn() throws(LabError) {
    try disturb("rtnl-busy", "churn", Nuisance.Churn(threads: 4, addresses: 40))
  }

  /// Twice as many busy loops as there are processors, each a session of its own: the kernel shares out time by session.
  func startHogs() throws(LabError) {
    let count = max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))) * 2
    for _ in 0..<count { try disturb("hog", "hog", nil as Nuisance.Churn?) }
  }
}
