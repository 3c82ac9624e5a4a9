import Basis
import Configuration
import FoundationEssentials
import Glibc
import Linux
import Testing
import Wire

@testable import Lab

private let roost: String = {
  let folder = Programs.itself.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
  let built = "\(#filePath.split(separator: "/Tests/")[0])/.build/debug/roost"
  return access("\(folder)/roost", X_OK) == 0 ? "\(folder)/roost" : built
}()

/// Two nodes whose configuration is changed while a client uses the service: the file first, then one node after the other.
/// ```
///   lb1, owner ──┐
///   lb2 ─────────┼── client
///   app1, app2 ──┘
/// ```
private final class Rolling {
  /// What the file says.
  struct Setting {
    var secrets = ["a"]
    var authentication = "off"
    var id = 51
    var interval = 100
    var service = "web"
    var path = "/healthz"
    var every = 500
    var virtualMAC = false
    var accepts = true
  }

  static let vip = IPAddress.v4(IPv4Address(10, 77, 0, 100))
  static let bare = IPAddress.v4(IPv4Address(10, 77, 0, 101))
  let root = temporaryRoot()
  let cluster: Cluster
  let machines: Machines
  let monitor: AddressMonitor
  private var prober: RunningProber?
  private(set) var setting = Setting()
  /// What each node said of itself half a second after its reload.
  private(set) var statuses: [String] = []

  private var file: String { "\(root)/roost.yaml" }

  init() throws {
    try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
    for name in ["a", "b"] {
      let path = "\(root)/\(name)"
      try Data(String(repeating: name, count: 48).utf8).write(to: URL(filePath: path))
      chmod(path, 0o600)
    }
    let reading = Configuration.read(text: Self.text(Setting(), in: root), file: "roost.yaml")
    let configuration = try #require(reading.configuration, "\(reading.mistakes.text())")
    cluster = try Cluster(configuration, in: "\(root)/labs", kind: .run)
    machines = try Machines(
      cluster, programs: Programs(roost: roost, helper: [helper]), configurationFile: "\(root)/roost.yaml")
    let cluster = cluster
    monitor = try AddressMonitor(
      hosts: machines.nodes.map { ($0, cluster.namespace(of: $0)) }, addresses: [Self.vip, Self.bare])
    try write()
  }

  func remove() {
    prober = nil
    monitor.stop()
    cluster.remove()
    try? FileManager.default.removeItem(atPath: root)
  }

  private static func text(_ setting: Setting, in root: String) -> String {
    """
    cluster:
      secret: [\(setting.secrets.map { "\(root)/\($0)" }.joined(separator: ", "))]
      nodes: { lb1: 10.77.0.11, lb2: 10.77.0.12 }
    vips:
      web:
        addresses: 10.77.0.100
        prefer: [lb1, lb2]
        vrrp:
          id: \(setting.id)
          interval: \(setting.interval)ms
          virtual-mac: \(setting.virtualMAC)
          auth: { mode: \(setting.authentication) }
      bare:
        addresses: 10.77.0.101
        prefer: [lb1, lb2]
        vrrp: { id: 52, interval: 100ms, accept: \(setting.accepts) }
    services:
      \(setting.service):
        vip: web
        listen: 80/tcp
        mode: proxy
        check: { http: \(setting.path), every: \(setting.every)ms }
        backends: { app1: "10.77.0.21:8080", app2: "10.77.0.22:8080" }
    """
  }

  private func write() throws { try Data(Self.text(setting, in: root).utf8).write(to: URL(filePath: file)) }

  // MARK: Asking

  struct Status: Decodable {
    struct VIP: Decodable { var name: String; var state: String }
    struct Service: Decodable {
      struct Backend: Decodable { var state: String }
      var name: String
      var backends: [Backend]
    }
    struct Peer: Decodable { var state: String }
    var vips: [VIP]
    var services: [Service]
    var peers: [Peer]
  }

  func status(_ node: String) -> Status? {
    guard let answer = try? ask(node, "status", "--json"), answer.status == 0 else { return nil }
    return try? JSONDecoder().decode(Status.self, from: Data(answer.output.utf8))
  }

