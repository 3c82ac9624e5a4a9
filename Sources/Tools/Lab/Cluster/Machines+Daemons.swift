import Basis
import Glibc
import Linux

/// The nodes' daemons: how they are started, and which processes they consist of.
extension Machines {
  public func socket(of node: String) -> String { "\(cluster.folder.hostFolder(node))/roost.sock" }
  public func log(of node: String) -> String { "\(cluster.folder.hostFolder(node))/daemon.log" }

  /// The process that was started, or one that goes on in its place.
  public func isRunning(_ node: String) -> Bool {
    guard let child = daemons[node] else { return false }
    let hasEnded = child.hasEnded()  // and is reaped
    return named(on: node) != nil || !hasEnded && !upgraded.contains(node)
  }

  /// Nothing happens where it runs already.
  public func startDaemon(_ node: String) throws(LabError) {
    if isRunning(node) { return }
    let arguments: [String]
    switch daemon(of: node) {
    case .roost: arguments = roostArguments(node)
    case .keepalived: arguments = try keepalivedArguments(node)
    }
    // What finishes the connections of before an upgrade is nobody's daemon: it ends by itself, or with the lab.
    daemons[node] = try start(node, arguments, log: log(of: node))
    upgraded.remove(node)
  }

  private func roostArguments(_ node: String) -> [String] {
    let state = cluster.folder.stateFolder(node)
    mkdir(state, 0o755)
    return [
      programs.roost ?? "roost", "run", "--config", configurationFile(of: node), "--node", node, "--state", state,
      "--socket", socket(of: node),
    ]
  }

  private func keepalivedArguments(_ node: String) throws(LabError) -> [String] {
    let folder = cluster.folder.hostFolder(node)
    // Pid files of an earlier life would make it refuse to start.
    for name in ["keepalived.pid", "vrrp.pid"] { unlink("\(folder)/\(name)") }
    return [
      programs.keepalived ?? "keepalived", "-n", "-l", "-D", "-G", "-P", "-f", try writeKeepalivedConfiguration(node),
      "-p", "\(folder)/keepalived.pid", "-r", "\(folder)/vrrp.pid",
    ]
  }

  // MARK: Processes

  /// Every process of the node's daemon, without its guardian: one for roost, parent and child for keepalived.
  func daemonProcesses(_ node: String) -> [ProcessIdentity] {
    guard let child = daemons[node] else { return [] }
    switch daemon(of: node) {
    case .roost:
      if let named = named(on: node) { return [named] }
      // After an upgrade the process that was started may still be there to finish its connections, and is the daemon no more.
      return upgraded.contains(node) ? [] : [child.identity]
    case .keepalived:
      let others = processes(on: node).filter { process in
        process != child.identity && readSmallFile("/proc/\(process.pid)/comm")?.hasPrefix("keepalived") == true
      }
      return others + [child.identity]
    }
  }

  /// What the daemon's file names: after an upgrade, another process than the one that was started. Nil where it names nobody who runs.
  private func named(on node: String) -> ProcessIdentity? {
    guard daemon(of: node) == .roost,
      let process = PidFile.read("\(cluster.folder.stateFolder(node))/daemon.pid").flatMap({ mine($0, on: node) })
    else { return nil }
    if let child = daemons[node], child.identity != process { upgraded.insert(node) }
    return process
  }

  /// The second process of a Roost node; nil where there is none (now).
  func guardian(_ node: String) -> ProcessIdentity? {
    guard daemon(of: node) == .roost else { return nil }
    return PidFile.read("\(cluster.folder.stateFolder(node))/guardian.pid").flatMap { mine($0, on: node) }
  }

  /// A file may be old and its number somebody else's by now: only what is inside the node's namespace is the node's.
  private func mine(_ process: ProcessIdentity, on node: String) -> ProcessIdentity? {
    let inode = cluster.namespace(of: node).inode
    return inode != nil && ProcessTable.namespace(of: process.pid) == inode && process.isAlive ? process : nil
  }

  /// The main process alone, as a service manager would.
  func signalDaemon(_ node: String, _ number: Int32) {
    for process in daemonProcesses(node).suffix(1) { process.signal(number) }
  }

  /// SIGKILL to all of the daemon at once: a child of keepalived that outlived its parent would be told by the kernel to end politely.
  func killDaemon(_ node: String, withGuardian: Bool = false) {
    let processes = daemonProcesses(node) + (withGuardian ? [guardian(node)].compactMap { $0 } : [])
    if processes.count > 1 { for process in processes { process.signal(SIGSTOP) } }
    for process in processes { process.signal(SIGKILL) }
  }

  /// Every process of the lab on the host.
  func processes(on host: String) -> [ProcessIdentity] {
    let mark = LabMark(cluster.folder.id)
    let all = ProcessTable.processes(in: cluster.namespace(of: host).inode.map { [$0] } ?? [])
    let guardian = cluster.topology.host(host)?.role == .node ? guardian(host) : nil
    return all.filter { mark.isOn($0.pid) || $0 == guardian }
  }
}
