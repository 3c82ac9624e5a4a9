import Basis
import CLinux
import Configuration
import FoundationEssentials
import Glibc
import Linux

/// What `roost lab up|down|status|exec` do.
public enum LabCommands {
  /// Builds a lab that stays, with everything running in it.
  ///
  /// - Parameters:
  ///   - configuration: and its file; nil for the built-in cluster.
  ///   - keepalived: the nodes that run keepalived instead of roost.
  public static func up(
    _ configuration: (value: Configuration, file: String)?, programs: Programs, keepalived: Set<String> = [],
    root: String = LabFolder.defaultRoot, say: (String) -> Void
  ) throws(LabError) -> Manifest {
    for id in Cluster.removeStale(in: root) { say("lab \(id), left behind by a run that was killed: removed") }
    let demo = DemoConfiguration()
    let value: Configuration
    if let configuration { value = configuration.value } else { value = try demo.configuration() }
    let cluster = try Cluster(value, in: root, kind: .kept, file: configuration?.file)
    do throws(LabError) {
      let source: NodeConfiguration
      if let given = configuration?.file {
        source = .file(given.hasPrefix("/") ? given : "\(FileManager.default.currentDirectoryPath)/\(given)")
      } else {
        source = .demo(try demo.withSecrets(in: cluster.folder.path))
      }
      let machines = try Machines(cluster, programs: programs, configuration: source, keepalived: keepalived)
      try machines.startAll()
      return cluster.manifest
    } catch {
      cluster.remove()
      throw error
    }
  }

  /// Removes one lab, or all below the root; gives their names.
  public static func down(_ id: String? = nil, root: String = LabFolder.defaultRoot) throws(LabError) -> [String] {
    try Cluster.checkHost()
    let folders = LabFolder.all(in: root).filter { id == nil || $0.id == id }
    if let id, folders.isEmpty { throw LabError(.usage, "there is no lab \(id) in \(root)\(known(in: root))") }
    var removed: [String] = []
    for folder in folders {
      guard let manifest = folder.read() else {
        // Made, but not yet written to: nothing was built.
        if isEmpty(folder) { folder.remove() }
        continue
      }
      // A run that still goes on is its maker's to end, unless it is named.
      if id == nil, manifest.kind == .run, manifest.maker.isAlive, manifest.maker.pid != getpid() { continue }
      let complaints = Cluster.remove(manifest, folder)
      guard complaints.isEmpty else {
        throw LabError(.failed, "lab \(folder.id) is not all gone: \(complaints.joined(separator: "; ")); try again")
      }
      removed.append(folder.id)
    }
    return removed
  }

  private static func isEmpty(_ folder: LabFolder) -> Bool {
    (try? FileManager.default.contentsOfDirectory(atPath: folder.path))?.isEmpty ?? false
  }

  /// What a lab consists of now.
  public struct Status: Sendable, Codable {
    public struct Host: Sendable, Codable {
      public var name: String
      public var role: Topology.Role
      public var namespace: String
      public var addresses: [String]
      /// Those of the VIPs that it holds now.
      public var vips: [String]
      public var processes: [Process]
    }
    public struct Process: Sendable, Codable {
      public var pid: Int32
      public var command: String

      /// The program without its folder, and its first argument: `roost run`.
      public var label: String {
        let words = command.split(separator: " ")
        let program = words.first?.split(separator: "/").last.map(String.init) ?? "?"
        return words.count > 1 && !words[1].hasPrefix("-") ? "\(program) \(words[1])" : program
      }
    }
    public var id: String
    public var kind: Manifest.Kind
    public var isStale: Bool
    public var configuration: String?
    public var folder: String
    public var hosts: [Host]
  }

  public static func status(root: String = LabFolder.defaultRoot) throws(LabError) -> [Status] {
    try Cluster.checkHost()
    return LabFolder.all(in: root).compactMap { folder in
      folder.read().map { status($0, folder) }
    }
  }

  private static func status(_ manifest: Manifest, _ folder: LabFolder) -> Status {
    let hosts = manifest.hosts.map { host in
      let inode = host.namespace.inode.map { Set([$0]) } ?? []
      let processes = ProcessTable.processes(in: inode).map {
        Status.Process(pid: $0.pid, command: command(of: $0.pid))
      }
      return Status.Host(
        name: host.name, role: host.role, namespace: host.namespace.name, addresses: host.addresses,
        vips: heldVIPs(in: host.namespace, of: manifest), processes: processes)
    }
    return Status(
      id: manifest.id, kind: manifest.kind, isStale: manifest.isStale, configuration: manifest.configuration,
      folder: folder.path, hosts: hosts)
  }

  private static func heldVIPs(in namespace: Namespace, of manifest: Manifest) -> [String] {
    let ip = Command.find("ip") ?? "ip"
    let output = (try? Command.run([ip, "-o", "address", "show"], in: namespace))?.output ?? ""
    let held = Set(output.split(whereSeparator: { $0 == " " || $0 == "\n" }).map { $0.prefix { $0 != "/" } })
    return manifest.vips.filter { held.contains($0[...]) }
  }

  private static func command(of pid: Int32) -> String {
    let words = (readSmallFile("/proc/\(pid)/cmdline") ?? "").split(separator: "\0")
    return words.joined(separator: " ")
  }

  /// Becomes the command, inside the host's namespace; returns only by throwing.
  public static func exec(
    _ host: String, _ command: [String], lab id: String? = nil, root: String = LabFolder.defaultRoot
  ) throws(LabError) -> Never {
    try Cluster.checkHost()
    let labs = LabFolder.all(in: root).compactMap { $0.read() }.filter { id == nil || $0.id == id }
    guard let manifest = labs.first else { throw LabError(.usage, "no lab is up: roost lab up\(known(in: root))") }
    if labs.count > 1 {
      throw LabError(.usage, "several labs are up: say which with --lab \(labs.map(\.id).joined(separator: "|"))")
    }
    let names = manifest.hosts.map(\.name) + ["switch"]
    let namespace = host == "switch" ? manifest.switchNamespace : manifest.hosts.first { $0.name == host }?.namespace
    guard let namespace else {
      throw LabError(.usage, "no host is called \(host); there are \(names.joined(separator: ", "))")
    }
    let descriptor = open(namespace.path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .system("namespace \(namespace.name)", errno) }
    setenv("ROOST_LAB", manifest.id, 1)
    setenv("ROOST_LAB_HOST", host, 1)
    // `exec lb1 -- ip address` is how some people write it.
    let words = command.first == "--" ? Array(command.dropFirst()) : command
    var argv: [UnsafeMutablePointer<CChar>?] = (words.isEmpty ? ["/bin/sh"] : words).map { strdup($0) }
    argv.append(nil)
    let failure = clinux_lab_exec(descriptor, argv)
    throw .system("running \(words.first ?? "/bin/sh") on \(host)", failure)
  }

  private static func known(in root: String) -> String {
    let ids = LabFolder.all(in: root).filter { $0.read() != nil }.map(\.id)
    return ids.isEmpty ? "" : "; there are \(ids.joined(separator: ", "))"
  }
}