  func ask(_ node: String, _ words: String...) throws -> Command.Outcome {
    try Command.run([roost] + words + ["--socket", machines.socket(of: node)])
  }

  func log(_ node: String) -> String { readSmallFile(machines.log(of: node)) ?? "" }
  func lines(_ node: String, with part: String) -> [Substring] {
    log(node).split(separator: "\n").filter { $0.contains(part) }
  }
  var words: String { machines.nodes.map { "\($0):\n\(log($0))" }.joined(separator: "\n") }

  func eventually(_ what: String, _ condition: () throws -> Bool) throws {
    let end = Clock.now() + .seconds(30)
    while try !condition() {
      guard Clock.now() < end else { throw LabError(.failed, "never: \(what)\n\(words)") }
      usleep(10_000)
    }
  }

  // MARK: Doing

  func begin() throws {
    try machines.startAll()
    try settle()
  }

  /// Linked, every backend up, lb1 the owner of both.
  func settle(owner: String? = "lb1") throws {
    try eventually("both nodes are well") {
      machines.nodes.allSatisfy { node in
        guard let status = status(node) else { return false }
        return status.peers.allSatisfy { $0.state == "up" } && !status.peers.isEmpty
          && status.services.allSatisfy { $0.backends.allSatisfy { $0.state == "up" } }
      }
    }
    try eventually("there is one owner") {
      [Self.vip, Self.bare].allSatisfy { address in
        let holders = monitor.holders(of: address)
        return owner.map { holders == [$0] } ?? (holders.count == 1)
      }
    }
  }

  func startProber() throws {
    let folder = cluster.folder.hostFolder(Topology.client)
    prober = try RunningProber(
      ProbeSpecification(
        datagrams: Endpoint(Self.vip, machines.datagramPort), service: Endpoint(Self.vip, 80), connections: 0,
        nodes: machines.nodes, output: "\(folder)/samples"), machines: machines, helper: [helper], folder: folder)
  }

  func finishProber() throws -> [Sample] {
    defer { prober = nil }
    return try prober?.finish() ?? []
  }

  /// Writes the file, and has one node after the other take it. Gives the answers.
  @discardableResult
  func roll(_ order: [String], owner: String? = "lb1", _ change: (inout Setting) -> Void) throws -> [String] {
    change(&setting)
    try write()
    return try order.map { node in
      let answer = try ask(node, "reload", "--json")
      guard answer.status == 0 else {
        throw LabError(.failed, "\(node) refuses: \(answer.output)\n\(words)")
      }
      // Long enough for whoever would be taken for silent to be.
      usleep(500_000)
      statuses.append(try ask(node, "status", "--json").output)
      try settle(owner: owner)
      return answer.output
    }
  }

  /// How long two nodes had the address at once, since then.
  func shared(_ address: IPAddress, since start: Instant) -> Duration {
    var (holders, shared, last): (Set<String>, Duration, Instant) = ([], .zero, start)
    for change in monitor.changes where change.address == address {
      if holders.count > 1, change.time > last { shared += change.time - max(last, start) }
      if change.isHeld { holders.insert(change.host) } else { holders.remove(change.host) }
      last = max(last, change.time)
    }
    return shared
  }
}

