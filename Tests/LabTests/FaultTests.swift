import Basis
import CLinux
import Configuration
import FoundationEssentials
import Glibc
import Linux
import Scenario
import Testing
import VRRP
import Wire

@testable import Lab

/// Waits for the condition; generous, because nothing here is about time.
private func holds(_ condition: () throws -> Bool) rethrows -> Bool {
  let deadline = Clock.now() + .seconds(20)
  while Clock.now() < deadline {
    if try condition() { return true }
    usleep(5_000)
  }
  return false
}

/// A lab with nothing running in it but what a test starts.
private final class Bench {
  let cluster: Cluster
  let machines: Machines
  let driver: FaultDriver
  let monitor: AddressMonitor

  init() throws {
    let value = try DemoConfiguration().configuration()
    cluster = try Cluster(value, in: temporaryRoot(), kind: .run, hasStranger: true)
    let demo = try DemoConfiguration().withSecrets(in: cluster.folder.path)
    machines = try Machines(cluster, programs: programs, configuration: .demo(demo), keepalived: ["lb1", "lb2"])
    for node in machines.nodes { try machines.writeConfiguration(node, demo) }
    let cluster = cluster
    monitor = try AddressMonitor(
      hosts: ["lb1", "lb2"].map { ($0, cluster.namespace(of: $0)) }, addresses: [DemoConfiguration.vip])
    let cabling = try Cabling(topology: cluster.topology, namespace: cluster.manifest.switchNamespace)
    driver = FaultDriver(
      machines: machines, cabling: cabling, monitor: monitor, nodes: ["lb1", "lb2"], backends: [], vip: value.vips[0])
  }

  func remove() {
    monitor.stop()
    cluster.remove()
  }

  func ip(_ words: String..., on host: String) throws -> String {
    try Command.run(["ip"] + words, in: cluster.namespace(of: host)).output
  }

  func addVIP(to node: String) throws {
    _ = try ip("address", "add", "\(DemoConfiguration.vip)/32", "dev", "eth0", on: node)
    #expect(holds { monitor.holders(of: DemoConfiguration.vip) == [node] })
  }
}

