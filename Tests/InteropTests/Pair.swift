import CLinux
import Basis
import Configuration
import FoundationEssentials
import Glibc
import Linux
import Testing
import Wire

@testable import Lab

/// Two nodes on one link, roost on one and keepalived on the other, with a client that watches its neighbours:
/// ```
///   lb1 ────┐
///   lb2 ── br0, captured ── client
/// ```
final class Pair {
  /// One thing that was done to the pair, and how it ended.
  struct Phase {
    var name: String
    var owner: String
    /// The former owner let go.
    var isAlone: Bool
    /// Seconds since 1970: when it was done, and when the pair was looked at last before the next was done.
    var began: Double
    var ended: Double
    /// Until the owner had the addresses.
    var took: Duration
    /// For how long both, and neither, had the first address.
    var twoOwners: Duration
    var noOwner: Duration
  }

  let setup: Setup
  let cluster: Cluster
  let machines: Machines
  let cabling: Cabling
  private let monitor: AddressMonitor
  private let capture: Capture
  private let folder: String
  private(set) var phases: [Phase] = []
  private var macs: [String: String] = [:]

  init(_ setup: Setup) throws {
    self.setup = setup
    folder = "/tmp/roost-interop-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let file = "\(folder)/roost.yaml"
    let keyFile = setup.key == nil ? nil : "\(folder)/key"
    if let key = setup.key, let keyFile {
      try Data(key).write(to: URL(filePath: keyFile))
      chmod(keyFile, 0o600)
    }
    try Data(setup.yaml(vips: setup.vips, milliseconds: setup.milliseconds, keyFile: keyFile).utf8)
      .write(to: URL(filePath: file))
    // What keepalived's own configuration is made from.
    let reading = Configuration.read(
      text: setup.yaml(
        vips: setup.vips + setup.keepalivedVIPs, milliseconds: setup.keepalivedMilliseconds ?? setup.milliseconds),
      file: "interop.yaml")
    let value = try #require(reading.configuration, "\(reading.mistakes.text())")
    cluster = try Cluster(value, in: "\(folder)/labs", kind: .run)
    var programs = Programs(roost: roostProgram, helper: [])
    if setup.key != nil, let signingKeepalived { programs.keepalived = signingKeepalived }
    if let edit = setup.editOfKeepalived, let keepalived = programs.keepalived {
      let file = "\(cluster.folder.hostFolder(setup.keepalived))/keepalived.conf"
      let script = "#!/bin/sh\nsed -i '\(edit)' '\(file)'\nexec \(keepalived) \"$@\"\n"
      programs.keepalived = "\(folder)/keepalived"
      // Written by a child: a descriptor of ours might be in another test's child just now, and a file that is being written
      // can't be executed.
      try Command.check(
        ["/bin/sh", "-c", "cat > \"$0\" && chmod 755 \"$0\"", "\(folder)/keepalived"], input: script,
        doing: "writing a script")
    }
    machines = try Machines(
      cluster, programs: programs, configurationFile: file, keepalived: [setup.keepalived])
    cabling = try Cabling(topology: cluster.topology, namespace: cluster.manifest.switchNamespace)
    let cluster = cluster
    monitor = try AddressMonitor(
      hosts: machines.nodes.map { ($0, cluster.namespace(of: $0)) }, addresses: setup.vips)
    capture = try Capture(machines, of: cluster)
    for node in machines.nodes {
      macs[node] = try word(after: "link/ether", in: ["ip", "-o", "link", "show", "eth0"], on: node)
    }
  }

  func remove() {
    monitor.stop()
    cluster.remove()
    try? FileManager.default.removeItem(atPath: folder)
  }

  func mac(_ node: String) -> String { macs[node] ?? "?" }
  func peer(of node: String) -> String { node == "lb1" ? "lb2" : "lb1" }

  // MARK: Seeing

  /// Hosts that have any of the VIP's addresses; those of a half-moved VIP are all there.
  var owners: [String] { Set(setup.vips.flatMap { monitor.holders(of: $0) }).sorted() }

  func isSoleOwner(_ node: String) -> Bool { setup.vips.allSatisfy { monitor.holders(of: $0) == [node] } }

  /// The MAC address behind each VIP address in the client's neighbour table.
  func neighbours() throws -> [String?] {
    try setup.vips.map {
      try word(after: "lladdr", in: ["ip", "neighbour", "show", "to", "\($0)", "dev", "eth0"], on: Topology.client)
    }
  }

  private func word(after key: String, in command: [String], on host: String) throws -> String? {
    let words = try Command.run(command, in: cluster.namespace(of: host)).output.split(whereSeparator: {
      $0 == " " || $0 == "\n"
    })
    return words.firstIndex(of: key[...]).flatMap { words.indices.contains($0 + 1) ? String(words[$0 + 1]) : nil }
  }

  /// The client asks who has the VIP.
  func touch() throws {
    for vip in setup.vips {
      let endpoint = Endpoint(vip, 9)
      let descriptor = try cluster.namespace(of: Topology.client).run { endpoint.connecting(SOCK_DGRAM) }
      guard descriptor >= 0 else { continue }
      var byte: UInt8 = 0
      send(descriptor, &byte, 1, 0)
      close(descriptor)
    }
  }

  func log(_ node: String) -> String { readSmallFile(machines.log(of: node)) ?? "" }

  var words: String {
    "owners \(owners), logs:\n"
      + machines.nodes.map { "\($0): \(log($0).split(separator: "\n").suffix(30).joined(separator: "\n  "))" }.joined(
        separator: "\n")
  }

  // MARK: Doing