@Suite(.serialized, .enabled(if: canBuild, "the lab needs root"))
struct `A configuration that changes on one node after another` {
  @Test func `costs no probe and no owner, whatever of it changes in place`() throws {
    let rolling = try Rolling()
    defer { rolling.remove() }
    try rolling.begin()
    let start = Clock.now()
    try rolling.startProber()
    let (backupFirst, ownerFirst) = (["lb2", "lb1"], ["lb1", "lb2"])
    try rolling.roll(backupFirst) { $0.interval = 50 }
    try rolling.roll(ownerFirst) { $0.interval = 200 }
    let renaming = Clock.now()
    try rolling.roll(backupFirst) { $0.service = "shop" }
    let renamed = Clock.now()
    try rolling.roll(ownerFirst) { ($0.every, $0.path) = (200, "/") }
    for mode in ["receive", "permissive", "enforce"] { try rolling.roll(backupFirst) { $0.authentication = mode } }
    let links = rolling.lines("lb1", with: "not linked").count + rolling.lines("lb2", with: "not linked").count
    for secrets in [["a", "b"], ["b", "a"], ["b"]] { try rolling.roll(ownerFirst) { $0.secrets = secrets } }
    let ends = rolling.lines("lb1", with: "not linked").count + rolling.lines("lb2", with: "not linked").count - links
    #expect(ends <= 2, "one end of the link, as each side sees it")
    try rolling.roll(backupFirst) { $0.virtualMAC = true }
    try rolling.roll(ownerFirst) { $0.virtualMAC = false }
    try rolling.roll(backupFirst) { $0.accepts = false }
    try rolling.roll(ownerFirst) { $0.accepts = true }
    let end = Clock.now()
    let samples = try rolling.finishProber()
    let record = ClientRecord(samples)
    let counts = record.counts(from: start, to: end)
    #expect(counts.probes > 1000 && counts.requests > 100)
    #expect(counts.probesLost == 0 && counts.connectsFailed == 0, "\(counts) \(rolling.words)")
    // A service that is renamed is another one: a request on a kept connection may cross the end of the old one, as with any server. The
    // prober keeps a handful.
    let failed = record.failedRequests
    let ending = renaming...renamed + .seconds(5)
    #expect(
      failed.count <= 4 && failed.allSatisfy { ending.contains($0) },
      "\(failed.map { "\(($0 - renaming).words) after the renaming began" }) \(counts) \(rolling.words)")
    print("rolling changes: \(counts)")
    #expect(!rolling.monitor.changes.contains { $0.host == "lb2" && $0.time > start }, "\(rolling.words)")
    for node in ["lb1", "lb2"] {
      #expect(rolling.lines(node, with: "another program") == [])
      #expect(!rolling.lines(node, with: "service ").contains { $0.contains("is down") })
    }
  }

  @Test(arguments: [["lb1", "lb2"], ["lb2", "lb1"]])
  func `never makes two owners, a change of the VRID included, and says what it means`(_ order: [String]) throws {
    let rolling = try Rolling()
    defer { rolling.remove() }
    try rolling.begin()
    let start = Clock.now()
    let answers = try rolling.roll(order, owner: nil) { $0.id = 61 }
    for (node, answer) in zip(order, answers) {
      #expect(answer.contains("uses VRID 61 now") && !rolling.lines(node, with: "uses VRID 61 now").isEmpty)
    }
    #expect(rolling.statuses[0].contains("as virtual router 51, not 61 as here"), "\(rolling.statuses[0])")
    try rolling.settle()
    // Each half alone would own it from one reload to the next, half a second and more. What is left is the moment in which a node that is
    // preferred takes it back, by VRRP's own rules.
    let shared = rolling.shared(Rolling.vip, since: start)
    print("VRID changed on \(order): two owners for \(shared)")
    #expect(shared < .milliseconds(250), "\(rolling.words)")
    #expect(!rolling.monitor.changes.contains { $0.address == Rolling.bare && $0.time > start })
  }

  @Test func `and a mistake in it is said once, and changes nothing`() throws {
    let rolling = try Rolling()
    defer { rolling.remove() }
    try rolling.begin()
    let text =
      "cluster: { nodes: { lb1: 10.77.0.11, lb2: 10.77.0.12 } }\nvips:\n  web: { addreses: 10.77.0.100 }\n  web2: { adresses: 10.77.0.102 }\n"
    try Data(text.utf8).write(to: URL(filePath: "\(rolling.root)/roost.yaml"))
    #expect(try rolling.ask("lb1", "reload").status != 0)
    try rolling.eventually("it is said") { !rolling.lines("lb1", with: "the configuration does not change").isEmpty }
    // An event is one line, and all of it follows in another.
    try rolling.eventually("all of it") {
      !rolling.lines("lb1", with: "'addreses'").isEmpty && !rolling.lines("lb1", with: "'adresses'").isEmpty
    }
    #expect(rolling.lines("lb1", with: "error: unknown key 'addreses'").count <= 1)
    #expect(rolling.lines("lb1", with: "'addreses'").count == 1, "\(rolling.words)")
    #expect(rolling.lines("lb1", with: "'adresses'").count == 1)
    try rolling.settle()
  }
}
