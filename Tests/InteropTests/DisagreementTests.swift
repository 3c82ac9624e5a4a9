import Configuration
import Glibc
import Testing
import Wire

@testable import Lab

/// Where the two are not configured alike, or read the standard differently.
@Suite(.enabled(if: missing == nil, "\(missing ?? "")"))
struct `Roost beside a keepalived that differs` {
  /// The slower of two is preferred, or the quicker is.
  @Test(arguments: [(100, 1000, "lb1"), (100, 1000, "lb2"), (1000, 100, "lb1"), (1000, 100, "lb2")])
  func `learns its interval, and there is one owner`(roost: Int, keepalived: Int, node: String) async throws {
    let pair = try Pair(Setup(keepalived: node, milliseconds: roost, keepalivedMilliseconds: keepalived))
    defer { pair.remove() }
    try await start(pair)
    try await pair.phase("stop", owner: "lb2") { pair.machines.signalDaemon("lb1", SIGTERM) }
    try await pair.awaitEnd(of: "lb1")
    try await pair.phase("return", owner: "lb1") { try pair.machines.startDaemon("lb1") }
    // A backup that starts with a shorter interval than the owner's knows no better than to take over.
    pair.machines.signalDaemon("lb2", SIGTERM)
    try await pair.awaitEnd(of: "lb2")
    try await pair.phase("backup restarts", owner: "lb1") { try pair.machines.startDaemon("lb2") }
    try await pair.phase("death", owner: "lb2", alone: false) { try pair.kill("lb1") }
    print(pair.report)
    // As the preferred one it may never hear the other.
    if pair.setup.roost == "lb2" {
      try await eventually("lb2 says so") { pair.log("lb2").contains("set the same interval on both") }
    }
    // Where one takes over while the other is still there, both have the addresses for no longer than an advert takes.
    for phase in pair.phases where phase.isAlone { #expect(phase.twoOwners < .milliseconds(keepalived), "\(phase)") }
  }

  /// RFC 9568 §5.2.8 without the pseudo-header over IPv4, which keepalived does not understand.
  @Test(arguments: [Configuration.Peers.multicast, .unicast])
  func `is refused where it sends checksums over the message alone`(peers: Configuration.Peers) async throws {
    let pair = try Pair(Setup(peers: peers, keepalived: "lb2", checksum: "message"))
    defer { pair.remove() }
    try await startBoth(pair)
    try await eventually("keepalived refuses the checksum", seen: { pair.words }) {
      pair.log("lb2").contains("Invalid VRRPv3 checksum") && pair.owners == ["lb1", "lb2"]
    }
    try await eventually("roost says what keepalived sends", seen: { pair.words }) {
      pair.log("lb1").contains("computes checksums with the pseudo-header")
    }
    // tshark reads the standard as keepalived does.
    let sent = try await pair.frames().filter { $0.sourceMAC == pair.mac("lb1") }.compactMap(\.advert)
    #expect(!sent.isEmpty && sent.allSatisfy { !$0.hasGoodChecksum })
  }

  @Test(arguments: [Configuration.Peers.multicast, .unicast], ["lb1", "lb2"])
  func `learns how it computes checksums`(peers: Configuration.Peers, keepalived: String) async throws {
    let pair = try Pair(Setup(peers: peers, keepalived: keepalived, checksum: "learned"))
    defer { pair.remove() }
    try await handOver(pair)
    print(pair.report)
  }

  @Test func `says why it hears nothing of a keepalived that sends another hop limit`() async throws {
    let pair = try Pair(Setup(families: .ipv6, peers: .unicast, keepalived: "lb1", withoutLine: "unicast_ttl"))
    defer { pair.remove() }
    try await startBoth(pair)
    try await eventually("roost says why", seen: { pair.words }) {
      pair.log("lb2").contains("hop limit 64, which are dropped")
    }
  }

  /// While a list of addresses is being changed, the nodes have different ones.
  @Test func `is obeyed though it lists one address more`() async throws {
    let pair = try Pair(Setup(keepalived: "lb1", keepalivedVIPs: [.v4(IPv4Address(10, 88, 0, 101))]))
    defer { pair.remove() }
    try await handOver(pair)
    print(pair.report)
    try await eventually("lb2 says so") { pair.log("lb2").contains("set the same addresses on both") }
  }

  /// keepalived does drop such adverts; there are two owners until the lists agree.
  @Test func `is told of where it lists one address more and does not obey`() async throws {
    let pair = try Pair(Setup(keepalived: "lb2", keepalivedVIPs: [.v4(IPv4Address(10, 88, 0, 101))]))
    defer { pair.remove() }
    try await startBoth(pair)
    try await eventually("keepalived refuses the list", seen: { pair.words }) {
      pair.log("lb2").contains("received an unexpected ip number count 1, expected 2!")
        && pair.owners == ["lb1", "lb2"]
    }
    try await eventually("roost says so", seen: { pair.words }) {
      pair.log("lb1").contains("set the same addresses on both")
    }
  }

  private func startBoth(_ pair: Pair) async throws {
    try await pair.awaitLink()
    for node in pair.machines.nodes { try pair.machines.startDaemon(node) }
  }

  private func start(_ pair: Pair) async throws {
    try await pair.awaitLink()
    try await pair.phase("start", owner: "lb1") {
      for node in pair.machines.nodes { try pair.machines.startDaemon(node) }
    }
  }

  /// To the less preferred and back, politely, and by death.
  private func handOver(_ pair: Pair) async throws {
    try await start(pair)
    try await pair.phase("stop", owner: "lb2") { pair.machines.signalDaemon("lb1", SIGTERM) }
    try await pair.awaitEnd(of: "lb1")
    try await pair.phase("return", owner: "lb1") { try pair.machines.startDaemon("lb1") }
    try await pair.phase("death", owner: "lb2", alone: false) { try pair.kill("lb1") }
  }
}