@Suite(.serialized, .enabled(if: hasKeepalived, "needs root and keepalived")) struct `Faults of a lab` {
  @Test func `a rogue's adverts are such as a node has to take for good ones`() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let socket = try bench.cluster.namespace(of: "lb2").run {
      Result { try VRRPSocket(interface: "eth0", index: Int32(if_nametoindex("eth0")), family: .ipv4) }.map(
        SocketBox.init)
    }.get().socket
    try bench.driver.perform(.rogueAdvert(priority: 255, for: .seconds(1)))
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1500, alignment: 8)
    defer { buffer.deallocate() }
    var heard: VRRPSocket.Received?
    #expect(
      try holds {
        heard = try socket.receive(into: buffer)
        return heard != nil
      })
    let received = try #require(heard)
    #expect(received.hopLimit == 255)
    let message = Array(buffer[received.payload])
    let header = try AdvertHeader(
      checking: message.span.bytes, version: .v3, id: 51, from: received.source, to: received.destination)
    #expect(header.priority == 255 && header.count == 1)
    #expect(header.address(0, in: message.span.bytes) == DemoConfiguration.vip)
    #expect(received.source == bench.cluster.topology.host("stranger")?.interfaces[0].addresses[0].address)
    try bench.driver.end(.rogueAdvert(priority: 255, for: .seconds(1)))
    #expect(holds { bench.machines.processes(on: "stranger").isEmpty })
  }

  @Test func `links come and go while the kernel's lock is to be busy, and hogs run until they are called off`() throws
  {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.driver.perform(.rtnlBusy(for: .seconds(1)))
    func newest() throws -> Int {
      try bench.ip("-o", "link", on: "stranger").split(separator: "\n").compactMap { Int($0.prefix { $0 != ":" }) }
        .max() ?? 0
    }
    let before = try newest()
    #expect(try holds { try newest() > before + 20 })
    try bench.driver.end(.rtnlBusy(for: .seconds(1)))
    try bench.driver.perform(.hog(for: .seconds(1)))
    let wanted = 2 * Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    #expect(holds { bench.machines.processes(on: "stranger").count == wanted })
    let hogs = bench.machines.processes(on: "stranger")
    #expect(holds { hogs.allSatisfy { (Usage.processorTime(of: $0) ?? .zero) > .zero } })
    try bench.driver.end(.hog(for: .seconds(1)))
    #expect(holds { bench.machines.processes(on: "stranger").isEmpty })
  }

  @Test func `an interface is renamed, deleted and made again as it was`() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let names = { try bench.ip("-o", "link", on: "lb1") }
    try bench.driver.perform(.interfaceRenamed(.node(0)))
    #expect(try names().contains(" renamed0@") && !names().contains(" eth0@"))
    #expect(try bench.ip("-o", "address", on: "lb1").contains("10.77.0.11/24"))
    try bench.driver.perform(.interfaceRecreated(.node(0)))
    #expect(try names().contains(" eth0@"))
    #expect(try reaches("client", "lb1", of: bench.cluster))
    try bench.driver.perform(.interfaceRemoved(.node(0)))
    #expect(try !names().contains("eth0"))
    #expect(bench.driver.state.isolated == ["lb1"])
    try bench.driver.perform(.interfaceRecreated(.node(0)))
    // It has another MAC address, which the client has to find out.
    _ = try bench.ip("neigh", "flush", "all", on: "client")
    #expect(try holds { try reaches("client", "lb1", of: bench.cluster) })
    #expect(bench.driver.state.isolated.isEmpty)
    // Its end of the cable has a new number, and can be cut all the same.
    try bench.driver.perform(.linkCut(.node(0)))
    #expect(try !reaches("client", "lb1", of: bench.cluster))
  }

  @Test func `the VIP's address is taken away wherever it is`() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.addVIP(to: "lb2")
    try bench.driver.perform(.addressRemoved(.owner))
    #expect(holds { bench.monitor.holders(of: DemoConfiguration.vip).isEmpty })
    #expect(try bench.ip("-o", "address", on: "lb2").contains("10.77.0.12/24"))
  }

  @Test(.enabled(if: Command.find("nft") != nil, "needs nft")) func `a cut peer link lets everything but TCP through`()
    throws
  {
    let bench = try Bench()
    defer { bench.remove() }
    let address = try #require(bench.cluster.topology.host("lb2")?.interfaces[0].addresses[0].address)
    let endpoint = Endpoint(address, 7112)
    let listener = try bench.cluster.namespace(of: "lb2").attempt { () throws(LabError) in
      try endpoint.bound(SOCK_STREAM)
    }
    defer { close(listener) }
    func connects(from host: String) throws -> Bool {
      let client = try bench.cluster.namespace(of: host).run { endpoint.connecting(SOCK_STREAM) }
      try #require(client >= 0)
      defer { close(client) }
      var polled = pollfd(fd: client, events: Int16(POLLOUT), revents: 0)
      return poll(&polled, 1, 300) == 1 && socketError(client) == 0
    }
    #expect(try connects(from: "lb1"))
    try bench.driver.perform(.linkPeersCut(.all))
    #expect(try !connects(from: "lb1") && connects(from: "client"))
    #expect(try reaches("lb1", "lb2", of: bench.cluster))
    try bench.driver.perform(.heal)
    #expect(try connects(from: "lb1"))
  }

  @Test func `a change is in one node's file until it is in the other's, and gone after a heal`() throws {
    let bench = try Bench()
    defer { bench.remove() }
    func keepalived(_ node: String) -> String {
      readSmallFile("\(bench.cluster.folder.hostFolder(node))/keepalived.conf") ?? ""
    }
    try bench.driver.perform(.reload(.node(0), .address))
    #expect(keepalived("lb1").contains("10.77.0.101/32") && !keepalived("lb2").contains("10.77.0.101/32"))
    let text = readSmallFile(bench.machines.configurationFile(of: "lb1")) ?? ""
    #expect(text.contains("addresses: [10.77.0.100, 10.77.0.101]"))
    try bench.driver.perform(.reload(.all, .vip))
    #expect(keepalived("lb2").contains("vrrp_instance added1"))
    #expect(try Set(bench.machines.restoreConfigurations()) == ["lb1", "lb2"])
    #expect(!keepalived("lb1").contains("10.77.0.101") && !keepalived("lb2").contains("added1"))
  }

  @Test func `the cluster's secret is the lab's own, and nobody else's to read`() throws {
    let bench = try Bench()
    defer { bench.remove() }
    var status = stat()
    #expect(stat("\(bench.cluster.folder.path)/secret", &status) == 0)
    #expect(status.st_mode & 0o777 == 0o600)
    #expect(throws: Never.self) { try Secret.read("\(bench.cluster.folder.path)/secret").get() }
    #expect(
      readSmallFile(bench.machines.configurationFile(of: "lb2"))?.contains(
        "secret: \(bench.cluster.folder.path)/secret") == true)
  }

  @Test func `what a person started in a lab's namespace is theirs to end`() throws {
    let bench = try Bench()
    let namespace = bench.cluster.namespace(of: "lb1")
    let sleeper = try Child(name: "sleep", namespace: namespace, launch: Launch(arguments: ["sleep", "60"]))
    let ours = try bench.machines.start("lb1", ["sleep", "60"], log: nil)
    // As a guardian is found that left a file and cleaned its environment.
    let guardian = try Child(name: "guardian", namespace: namespace, launch: Launch(arguments: ["sleep", "60"]))
    mkdir(bench.cluster.folder.stateFolder("lb1"), 0o755)
    try bench.machines.writeFile(
      "\(bench.cluster.folder.stateFolder("lb1"))/guardian.pid", "\(guardian.identity.pid)\n")
    defer {
      sleeper.end()
      guardian.end()
    }
    bench.remove()
    #expect(sleeper.identity.isAlive)
    #expect(!ours.identity.isAlive)
    #expect(!guardian.identity.isAlive)
    #expect(leftovers(of: bench.cluster.folder.id) == [])
  }

  @Test func `a node's daemon is the process that its file names, and not the one that finishes for it`() throws {
    // Stands for the daemon: it is started like one, and the test writes the file.
    let folder = temporaryRoot()
    mkdir(folder, 0o700)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try Data("#!/bin/sh\nexec sleep 60\n".utf8).write(to: URL(filePath: "\(folder)/roost"))
    chmod("\(folder)/roost", 0o700)
    let cluster = try Cluster(DemoConfiguration().configuration(), in: temporaryRoot(), kind: .run)
    defer { cluster.remove() }
    let demo = try DemoConfiguration().withSecrets(in: cluster.folder.path)
    let machines = try Machines(
      cluster, programs: Programs(roost: "\(folder)/roost", helper: [helper]), configuration: .demo(demo))
    for node in machines.nodes { try machines.writeConfiguration(node, demo) }
    let file = "\(cluster.folder.stateFolder("lb1"))/daemon.pid"
    mkdir(cluster.folder.stateFolder("lb1"), 0o755)
    // Left behind by an earlier life.
    try machines.writeFile(file, "999999\n")
    try machines.startDaemon("lb1")
    let first = try #require(machines.daemonProcesses("lb1").first)
    #expect(machines.isRunning("lb1"))
    // After an upgrade both run.
    let second = try machines.start("lb1", ["sleep", "60"], log: nil)
    try machines.writeFile(file, "\(second.identity.pid)\n")
    #expect(machines.daemonProcesses("lb1") == [second.identity])
    machines.killDaemon("lb1")
    #expect(holds { second.hasEnded() })
    #expect(first.isAlive && !machines.isRunning("lb1") && machines.daemonProcesses("lb1").isEmpty)
    // A new life beside what still finishes.
    try machines.startDaemon("lb1")
    let third = try #require(machines.daemonProcesses("lb1").first)
    #expect(third != first && machines.isRunning("lb1"))
    machines.killDaemon("lb1")
    #expect(holds { !machines.isRunning("lb1") })
    #expect(first.isAlive)
  }

  @Test func `thousands of connections come from several addresses of the client`() throws {
    var options = LabRun.Options(programs: programs)
    options.root = temporaryRoot()
    options.keepalivedNodes = ["lb1", "lb2"]
    options.connections = 2500
    options.pace = Pace(lead: .milliseconds(500), between: .milliseconds(1500), tail: .milliseconds(1000))
    let text = "# quiet: nothing happens\nuntil 2s\n"
    let scenario = try Scenario(reading: text, file: "quiet.scenario")
    let report = try #require(try LabRun.run([scenario], nil, options, say: { _ in }).first)
    #expect(report.runs.map(\.fault) == [ScenarioReport.calm])
    #expect(report.runs[0].connectionsOpen == 2500 && report.runs[0].connectionsBroken == 0)
    #expect(report.runs[0].takes == 0 && report.runs[0].ownersAtEnd == ["lb1"])
    #expect(report.usage.map(\.node) == ["lb1", "lb2"] && report.usage.allSatisfy { $0.memoryKb > 1000 })
  }
}

