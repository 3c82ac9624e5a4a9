import Basis
import Configuration
import FoundationEssentials
import Glibc
import Linux
import Testing
import VRRP
import Wire

@testable import Lab

/// Two nodes of Roost and, on the same link, somebody who sends adverts of priority 255:
/// ```
///   lb1 ────┐
///   lb2 ── br0 ── client, the forger
/// ```
private final class Forgery {
  let setup: Setup
  let cluster: Cluster
  let machines: Machines
  private let monitor: AddressMonitor
  private let folder: String

  init(_ setup: Setup, mode: String) throws {
    self.setup = setup
    folder = "/tmp/roost-forgery-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try Command.check([roostProgram, "secret", "\(folder)/secret"], doing: "making a secret")
    let yaml = setup.yaml(vips: setup.vips, milliseconds: setup.milliseconds)
      .replacing("cluster:\n", with: "cluster:\n  secret: \(folder)/secret\n")
      .replacing("peers: multicast", with: "peers: multicast, auth: { mode: \(mode) }")
    let file = "\(folder)/roost.yaml"
    try Data(yaml.utf8).write(to: URL(filePath: file))
    let reading = Configuration.read(path: file)
    let value = try #require(reading.configuration, "\(reading.mistakes.text())")
    cluster = try Cluster(value, in: "\(folder)/labs", kind: .run)
    machines = try Machines(
      cluster, programs: Programs(roost: roostProgram, helper: []), configurationFile: file, keepalived: [])
    let cluster = cluster
    monitor = try AddressMonitor(
      hosts: machines.nodes.map { ($0, cluster.namespace(of: $0)) }, addresses: setup.vips)
  }

  func remove() {
    monitor.stop()
    cluster.remove()
    try? FileManager.default.removeItem(atPath: folder)
  }

  func isSoleOwner(_ node: String) -> Bool { setup.vips.allSatisfy { monitor.holders(of: $0) == [node] } }
  var hasOwner: Bool { setup.vips.contains { !monitor.holders(of: $0).isEmpty } }
  func log(_ node: String) -> String { readSmallFile(machines.log(of: node)) ?? "" }
  var words: String { machines.nodes.map { "\($0):\n\(log($0))" }.joined(separator: "\n") }

  /// Carries the socket from the thread that opened it, which doesn't touch it again.
  private struct Handover: @unchecked Sendable {
    let socket: VRRPSocket
  }

  /// Sends adverts that win every election, plain and with a made-up signature, and calls `body` between them.
  func forge(_ count: Int, between body: () -> Void) throws {
    let family = setup.family
    let namespace = cluster.namespace(of: Topology.client)
    let option = family == .ipv4 ? "-4" : "-6"
    let scope = family == .ipv4 ? "global" : "link"
    let words = try Command.run(
      ["ip", option, "-o", "address", "show", "dev", "eth0", "scope", scope], in: namespace
    ).output.split(separator: " ")
    let own = try #require(
      words.first { $0.contains("/") }?.split(separator: "/").first.flatMap { IPAddress(String($0)) })
    let socket = try namespace.run {
      Result { () throws(SystemError) in
        Handover(
          socket: try VRRPSocket(interface: "eth0", index: Int32(if_nametoindex("eth0")), family: family))
      }
    }.get().socket
    let group = VRRPSocket.group(family)
    let router = Settings(id: 51, family: family, priority: 255, addresses: setup.vips.filter { $0.family == family })
    let advert = Advert(
      version: .v3, id: 51, priority: 255, interval: .milliseconds(200), addresses: router.advertisedAddresses
    ).encoded(from: own, to: group, coverage: .pseudoHeader)
    for _ in 0..<count {
      try socket.send(advert, to: group, from: own)
      try socket.send(advert + [1, 1] + [UInt8](repeating: 0, count: 26), to: group, from: own)
      usleep(10_000)
      body()
    }
  }
}

@Suite(.enabled(if: missing == nil, "\(missing ?? "")"))
struct `Authentication on a real link` {
  @Test(arguments: [Setup.Families.ipv4, .ipv6])
  func `a forged priority 255 changes nothing where authentication is enforced`(_ families: Setup.Families) async throws
  {
    let forgery = try Forgery(Setup(families: families), mode: "enforce")
    defer { forgery.remove() }
    for node in forgery.machines.nodes { try forgery.machines.startDaemon(node) }
    try await eventually("lb1 owns the VIP", seen: { forgery.words }) { forgery.isSoleOwner("lb1") }
    try await eventually("the nodes are linked", seen: { forgery.words }) {
      forgery.log("lb1").contains("peer lb2 is linked") && forgery.log("lb2").contains("peer lb1 is linked")
    }
    var moments = 0
    try forgery.forge(200) { if forgery.isSoleOwner("lb1") { moments += 1 } }
    #expect(moments == 200, "\(forgery.words)")
    try await eventually("lb1 says why it drops", seen: { forgery.words }) {
      forgery.log("lb1").contains("it has no signature")
    }
    // What is authentic is heard: a farewell is followed at once.
    forgery.machines.signalDaemon("lb1", SIGTERM)
    try await eventually("lb2 follows", seen: { forgery.words }) { forgery.isSoleOwner("lb2") }
    try await eventually("lb2 says why it follows", seen: { forgery.words }) {
      forgery.log("lb2").contains("priority 0")
    }
  }

  /// The same forger wins where nothing stands in its way: it does what the other test takes it to do.
  @Test(arguments: [Setup.Families.ipv4, .ipv6])
  func `a forged priority 255 takes the VIP where adverts are not authenticated`(_ families: Setup.Families)
    async throws
  {
    let forgery = try Forgery(Setup(families: families), mode: "off")
    defer { forgery.remove() }
    for node in forgery.machines.nodes { try forgery.machines.startDaemon(node) }
    try await eventually("lb1 owns the VIP", seen: { forgery.words }) { forgery.isSoleOwner("lb1") }
    var wasTaken = false
    try forgery.forge(200) { if !forgery.hasOwner { wasTaken = true } }
    #expect(wasTaken, "\(forgery.words)")
  }
}

/// VRRP 3 alone: the draft knows no other.
private let signed = [Setup.Families.ipv4, .ipv6].flatMap { families in
  [Configuration.Peers.multicast, .unicast].flatMap { peers in
    ["lb1", "lb2"].map { Setup(families: families, peers: peers, keepalived: $0, key: Array(0x40..<0x60)) }
  }
}

@Suite(
  .enabled(if: missing == nil, "\(missing ?? "")"),
  .enabled(if: signingKeepalived != nil, "needs a keepalived that signs: ROOST_KEEPALIVED_HMAC=PROGRAM"))
struct `Roost and a keepalived that signs` {
  @Test(arguments: signed)
  func `hear each other where both take only signed adverts`(setup: Setup) async throws {
    let pair = try Pair(setup)
    defer { pair.remove() }
    try await pair.awaitLink()
    // Who comes back has a new sequence, of which the other knows nothing.
    try await pair.takeTurns()
  }

  /// What the other test shows is the signature's doing: with another key neither hears the other.
  @Test func `do not hear each other where their keys differ`() async throws {
    var setup = signed[0]
    setup.keepalivedKey = Array(0x41..<0x61)
    let pair = try Pair(setup)
    defer { pair.remove() }
    try await pair.awaitLink()
    for node in pair.machines.nodes { try pair.machines.startDaemon(node) }
    try await eventually("both own the VIP", seen: { pair.words }) { pair.owners == ["lb1", "lb2"] }
    try await eventually("roost says why it does not listen", seen: { pair.words }) {
      pair.log(setup.roost).contains("signature")
    }
  }
}
