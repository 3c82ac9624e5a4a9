import Configuration
import Scenario

/// The files that the nodes' daemons read.
extension Machines {
  func configurationFile(of node: String) -> String {
    switch source {
    case .file(let path): path
    case .demo: "\(cluster.folder.hostFolder(node))/roost.yaml"
    }
  }

  func writeConfiguration(_ node: String, _ demo: DemoConfiguration) throws(LabError) {
    demos[node] = demo
    try writeFile(configurationFile(of: node), demo.text)
    if daemon(of: node) == .keepalived { _ = try writeKeepalivedConfiguration(node) }
  }

  /// What the node's file says, as the lab knows it.
  func configuration(of node: String) throws(LabError) -> Configuration {
    guard let demo = demos[node] else { return cluster.configuration }
    return try demo.configuration()
  }

  /// Writes the node's file with the change in it; the daemon is still to be told.
  func change(_ node: String, _ change: Action.Change) throws(LabError) {
    guard change != .nothing else { return }
    guard var demo = demos[node] else {
      throw LabError(
        .usage,
        "a reload that adds something needs the lab's own configuration, which it can write anew: leave --config out")
    }
    switch change {
    case .nothing: break
    case .vip: demo.moreVIPs += 1
    case .address: demo.moreAddresses += 1
    }
    try writeConfiguration(node, demo)
  }

  /// The nodes whose file is no longer the one that they began with; each is written anew.
  func restoreConfigurations() throws(LabError) -> [String] {
    guard case .demo(let original) = source else { return [] }
    let changed = nodes.filter { demos[$0] != nil && demos[$0] != original }
    for node in changed { try writeConfiguration(node, original) }
    return changed
  }

  /// Gives the file's path.
  func writeKeepalivedConfiguration(_ node: String) throws(LabError) -> String {
    let file = "\(cluster.folder.hostFolder(node))/keepalived.conf"
    let configuration = try configuration(of: node)
    let text = try Keepalived.text(for: node, of: configuration, interfaces: interfaces(of: node, configuration))
    try writeFile(file, text)
    return file
  }

  /// For each VIP, the node's interface on the VIP's link.
  private func interfaces(of node: String, _ configuration: Configuration) -> [String: String] {
    var interfaces: [String: String] = [:]
    for vip in configuration.vips {
      let link = cluster.topology.links.firstIndex { link in
        vip.addresses.contains { address in link.prefixes.contains { $0.contains(address) } }
      }
      interfaces[vip.name] = cluster.topology.host(node)?.interfaces.first { $0.link == link }?.name
    }
    return interfaces
  }
}