/// Carries a socket out of the thread that opened it in a namespace.
private struct SocketBox: @unchecked Sendable {
  let socket: VRRPSocket
}

@Test func `times and sizes are read from what the kernel writes`() throws {
  let own = try #require(ProcessIdentity(pid: getpid()))
  let fields = (4...52).map { $0 == 14 ? "150" : $0 == 15 ? "50" : $0 == 22 ? "\(own.started)" : "\($0)" }
  let text = "\(own.pid) (a) b) S \(fields.joined(separator: " "))"
  let ticks = Double(sysconf(Int32(_SC_CLK_TCK)))
  #expect(Usage.processorTime(inStat: text, of: own) == .seconds(200 / ticks))
  var another = own
  another.started += 1
  #expect(Usage.processorTime(inStat: text, of: another) == nil)
  #expect(
    Usage.sizes(in: "7f00-8000 ---p 00000000 00:00 0 [rollup]\nRss:  3000 kB\nPss_Anon:\t12 kB\n") == [
      "Rss": 3000, "Pss_Anon": 12,
    ])
  #expect(Usage.memory(of: [own]).resident > 1000)
}

@Test func `a pid file names a process that runs, or nobody`() throws {
  let folder = temporaryRoot()
  mkdir(folder, 0o700)
  defer { try? FileManager.default.removeItem(atPath: folder) }
  for (text, isOurs) in [
    ("\(getpid())\n", true), ("\(getpid())", true), ("0\n", false), ("-1\n", false), ("pid", false), ("", false),
  ] {
    try Data(text.utf8).write(to: URL(filePath: "\(folder)/pid"))
    #expect((PidFile.read("\(folder)/pid")?.pid == getpid()) == isOurs)
  }
  #expect(PidFile.read("\(folder)/none") == nil)
}

