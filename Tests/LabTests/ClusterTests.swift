import Basis
import CLinux
import Configuration
import FoundationEssentials
import Glibc
import Linux
import Scenario
import Testing
import Wire

@testable import Lab

/// The lab's helper, built beside the tests.
let helper: String = {
  let folder = Programs.itself.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
  let built = "\(#filePath.split(separator: "/Tests/")[0])/.build/debug/lab-helper"
  return access("\(folder)/lab-helper", X_OK) == 0 ? "\(folder)/lab-helper" : built
}()

let canBuild = (try? Cluster.checkHost()) != nil
let hasKeepalived = canBuild && Programs.installedKeepalived != nil
let programs = Programs(roost: nil, helper: [helper])

func temporaryRoot() -> String { "/tmp/roost-lab-test-\(getpid())-\(UInt32.random(in: 0...UInt32.max))" }

func leftovers(of id: String) -> [String] {
  let names = (try? FileManager.default.contentsOfDirectory(atPath: Namespace.folder)) ?? []
  let mark = Array("ROOST_LAB=\(id)".utf8)
  let processes = ProcessTable.all().filter { pid in
    readSmallFile("/proc/\(pid)/environ")?.utf8.split(separator: 0).contains { Array($0) == mark } ?? false
  }
  return names.filter { $0.hasPrefix("roost-\(id)-") } + processes.map { "process \($0)" }
}

/// A datagram gets there, and its answer back.
func reaches(_ from: String, _ to: String, of cluster: Cluster) throws -> Bool {
  let address = try #require(cluster.topology.host(to)?.interfaces.first?.addresses.first?.address)
  let endpoint = Endpoint(address, 9999)
  let server = try cluster.namespace(of: to).attempt { () throws(LabError) in try endpoint.bound(SOCK_DGRAM) }
  defer { close(server) }
  let client = try cluster.namespace(of: from).run { endpoint.connecting(SOCK_DGRAM) }
  try #require(client >= 0)
  defer { close(client) }
  var byte: UInt8 = 7
  guard send(client, &byte, 1, 0) == 1, clinux_lab_wait_readable(server, 300_000_000) == 1 else { return false }
  var peer = sockaddr_storage()
  var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
  return withUnsafeMutablePointer(to: &peer) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { peer in
      recvfrom(server, &byte, 1, 0, peer, &length) == 1 && sendto(server, &byte, 1, 0, peer, length) == 1
        && clinux_lab_wait_readable(client, 300_000_000) == 1
    }
  }
}

@Suite(.serialized) struct `A lab on this machine` {
  @Test(.enabled(if: canBuild, "the lab needs root"))
  func `goes as it came`() throws {
    let root = temporaryRoot()
    let cluster = try Cluster(DemoConfiguration().configuration(), in: root, kind: .run)
    let namespaces = cluster.manifest.namespaces
    #expect(namespaces.count == 7 && namespaces.allSatisfy(\.exists))
    #expect(try reaches("lb1", "lb2", of: cluster))
    // No duplicate address detection: an address is usable at once.
    let dad = try Command.run(["cat", "/proc/sys/net/ipv6/conf/eth0/accept_dad"], in: cluster.namespace(of: "lb1"))
    #expect(dad.output == "0\n")
    let addresses = try Command.run(["ip", "-6", "address"], in: cluster.namespace(of: "lb1")).output
    #expect(addresses.contains("scope link") && !addresses.contains("tentative"))
    cluster.remove()
    #expect(leftovers(of: cluster.folder.id) == [])
    #expect(access(root, F_OK) != 0)
  }

  @Test(.enabled(if: hasKeepalived && Command.find("curl") != nil, "needs root, keepalived and curl"))
  func `stands beside another with the same addresses`() throws {
    let root = temporaryRoot()
    let nodes: Set = ["lb1", "lb2"]
    let first = try LabCommands.up(nil, programs: programs, keepalived: nodes, root: root) { _ in }
    let second = try LabCommands.up(nil, programs: programs, keepalived: nodes, root: root) { _ in }
    defer { _ = try? LabCommands.down(root: root) }
    let deadline = Clock.now() + .seconds(10)
    var owners: [String] = []
    while owners != ["lb1", "lb1"], Clock.now() < deadline {
      owners = try LabCommands.status(root: root).flatMap(\.hosts).filter { !$0.vips.isEmpty }.map(\.name)
      usleep(50_000)
    }
    #expect(owners == ["lb1", "lb1"])
    for lab in [first, second] {
      let client = try #require(lab.hosts.first { $0.role == .client })
      let page = try Command.run(
        ["curl", "-s", "-m", "2", "http://10.77.0.21:8080/"], in: client.namespace)
      #expect(page.output == "hello from app1\n")
    }
    #expect(try LabCommands.down(first.id, root: root) == [first.id])
    #expect(leftovers(of: first.id) == [])
    #expect(try LabCommands.status(root: root).map(\.id) == [second.id])
    #expect(try LabCommands.down(root: root) == [second.id])
    #expect(leftovers(of: second.id) == [])
    #expect(throws: LabError.self) { try LabCommands.down("none", root: root) }
  }

  @Test(.enabled(if: hasKeepalived, "needs root and keepalived"))
  func `is found and removed after its maker was killed`() throws {
    let root = temporaryRoot()
    let ends = try Command.pipe()
    var launch = Launch(arguments: [helper, "hold", root])
    launch.output = ends.writing
    let pid = try launch.start()
    close(ends.writing)
    var bytes = [UInt8](repeating: 0, count: 16)
    let count = read(ends.reading, &bytes, bytes.count)
    close(ends.reading)
    let id = String(decoding: bytes[..<max(0, count)].filter { $0 > 32 }, as: UTF8.self)
    kill(pid, SIGKILL)
    waitpid(pid, nil, 0)
    try #require(!id.isEmpty)
    #expect(leftovers(of: id).count > 7)
    #expect(try LabCommands.down(root: root) == [id])
    #expect(leftovers(of: id) == [])
  }

