import Basis
import Linux
import Node
import PeerLink
import Telemetry

extension PeerLinkSettings {
  /// Nil where the cluster has no secret, or no other node.
  init?(_ plan: DaemonPlan) {
    let cluster = plan.configuration.cluster
    guard cluster.hasPeerLink, !plan.secrets.secrets.isEmpty, let own = plan.configuration.member(plan.name) else {
      return nil
    }
    self.init(
      node: plan.name, addresses: own.addresses, port: cluster.port,
      peers: plan.node.peers.map { name in
        Peer(name: name, addresses: plan.configuration.member(name)?.addresses ?? [])
      },
      secrets: plan.secrets.secrets, software: Roost.version, configuration: plan.configuration.hash)
    advertKeys = plan.secrets.derivedIDs
    clockLimit = plan.secrets.clockWindow.map { $0 / 2 }
  }
}

/// What a report of the peer link is to people.
extension PeerLinkReport {
  /// Nil where it is nothing to be told.
  func text(_ settings: NodeSettings, hash: String) -> (LogLevel, String)? {
    func name(_ peer: Int) -> String { settings.peers.indices.contains(peer) ? settings.peers[peer] : "?" }
    switch self {
    case .up(let peer, let hello), .changed(let peer, let hello):
      guard hello.configuration == hash else {
        return (
          .warning,
          "peer \(name(peer)) is linked, version \(hello.software); its configuration differs from this node's"
        )
      }
      return (.notice, "peer \(name(peer)) is linked, version \(hello.software)")
    case .down(let peer, let reason): return (.warning, "peer \(name(peer)) is not linked: \(reason)")
    case .trouble(let text): return (.warning, text)
    case .clock(let peer, let clock, isTooFar: true):
      return (
        .warning,
        "peer \(name(peer)): its clock is \(clock.offset.ahead) of this node's; signed adverts are refused when the two differ by more: run chrony, or systemd-timesyncd, on each node"
      )
    case .clock(let peer, let clock, isTooFar: false):
      return (.notice, "peer \(name(peer)): its clock is near enough to this node's again (\(clock.offset.ahead))")
    case .said: return nil
    }
  }
}

extension Duration {
  /// Of a clock: "3 ms ahead", "1.2 s behind".
  var ahead: String { self < .zero ? "\((.zero - self).words) behind" : "\(words) ahead" }
}