@Test func `a story's last step lasts as long as wanted, and a hurried one lets steps that last end`() throws {
  let text = "# busy: the machine is busy\nat 2s hog for 5s\nat 9s heal\nuntil 12s\n"
  let scenario = try Scenario(reading: text, file: "busy.scenario")
  let hurried = scenario.hurried(to: Pace(lead: .seconds(1), between: .seconds(2), tail: .seconds(1)))
  #expect(hurried.steps.map(\.at) == [.seconds(1), .seconds(7)])
  var alone = scenario
  alone.steps.removeLast()
  let long = alone.lasting(.seconds(600))
  #expect(long.steps.map(\.action) == [.hog(for: .seconds(600))] && long.end == .seconds(603))
}

@Test(arguments: [true, false])
func `signed adverts have their secret, with the peer link and without`(hasPeerLink: Bool) throws {
  let text = "# signed: adverts are signed\nauth enforce\n\(hasPeerLink ? "" : "peer-link off\n")until 2s\n"
  let plan = LabPlan(try Scenario(reading: text, file: "signed.scenario"))
  #expect(try plan.configuration().cluster.secrets.isEmpty != hasPeerLink)
  let folder = temporaryRoot()
  mkdir(folder, 0o700)
  defer { try? FileManager.default.removeItem(atPath: folder) }
  guard case .demo(let demo) = try plan.nodeConfiguration(in: folder) else {
    Issue.record("not the lab's own configuration")
    return
  }
  let value = try demo.configuration()
  #expect(value.cluster.secrets == (hasPeerLink ? ["\(folder)/secret"] : []))
  guard case .vrrp(let router) = value.vips[0].election else { return }
  #expect(router.authentication.mode == .enforce)
  #expect(router.authentication.keys.map(\.file) == (hasPeerLink ? [] : ["\(folder)/key"]))
  for file in value.cluster.secrets + router.authentication.keys.map(\.file) {
    #expect(throws: Never.self) { try Secret.read(file).get() }
  }
}
