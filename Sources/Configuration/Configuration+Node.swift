import Basis
import Health
import Node
import VRRP
import Wire

extension Configuration {
  /// What the control plane of one node has to know. Its VIPs and services, and their backends, have the order of this value.
  ///
  /// - Parameters:
  ///   - name: one of `cluster.nodes`; what is none of them owns nothing.
  ///   - interface: on which interface the node puts a VIP.
  public func nodeSettings(for name: String, interface: (VIP) -> String) -> NodeSettings {
    NodeSettings(
      name: name,
      vips: vips.map { vip in
        VIPSettings(
          name: vip.name, interface: interface(vip), addresses: vip.addresses, election: election(of: vip, for: name),
          lease: vip.lease, drain: vip.drain)
      },
      services: services.compactMap { service in
        vipIndex(service.vip).map { vip in
          ServiceSettings(
            name: service.name, vip: vip, backends: service.backends.map(\.name), check: service.check?.settings)
        }
      })
  }

  private func election(of vip: VIP, for node: String) -> VIPSettings.Election {
    guard let priority = vip.priority(of: node) else { return .fixed(owner: false) }
    switch vip.election {
    case .static: return .fixed(owner: vip.prefer.first == node)
    case .vrrp(let router):
      return .vrrp(
        VRRP.Settings(
          id: router.id, version: router.version, family: router.family, priority: priority, interval: router.interval,
          preempt: router.preempt, preemptDelay: router.preemptDelay, acceptMode: router.accept,
          addresses: vip.addresses.filter { $0.family == router.family }, peers: peers(router, vip, of: node),
          checksum: router.checksum))
    }
  }

  /// Only the nodes that take part in the VIP's election.
  private func peers(_ router: Router, _ vip: VIP, of node: String) -> VRRP.Peers {
    switch router.peers {
    case .multicast: .multicast
    case .unicast: .unicast(vip.prefer.filter { $0 != node }.compactMap { member($0)?.address(router.family) })
    }
  }
}