  /// An IPv6 address is no source while it is tentative.
  func awaitLink() async throws {
    for node in machines.nodes {
      try await eventually("\(node)'s addresses are usable") {
        try Command.run(["ip", "-6", "-o", "address", "show", "tentative"], in: cluster.namespace(of: node)).output
          .isEmpty
      }
    }
  }

  /// Does something, and waits until the node alone owns the VIP (or, where the former owner can't let go, owns it too) and
  /// the client's neighbours say so.
  @discardableResult
  func phase(_ name: String, owner: String, alone: Bool = true, _ deed: () throws -> Void) async throws -> Phase {
    let began = now
    let start = Clock.now()
    try deed()
    try await eventually("\(name): \(owner) owns the VIP\(alone ? " alone" : "")", seen: { words }) {
      alone ? isSoleOwner(owner) : setup.vips.allSatisfy { monitor.holders(of: $0).contains(owner) }
    }
    if phases.isEmpty {
      try await eventually("\(name): the client finds \(owner)") {
        try touch()
        return try neighbours().allSatisfy { $0 == mac(owner) }
      }
    }
    try await eventually(
      "\(name): the client's neighbours are \(owner)'s", seen: { "\((try? neighbours()) ?? []), \(words)" }
    ) {
      let known = try neighbours()
      // The kernel keeps 512 neighbours for all namespaces together and forgets the rest. One that is forgotten is not wrong: ask.
      if known.contains(nil) { try touch() }
      return known.allSatisfy { $0 == mac(owner) }
    }
    // Two adverts more, so that a loser would have spoken again.
    try await Task.sleep(for: .milliseconds(2 * max(setup.milliseconds, setup.keepalivedMilliseconds ?? 0)))
    if alone { #expect(isSoleOwner(owner), "\(name): \(words)") }
    let changes = monitor.changes
    let taken = changes.last { $0.host == owner && $0.isHeld && $0.time >= start }?.time ?? start
    let shares = shares(from: start, to: Clock.now())
    let phase = Phase(
      name: name, owner: owner, isAlone: alone, began: began, ended: now, took: taken - start, twoOwners: shares.two,
      noOwner: shares.none)
    phases.append(phase)
    return phase
  }

  private var now: Double { Double(Clock.wall().nanoseconds) / 1e9 }

  /// For how long both, and neither, had the VIP's first address.
  func shares(from start: Instant, to end: Instant) -> (two: Duration, none: Duration) {
    var holders: Set<String> = []
    var (two, none) = (Duration.zero, Duration.zero)
    var last = start
    func spend(until time: Instant) {
      guard time > last else { return }
      if holders.count == 2 { two += time - last }
      if holders.isEmpty { none += time - last }
      last = time
    }
    for change in monitor.changes where change.address == setup.vips[0] {
      spend(until: min(change.time, end))
      if change.isHeld { holders.insert(change.host) } else { holders.remove(change.host) }
    }
    spend(until: end)
    return (two, none)
  }

  /// Both start, lb1 stops, comes back, dies, and comes back again; says how long each took.
  func takeTurns() async throws {
    try await phase("start", owner: "lb1") {
      for node in machines.nodes { try machines.startDaemon(node) }
    }
    try await phase("stop", owner: "lb2") { machines.signalDaemon("lb1", SIGTERM) }
    try await awaitEnd(of: "lb1")
    try await phase("return", owner: "lb1") { try machines.startDaemon("lb1") }
    try await phase("death", owner: "lb2", alone: false) { try kill("lb1") }
    try await revive("lb1")
    try await phase("return", owner: "lb1") { try machines.startDaemon("lb1") }
    print(report)
  }

  /// Once it has ended, a daemon can be started again.
  func awaitEnd(of node: String) async throws {
    try await eventually("\(node)'s daemon ends", seen: { words }) {
      !machines.isRunning(node) && machines.processes(on: node).isEmpty
    }
  }

  /// The machine is dead: its cable carries nothing and its processes are gone without a word.
  func kill(_ node: String) throws {
    try cabling.setForwarding(node, false)
    machines.killDaemon(node)
  }

  /// What a machine that was dead starts without: addresses. Roost's are leased, and the kernel takes them away by itself.
  func revive(_ node: String) async throws {
    try await awaitEnd(of: node)
    if machines.daemon(of: node) == .roost {
      try await eventually("the lease of \(node)'s addresses runs out", seen: { words }) { !owners.contains(node) }
    } else {
      let addresses = setup.vips + [Keepalived.linkLocalAddress(id: 51)]
      let commands = addresses.map { "address del \($0)/\($0.family == .ipv4 ? 32 : 128) dev eth0" }
      _ = try Command.run(
        [Command.find("ip") ?? "ip", "-force", "-batch", "-"], input: commands.joined(separator: "\n") + "\n",
        in: cluster.namespace(of: node))
      try await eventually("\(node) has no address left") { !owners.contains(node) }
    }
    try cabling.setForwarding(node, true)
  }

  func frames() async throws -> [Frame] { try await capture.finish() }

  /// One line for people: how long until the owner had the addresses; in brackets for how long both, or neither, had them on
  /// the way. What a dead machine still has, nobody sees.
  var report: String {
    func number(_ duration: Duration) -> String { "\(Double((duration.milliseconds * 10).rounded()) / 10) ms" }
    return "\(setup.testDescription): "
      + phases.enumerated().map { index, phase in
        var words: [String] = []
        if phase.isAlone, phase.twoOwners > .zero { words.append("both \(number(phase.twoOwners))") }
        if phase.isAlone, phase.noOwner > .zero, index > 0 { words.append("neither \(number(phase.noOwner))") }
        return "\(phase.name) \(number(phase.took))" + (words.isEmpty ? "" : " (\(words.joined(separator: ", ")))")
      }.joined(separator: ", ")
  }
}
