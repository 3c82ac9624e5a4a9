import Basis
import Configuration
import FoundationEssentials
import Glibc
import Linux
import Wire

/// The programs that a lab runs.
public struct Programs: Sendable, Hashable {
  /// The roost whose `run` is tried; nil where only keepalived runs.
  public var roost: String?
  /// The start of a command line for the lab's own helpers: `[…/roost, "lab-helper"]`.
  public var helper: [String]
  public var keepalived: String?

  public init(roost: String?, helper: [String], keepalived: String? = Programs.installedKeepalived) {
    self.roost = roost
    self.helper = helper
    self.keepalived = keepalived
  }

  /// Nil where keepalived is not installed.
  public static var installedKeepalived: String? { Command.find("keepalived") }

  /// This very program, whatever became of its file since.
  public static var itself: String {
    var buffer = [CChar](repeating: 0, count: 4096)
    let count = readlink("/proc/self/exe", &buffer, buffer.count)
    guard count > 0 else { return "/proc/self/exe" }
    return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

/// What runs on the hosts of a lab: the nodes' daemons, what answers beside them, and the backends.
public final class Machines {
  public enum Daemon: String, Sendable, Hashable { case roost, keepalived }

  let cluster: Cluster
  private let programs: Programs
  /// The file that `roost run` reads.
  private let configurationFile: String
  private let daemonOf: [String: Daemon]
  private var daemons: [String: Child] = [:]
  private var servers: [String: Child] = [:]

  /// - Parameter keepalived: the nodes that run keepalived instead of roost.
  public init(
    _ cluster: Cluster, programs: Programs, configurationFile: String, keepalived: Set<String> = []
  ) throws(LabError) {
    self.cluster = cluster
    self.programs = programs
    self.configurationFile = configurationFile
    let nodes = cluster.topology.hosts(.node).map(\.name)
    for name in keepalived.sorted() where !nodes.contains(name) {
      throw LabError(.usage, "no node is called \(name); there are \(nodes.joined(separator: ", "))")
    }
    daemonOf = Dictionary(uniqueKeysWithValues: nodes.map { ($0, keepalived.contains($0) ? .keepalived : .roost) })
    if !keepalived.isEmpty, programs.keepalived == nil {
      throw LabError(.host, "keepalived is not installed: apt-get install keepalived")
    }
    if keepalived.count < nodes.count, programs.roost == nil {
      throw LabError(.usage, "no roost program to run was given")
    }
  }

  public var nodes: [String] { cluster.topology.hosts(.node).map(\.name) }

  public func daemon(of node: String) -> Daemon { daemonOf[node] ?? .roost }

  public func startAll() throws(LabError) {
    for host in cluster.topology.hosts { try startServer(host.name) }
    try awaitServers()
    for node in nodes { try startDaemon(node) }
  }

  // MARK: Daemons

  public func socket(of node: String) -> String { "\(cluster.folder.hostFolder(node))/roost.sock" }
  public func log(of node: String) -> String { "\(cluster.folder.hostFolder(node))/daemon.log" }

  public func isRunning(_ node: String) -> Bool { daemons[node].map { !$0.hasEnded() } ?? false }

  /// Nothing happens where it runs already.
  public func startDaemon(_ node: String) throws(LabError) {
    if isRunning(node) { return }
    let arguments: [String]
    switch daemon(of: node) {
    case .roost: arguments = roostArguments(node)
    case .keepalived: arguments = try keepalivedArguments(node)
    }
    daemons[node] = try start(node, arguments, log: log(of: node))
  }

  private func roostArguments(_ node: String) -> [String] {
    let state = "\(cluster.folder.hostFolder(node))/state"
    mkdir(state, 0o755)
    return [
      programs.roost ?? "roost", "run", "--config", configurationFile, "--node", node, "--state", state, "--socket",
      socket(of: node),
    ]
  }

  private func keepalivedArguments(_ node: String) throws(LabError) -> [String] {
    let folder = cluster.folder.hostFolder(node)
    let file = "\(folder)/keepalived.conf"
    let text = try Keepalived.text(for: node, of: cluster.configuration, interfaces: interfaces(of: node))
    try writeFile(file, text)
    // Pid files of an earlier life would make it refuse to start.
    for name in ["keepalived.pid", "vrrp.pid"] { unlink("\(folder)/\(name)") }
    return [
      programs.keepalived ?? "keepalived", "-n", "-l", "-D", "-G", "-P", "-f", file, "-p", "\(folder)/keepalived.pid",
      "-r",
      "\(folder)/vrrp.pid",
    ]
  }

  /// For each VIP, the node's interface on the VIP's link.
  private func interfaces(of node: String) -> [String: String] {
    var interfaces: [String: String] = [:]
    for vip in cluster.configuration.vips {
      let link = cluster.topology.links.firstIndex { link in
        vip.addresses.contains { address in link.prefixes.contains { $0.contains(address) } }
      }
      interfaces[vip.name] = cluster.topology.host(node)?.interfaces.first { $0.link == link }?.name
    }
    return interfaces
  }

  /// Every process of the node's daemon: one for roost, parent and child for keepalived.
  func daemonProcesses(_ node: String) -> [ProcessIdentity] {
    guard let daemon = daemons[node] else { return [] }
    guard self.daemon(of: node) == .keepalived else { return [daemon.identity] }
    let inode = cluster.namespace(of: node).inode.map { Set([$0]) } ?? []
    let all = ProcessTable.processes(in: inode)
    let others = all.filter { process in
      process != daemon.identity && readSmallFile("/proc/\(process.pid)/comm")?.hasPrefix("keepalived") == true
    }
    return others + [daemon.identity]
  }

  /// The main process alone, as a service manager would.
  func signalDaemon(_ node: String, _ number: Int32) { daemons[node]?.signal(number) }

  /// SIGKILL to all of the daemon at once: a child of keepalived that outlived its parent would be told by the kernel to end politely.
  func killDaemon(_ node: String) {
    let processes = daemonProcesses(node)
    if processes.count > 1 { for process in processes { process.signal(SIGSTOP) } }
    for process in processes { process.signal(SIGKILL) }
  }

  /// Every process on the host.
  func processes(on host: String) -> [ProcessIdentity] {
    ProcessTable.processes(in: cluster.namespace(of: host).inode.map { [$0] } ?? [])
  }

  // MARK: Servers

  func isServing(_ host: String) -> Bool { servers[host].map { !$0.hasEnded() } ?? false }

  /// On a backend: its ports. On a node: what answers the client's datagrams from the VIP, and with keepalived, which forwards
  /// nothing, the services' ports on the VIP too.
  func startServer(_ host: String) throws(LabError) {
    if isServing(host) { return }
    guard let specification = serveSpecification(host) else { return }
    let file = "\(cluster.folder.hostFolder(host))/serve.json"
    do {
      try JSONEncoder().encode(specification).write(to: URL(filePath: file))
    } catch {
      throw LabError(.failed, "\(file) can't be written: \(error)")
    }
    let output = "\(cluster.folder.hostFolder(host))/serve.log"
    unlink(output)
    servers[host] = try start(host, programs.helper + ["serve", file], log: output)
  }

  func killServer(_ host: String) { servers[host]?.signal(SIGKILL) }

  /// Until each says that it listens.
  func awaitServers() throws(LabError) {
    let deadline = Clock.now() + .seconds(5)
    for host in servers.keys.sorted() {
      let log = "\(cluster.folder.hostFolder(host))/serve.log"
      while readSmallFile(log)?.contains("ready\n") != true {
        guard Clock.now() < deadline, isServing(host) else {
          throw LabError(.failed, "the server on \(host) did not start: \((readSmallFile(log) ?? "").prefix(300))")
        }
        usleep(1_000)
      }
    }
  }

  /// Where the client's datagrams go: a port that no service has.
  public var datagramPort: UInt16 {
    let used = cluster.configuration.services.flatMap(\.listen).map(\.ports)
    return (7077..<UInt16.max).first { port in !used.contains { $0.contains(port) } } ?? 7077
  }

  private func serveSpecification(_ name: String) -> ServeSpecification? {
    guard let host = cluster.topology.host(name) else { return nil }
    let configuration = cluster.configuration
    let own = Set(host.interfaces.flatMap(\.addresses).map(\.address))
    var specification = ServeSpecification(name: name, tcp: [], udp: [], healthText: [])
    for service in configuration.services {
      let mine = service.backends.filter { own.contains($0.address) }
      for backend in mine {
        let ports = backend.port.map { [$0...$0] } ?? service.listen.map(\.ports)
        specification.tcp += ports.flatMap { $0.prefix(64) }.map { Endpoint(backend.address, $0) }
        if let port = service.check?.port { specification.tcp.append(Endpoint(backend.address, port)) }
      }
      if !mine.isEmpty, case .http(let probe) = service.check?.probe, let text = probe.contains {
        specification.healthText.append(text)
      }
    }
    if host.role == .node {
      for vip in configuration.vips {
        specification.udp += vip.addresses.map { Endpoint($0, datagramPort) }
        guard daemon(of: name) == .keepalived else { continue }
        for service in configuration.services where service.vip == vip.name {
          for port in service.listen.flatMap({ $0.ports.prefix(64) }) {
            specification.tcp += vip.addresses.map { Endpoint($0, port) }
          }
        }
      }
    }
    specification.tcp = Array(Set(specification.tcp)).sorted { ($0.address, $0.port) < ($1.address, $1.port) }
    return specification.tcp.isEmpty && specification.udp.isEmpty ? nil : specification
  }

  // MARK: Starting

  func start(_ host: String, _ arguments: [String], log: String?, input: Int32 = -1, output: Int32 = -1)
    throws(LabError) -> Child
  {
    var launch = Launch(arguments: arguments)
    // By this a process is the lab's, even when its namespace has lost its name.
    launch.environment.removeAll { $0.hasPrefix("ROOST_LAB=") || $0.hasPrefix("NOTIFY_SOCKET=") }
    launch.environment.append("ROOST_LAB=\(cluster.folder.id)")
    launch.input = input
    launch.output = output
    var file: Int32 = -1
    if let log {
      file = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
      guard file >= 0 else { throw .system("opening \(log)", errno) }
      if output < 0 { launch.output = file }
      launch.errors = file
    }
    defer { if file >= 0 { close(file) } }
    let ready = launch
    return try Child(name: "\(arguments[0]) on \(host)", namespace: cluster.namespace(of: host), launch: ready)
  }

  private func writeFile(_ path: String, _ text: String) throws(LabError) {
    do {
      try Data(text.utf8).write(to: URL(filePath: path))
    } catch {
      throw LabError(.failed, "\(path) can't be written: \(error)")
    }
  }
}