  @Test(.enabled(if: canBuild, "the lab needs root"))
  func `of a run that was killed is removed by the next one`() throws {
    let root = temporaryRoot()
    let cluster = try Cluster(DemoConfiguration().configuration(), in: root, kind: .kept)
    var manifest = cluster.manifest
    manifest.kind = .run
    manifest.maker.started &+= 1  // no such process lives
    try cluster.folder.write(manifest)
    #expect(Cluster.removeStale(in: root) == [cluster.folder.id])
    #expect(leftovers(of: cluster.folder.id) == [])
  }

  @Test(.enabled(if: hasKeepalived, "needs root and keepalived"))
  func `measures how keepalived takes over from a dead machine, and its heal`() throws {
    var options = LabRun.Options(programs: programs)
    options.root = temporaryRoot()
    options.keepalivedNodes = ["lb1", "lb2"]
    options.connections = 20
    options.pace = Pace(lead: .milliseconds(500), between: .milliseconds(1500), tail: .milliseconds(1500))
    let scenario = try #require(Scenario.builtIn(named: "node-dead"))
    let report = try #require(try LabRun.run([scenario], nil, options, say: { _ in }).first)
    #expect(report.runs.map(\.fault) == ["node-dead", "heal"])
    let fault = report.runs[0]
    // The figures are the machine's; what is checked is that each was taken.
    #expect(fault.outageMs > 50 && fault.probesLost > 50)
    #expect(fault.ownersAtEnd == ["lb2"])
    #expect(fault.noOwnerMs > 50 && fault.twoOwnersMs == 0)
    #expect(fault.connectionsOpen == 20 && fault.connectionsBroken == 20)
    #expect(fault.requests > 100)
    #expect(report.runs[1].ownersAtEnd == ["lb1"])
    #expect(try report.json().contains("\"two_owners_ms\""))
    #expect(access(options.root, F_OK) != 0)
  }

  @Test(.enabled(if: hasKeepalived && Command.find("nft") != nil, "needs root, keepalived and nft"))
  func `has two owners during a partition and one after it`() throws {
    var options = LabRun.Options(programs: programs)
    options.root = temporaryRoot()
    options.keepalivedNodes = ["lb1", "lb2"]
    options.connections = 5
    options.pace = Pace(lead: .milliseconds(500), between: .milliseconds(1500), tail: .milliseconds(1500))
    let scenario = try #require(Scenario.builtIn(named: "partition"))
    let report = try #require(try LabRun.run([scenario], nil, options, say: { _ in }).first)
    #expect(report.runs[0].ownersAtEnd == ["lb1", "lb2"])
    #expect(report.runs[0].twoOwnersMs == 0)  // they don't reach each other
    #expect(report.runs[1].ownersAtEnd == ["lb1"])
  }

  @Test(.enabled(if: canBuild, "the lab needs root"))
  func `cuts, pulls and joins cables`() throws {
    let cluster = try Cluster(DemoConfiguration(backends: 1).configuration(), in: temporaryRoot(), kind: .run)
    defer { cluster.remove() }
    let cabling = try Cabling(topology: cluster.topology, namespace: cluster.manifest.switchNamespace)
    func carrier() throws -> Bool {
      try Command.run(["ip", "-o", "link", "show", "eth0"], in: cluster.namespace(of: "lb1")).output.contains(
        "LOWER_UP")
    }
    #expect(try reaches("lb1", "lb2", of: cluster))
    try cabling.setForwarding("lb1", false)
    #expect(try !reaches("lb1", "lb2", of: cluster))
    #expect(try carrier())
    try cabling.setForwarding("lb1", true)
    #expect(try reaches("lb1", "lb2", of: cluster))
    try cabling.setCarrier("lb1", false)
    #expect(try !carrier())
    try cabling.setCarrier("lb1", true)
    #expect(try carrier())
    #expect(try reaches("lb1", "lb2", of: cluster))
    guard Command.find("nft") != nil else { return }
    try cabling.setPaths(
      cut: [Cabling.Pair(from: "lb2", to: "lb1")], lossy: [Cabling.Pair(from: "lb1", to: "app1"): 0.5])
    #expect(try !reaches("lb1", "lb2", of: cluster))
    #expect(try reaches("lb2", "app1", of: cluster))
    try cabling.setPaths(cut: [], lossy: [:])
    #expect(try reaches("lb1", "lb2", of: cluster))
  }
}

@Test(arguments: [
  ("delay lb1 lb2 50ms", "the lab can't delay packets"),
  ("clock-jump lb1 by +2s", "the lab can't move one node's wall clock"),
])
func `what this machine has no means for is refused before anything is built`(action: String, reason: String) throws {
  let text = "# odd: something odd happens\nat 1s \(action)\nuntil 2s\n"
  let scenario = try Scenario(reading: text, file: "odd.scenario")
  let programs = Programs(roost: nil, helper: [])
  let error = #expect(throws: LabError.self) {
    try LabRun.run([scenario], nil, LabRun.Options(programs: programs)) { Issue.record("it went on: \($0)") }
  }
  #expect(error?.kind == .usage)
  #expect(error?.description.contains("odd.scenario:2: \(reason)") == true)
  #expect(!LabRun.canTell(scenario))
}
