import Basis
import CLinux
import Configuration
import FoundationEssentials
import Glibc
import Linux
import Wire

/// A lab that stands on this machine: its namespaces, cables and addresses. What runs in it is in `Machines`.
public final class Cluster {
  public let folder: LabFolder
  public let topology: Topology
  public let configuration: Configuration
  public private(set) var manifest: Manifest
  private var isRemoved = false

  /// Builds the lab. Whatever fails on the way, nothing is left behind.
  ///
  /// - Parameters:
  ///   - root: the folder of all labs; the new one's is made in it.
  ///   - file: the configuration's path, for people.
  ///   - clientAddresses: from how many addresses the client's connections may come.
  ///   - hasStranger: whether there is a host that forges adverts and keeps the kernel busy.
  public init(
    _ configuration: Configuration, in root: String = LabFolder.defaultRoot, kind: Manifest.Kind, file: String? = nil,
    clientAddresses: Int = 1, hasStranger: Bool = false
  ) throws(LabError) {
    try Cluster.checkHost()
    self.configuration = configuration
    topology = try Topology(configuration, clientAddresses: clientAddresses, hasStranger: hasStranger)
    folder = try LabFolder.make(in: root)
    guard let maker = ProcessIdentity(pid: getpid()) else {
      throw LabError(.host, "/proc is not mounted: the lab needs it")
    }
    let id = folder.id
    manifest = Manifest(
      id: id, kind: kind, created: Double(Clock.wall().nanoseconds) / 1e9, maker: maker, configuration: file,
      switchNamespace: Namespace(name: "roost-\(id)-switch"),
      hosts: topology.hosts.map { host in
        Manifest.Host(
          name: host.name, role: host.role, namespace: Namespace(name: "roost-\(id)-\(host.name)"),
          addresses: host.interfaces.flatMap(\.addresses).map(\.address.description))
      },
      vips: configuration.vips.flatMap(\.addresses).map(\.description))
    do throws(LabError) {
      // First the manifest, then the deed: a lab that was killed at any point can be found and removed.
      try folder.write(manifest)
      try build()
      manifest.isComplete = true
      try folder.write(manifest)
    } catch {
      remove()
      throw error
    }
  }

  deinit { if manifest.kind == .run { remove() } }

  public func namespace(of host: String) -> Namespace {
    manifest.hosts.first { $0.name == host }?.namespace ?? manifest.switchNamespace
  }

  /// Ends every process of the lab and removes all that it made.
  public func remove() {
    if isRemoved { return }
    isRemoved = true
    Cluster.remove(manifest, folder)
  }

  // MARK: Building

  private func build() throws(LabError) {
    for host in topology.hosts { mkdir(folder.hostFolder(host.name), 0o755) }
    try ip(manifest.namespaces.map { "netns add \($0.name)" }, doing: "making the lab's namespaces")
    let switchCommands = cables()
    try manifest.switchNamespace.attempt { () throws(LabError) in
      Sysctl.write("net/ipv6/conf/default/disable_ipv6", "1")
      Sysctl.write("net/ipv6/conf/all/disable_ipv6", "1")
    }
    for host in topology.hosts {
      let isRouter = host.role == .router
      try namespace(of: host.name).attempt { () throws(LabError) in Sysctl.prepareHost(isRouter: isRouter) }
    }
    // After that: an interface takes its settings from the defaults at the moment when it comes into the namespace.
    try ip(switchCommands, in: manifest.switchNamespace, doing: "laying the lab's cables")
    for host in topology.hosts {
      let namespace = namespace(of: host.name)
      try ip(addresses(of: host), in: namespace, doing: "giving \(host.name) its addresses")
    }
  }

  private func cables() -> [String] {
    var commands: [String] = []
    for link in topology.links {
      commands.append("link add \(link.bridge) type bridge stp_state 0 forward_delay 0 mcast_snooping 0")
      commands.append("link set \(link.bridge) up")
    }
    for host in topology.hosts {
      for interface in host.interfaces { commands += cable(of: host.name, interface) }
    }
    return commands
  }

  private func cable(of host: String, _ interface: Topology.Interface) -> [String] {
    [
      "link add \(interface.port) type veth peer name \(interface.name) netns \(namespace(of: host).name)",
      "link set \(interface.port) master \(topology.links[interface.link].bridge) up",
    ]
  }

  /// A cable that was taken away, laid anew, and the host's end of it as it was in the beginning.
  func layCable(of name: String, _ interface: Topology.Interface) throws(LabError) {
    guard let host = topology.host(name) else { return }
    try ip(cable(of: name, interface), in: manifest.switchNamespace, doing: "laying the cable of \(name) again")
    try ip(
      addresses(of: interface) + host.gateways.map { "route replace default via \($0)" }, in: namespace(of: name),
      doing: "giving \(name) its addresses again")
  }

  private func addresses(of host: Topology.Host) -> [String] {
    var commands = ["link set lo up"]
    for interface in host.interfaces { commands += addresses(of: interface) }
    for gateway in host.gateways { commands.append("route add default via \(gateway)") }
    return commands
  }

