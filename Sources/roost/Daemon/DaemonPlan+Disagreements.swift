import Node

extension DaemonPlan {
  /// What of this change makes nodes that don't have it yet deaf to this one, in words.
  ///
  /// - Parameter linked: the nodes that the peer link connects now.
  func disagreements(with old: DaemonPlan, linked: Set<String>) -> [String] {
    let others = configuration.cluster.nodes.map(\.name).filter { $0 != name }
    let apart = others.filter { !linked.contains($0) }
    guard !others.isEmpty else { return [] }
    return node.vips.compactMap { new in
      guard !new.isVacant, let before = old.node.vips.first(where: { $0.name == new.name }),
        case .vrrp(let router) = new.election, case .vrrp(let former) = before.election,
        router.id != former.id || router.version != former.version || router.family != former.family
          || (router.peers == .multicast) != (former.peers == .multicast)
      else { return nil }
      let change =
        router.id != former.id
        ? "uses VRID \(router.id) now, and nodes that have not been reloaded use \(former.id)"
        : "is another virtual router now, and nodes that have not been reloaded elect its owner by the settings before"
      let start = "vip \(new.name) \(change): reload them, too; "
      guard !apart.isEmpty else {
        return start + "until then the peer link keeps a node from taking what a node of the other half owns"
      }
      return start
        + "no peer link connects this node with \(apart.joined(separator: ", ")), so there may be two owners "
        + "until then: `roost node standby` on all nodes but the owner prevents that"
    }
  }
}
