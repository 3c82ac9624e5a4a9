import Basis
import Glibc
import Linux
import Scenario
import Wire

/// Paths between nodes, and what happens to a node's own interface.
extension FaultDriver {
  func breakPaths(_ action: Action) throws(LabError) {
    switch action {
    case .partition(let groups): partition(groups)
    case .oneWay(let from, let to): rules.cut.formUnion(pairs(from, to, bothWays: false))
    case .loss(let path, let share):
      for pair in pairs(path.from, path.to, bothWays: path.bothWays) {
        if share >= 1 { rules.cut.insert(pair) } else { rules.lossy[pair] = share }
      }
    case .linkPeersCut(let who): rules.withoutTCP.formUnion(pairs(who, .all, bothWays: true))
    default: break
    }
    try setPaths()
  }

  func setPaths() throws(LabError) {
    state.cut = rules.cut
    try cabling.setPaths(rules)
  }

  private func pairs(_ from: Selector, _ to: Selector, bothWays: Bool) -> [Cabling.Pair] {
    var pairs: [Cabling.Pair] = []
    let sources = resolve(from), targets = resolve(to)
    for source in sources {
      for target in targets where source != target {
        pairs.append(Cabling.Pair(from: source, to: target))
        if bothWays { pairs.append(Cabling.Pair(from: target, to: source)) }
      }
    }
    return pairs
  }

  private func partition(_ selectors: [[Selector]]) {
    var groups = selectors.map { $0.flatMap(resolve) }
    let named = Set(groups.joined())
    for index in selectors.indices where selectors[index].contains(.rest) {
      groups[index] += nodes.filter { !named.contains($0) }
    }
    for (index, group) in groups.enumerated() {
      for other in groups[(index + 1)...] {
        for (from, to) in group.flatMap({ from in other.map { (from, $0) } }) {
          rules.cut.insert(Cabling.Pair(from: from, to: to))
          rules.cut.insert(Cabling.Pair(from: to, to: from))
        }
      }
    }
  }

  // MARK: Addresses and interfaces

  /// By another program, wherever the node has them.
  func removeAddresses(of node: String) throws(LabError) {
    for address in vip.addresses {
      let shown = try ip(
        ["-o", "address", "show", "to", "\(address)"], on: node, doing: "looking for \(address) on \(node)")
      for line in shown.split(separator: "\n") {
        let words = line.split(separator: " ")
        guard words.count > 3 else { continue }
        let device = words[1].prefix { $0 != "@" }
        // Gone meanwhile is as good.
        _ = try Command.run(
          [program, "address", "del", String(words[3]), "dev", String(device)], in: machines.cluster.namespace(of: node)
        )
      }
    }
  }

  /// The node's interface on the VIP's link, under its configured name.
  private func interface(of node: String) throws(LabError) -> Topology.Interface {
    let topology = machines.cluster.topology
    let link = topology.links.firstIndex { link in
      vip.addresses.contains { address in link.prefixes.contains { $0.contains(address) } }
    }
    guard let found = topology.host(node)?.interfaces.first(where: { $0.link == link }) else {
      throw LabError(.usage, "\(node) has no interface on the link of VIP \(vip.name)")
    }
    return found
  }

  func renameInterface(of node: String) throws(LabError) {
    let interface = try interface(of: node)
    guard renamed[node] == nil, !removed.contains(node) else { return }
    try rename(interface.name, to: "renamed0", on: node)
    renamed[node] = (interface.name, "renamed0")
  }

  private func rename(_ name: String, to other: String, on node: String) throws(LabError) {
    // Kernels before 6.2 rename only what is down.
    let command = [program, "link", "set", name, "name", other]
    if try Command.run(command, in: machines.cluster.namespace(of: node)).status == 0 { return }
    try ip(["link", "set", name, "down"], on: node, doing: "taking \(name) down")
    try ip(["link", "set", name, "name", other], on: node, doing: "renaming \(name)")
    try ip(["link", "set", other, "up"], on: node, doing: "bringing \(other) up")
  }

  func removeInterface(of node: String) throws(LabError) {
    let interface = try interface(of: node)
    guard !removed.contains(node) else { return }
    let name = renamed.removeValue(forKey: node)?.now ?? interface.name
    try ip(["link", "delete", name], on: node, doing: "deleting \(name) of \(node)")
    removed.insert(node)
    state.isolated.insert(node)
  }

  /// The name that it had, or the interface itself, with the node's own address; nothing where nothing is wrong with it.
  func recreateInterface(of node: String) throws(LabError) {
    if let change = renamed.removeValue(forKey: node) { try rename(change.now, to: change.name, on: node) }
    guard removed.remove(node) != nil else { return }
    try machines.cluster.layCable(of: node, try interface(of: node))
    try cabling.refresh()
    state.isolated.remove(node)
  }

  private var program: String { Command.find("ip") ?? "ip" }

  @discardableResult
  private func ip(_ words: [String], on node: String, doing what: String) throws(LabError) -> String {
    try Command.check([program] + words, in: machines.cluster.namespace(of: node), doing: what)
  }
}