  private func addresses(of interface: Topology.Interface) -> [String] {
    interface.addresses.map { assigned in
      let options = assigned.address.family == .ipv6 ? " nodad" : " brd +"
      return "address add \(assigned) dev \(interface.name)\(options)"
    } + ["link set \(interface.name) up"]
  }

  private func ip(_ commands: [String], in namespace: Namespace? = nil, doing what: String) throws(LabError) {
    try Cluster.ip(commands, in: namespace, doing: what)
  }

  private static func ip(_ commands: [String], in namespace: Namespace? = nil, doing what: String) throws(LabError) {
    let program = Command.find("ip") ?? "ip"
    try Command.check(
      [program, "-batch", "-"], input: commands.joined(separator: "\n") + "\n", in: namespace, doing: what)
  }

  // MARK: Host

  /// One clear line if this machine can't hold a lab.
  static func checkHost() throws(LabError) {
    guard Command.find("ip") != nil else {
      throw LabError(.host, "the lab needs the program 'ip': apt-get install iproute2")
    }
    let status = readSmallFile("/proc/self/status") ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("CapEff:") } ?? ""
    let capabilities = UInt64(line.dropFirst("CapEff:".count).drop { $0 == "\t" || $0 == " " }, radix: 16) ?? 0
    // CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN (linux/capability.h).
    for (bit, name) in [(12, "CAP_NET_ADMIN"), (13, "CAP_NET_RAW"), (21, "CAP_SYS_ADMIN")]
    where capabilities >> bit & 1 == 0 {
      throw LabError(
        .host, "the lab makes network namespaces, and this process lacks \(name): run it as root (sudo roost lab …)")
    }
  }

  // MARK: Removing

  /// Removes a lab by its manifest alone, whoever made it, in whatever state it was left.
  @discardableResult
  static func remove(_ manifest: Manifest, _ folder: LabFolder) -> [String] {
    var complaints: [String] = []
    let deadline = Clock.now() + .seconds(5)
    var processes = processes(of: manifest, folder)
    while !processes.isEmpty, Clock.now() < deadline {
      // Stopped first, all of them: a guardian must not act on its daemon's death, nor a daemon start another guardian.
      for process in processes { process.signal(SIGSTOP) }
      for process in processes { process.signal(SIGKILL) }
      usleep(5_000)
      processes = self.processes(of: manifest, folder)
    }
    if !processes.isEmpty {
      complaints.append("these processes don't end: \(processes.map { String($0.pid) }.joined(separator: " "))")
    }
    let names = manifest.namespaces.filter(\.exists).map(\.name)
    if !names.isEmpty {
      do throws(LabError) {
        try ip(names.map { "netns delete \($0)" }, doing: "removing the namespaces of lab \(manifest.id)")
      } catch {
        complaints.append(error.description)
      }
    }
    if complaints.isEmpty { folder.remove() }
    return complaints
  }

  /// Everything that the lab started and that still runs, the caller itself excepted. What somebody else started inside one of its
  /// namespaces (`ip netns exec …`) is not the lab's to end.
  static func processes(of manifest: Manifest, _ folder: LabFolder) -> [ProcessIdentity] {
    let mark = LabMark(manifest.id)
    // A guardian may have cleaned its environment; then its file names it, and its namespace is the proof.
    let guardians = manifest.hosts.filter { $0.role == .node }.compactMap { host -> ProcessIdentity? in
      guard let process = PidFile.read("\(folder.stateFolder(host.name))/guardian.pid"), process.pid != getpid() else {
        return nil
      }
      return ProcessTable.namespace(of: process.pid) == host.namespace.inode ? process : nil
    }
    let own = getpid()
    let marked = ProcessTable.all().filter { $0 != own && mark.isOn($0) }.compactMap { ProcessIdentity(pid: $0) }
    return marked + guardians.filter { !marked.contains($0) }
  }

  /// Removes what runs that were killed left behind; gives their names.
  @discardableResult
  public static func removeStale(in root: String = LabFolder.defaultRoot) -> [String] {
    LabFolder.all(in: root).compactMap { folder in
      guard let manifest = folder.read(), manifest.isStale else { return nil }
      return remove(manifest, folder).isEmpty ? manifest.id : nil
    }
  }
}

/// Settings of the calling thread's network namespace; what this kernel lacks is left as it is.
enum Sysctl {
  static func write(_ key: String, _ value: String) {
    let descriptor = open("/proc/sys/\(key)", O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    writeAll(descriptor, Array(value.utf8))
    close(descriptor)
  }

  static func prepareHost(isRouter: Bool) {
    // Addresses are usable at once: duplicates are what the lab is about.
    for scope in ["all", "default"] {
      write("net/ipv6/conf/\(scope)/accept_dad", "0")
      write("net/ipv6/conf/\(scope)/accept_ra", "0")
      write("net/ipv6/conf/\(scope)/forwarding", isRouter ? "1" : "0")
    }
    write("net/ipv6/conf/default/dad_transmits", "0")
    write("net/ipv4/ip_forward", isRouter ? "1" : "0")
    // The prober opens hundreds of connections a second from one address.
    write("net/ipv4/ip_local_port_range", "10000 65000")
  }
}
