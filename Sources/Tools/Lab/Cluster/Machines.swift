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

/// Where the nodes' configuration comes from.
public enum NodeConfiguration: Sendable, Hashable {
  /// One file for all nodes, which the lab leaves as it is.
  case file(String)
  /// The lab's own: a file for each node, so that one node can learn of a change before the others do.
  case demo(DemoConfiguration)
}

/// What runs on the hosts of a lab: the nodes' daemons, what answers beside them, and the backends.
public final class Machines {
  public enum Daemon: String, Sendable, Hashable { case roost, keepalived }

  let cluster: Cluster
  let programs: Programs
  let source: NodeConfiguration
  /// What a node's own file says now, where the lab writes it.
  var demos: [String: DemoConfiguration] = [:]
  private let daemonOf: [String: Daemon]
  var daemons: [String: Child] = [:]
  /// Nodes on which another process has taken the place of the one that was started.
  var upgraded: Set<String> = []
  var servers: [String: Child] = [:]

  /// - Parameter keepalived: the nodes that run keepalived instead of roost.
  public convenience init(
    _ cluster: Cluster, programs: Programs, configurationFile: String, keepalived: Set<String> = []
  ) throws(LabError) {
    try self.init(cluster, programs: programs, configuration: .file(configurationFile), keepalived: keepalived)
  }

  /// - Parameter keepalived: the nodes that run keepalived instead of roost.
  public init(
    _ cluster: Cluster, programs: Programs, configuration: NodeConfiguration, keepalived: Set<String> = []
  ) throws(LabError) {
    self.cluster = cluster
    self.programs = programs
    source = configuration
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
    if case .demo(let demo) = source {
      for node in nodes { try writeConfiguration(node, demo) }
    }
    for host in cluster.topology.hosts { try startServer(host.name) }
    try awaitServers()
    for node in nodes { try startDaemon(node) }
  }

  // MARK: Starting

  func start(_ host: String, _ arguments: [String], log: String?, input: Int32 = -1, output: Int32 = -1)
    throws(LabError) -> Child
  {
    var launch = Launch(arguments: arguments)
    // By this a process is the lab's, even when its namespace has lost its name.
    launch.environment = LabMark(cluster.folder.id).marked(
      launch.environment.filter { !$0.hasPrefix("NOTIFY_SOCKET=") })
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

  func writeFile(_ path: String, _ text: String) throws(LabError) {
    do {
      try Data(text.utf8).write(to: URL(filePath: path))
    } catch {
      throw LabError(.failed, "\(path) can't be written: \(error)")
    }
  }
}
