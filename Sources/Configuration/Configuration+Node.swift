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
    var settings = NodeSettings(
      name: name, vips: vips.map { vipSettings($0, for: name, interface: interface($0)) },
      services: services.compactMap { service in
        vipIndex(service.vip).map { vip in
          ServiceSettings(
            name: service.name, vip: vip, backends: service.backends.map(\.name), check: service.check?.settings)
        }
      })
    settings.trackers = trackers.map { tracker in
      TrackerSettings(name: tracker.name, source: source(of: tracker), rise: tracker.rise, fall: tracker.fall)
    }
    settings.groups = groups.map { $0.vips.compactMap(vipIndex) }
    if cluster.hasPeerLink { settings.peers = cluster.nodes.map(\.name).filter { $0 != name } }
    settings.hasWitnesses = !cluster.witnesses.isEmpty
    return settings
  }

  private func vipSettings(_ vip: VIP, for node: String, interface: String) -> VIPSettings {
    var settings = VIPSettings(
      name: vip.name, interface: interface, addresses: vip.addresses, election: election(of: vip, for: node),
      lease: vip.lease, drain: vip.drain)
    settings.tracks = vip.tracks.compactMap { track in
      trackerIndex(track.tracker).map { VIPSettings.Track(tracker: $0, consequence: track.consequence) }
    }
    // A node that owns a VIP by decree has nobody to listen to.
    if case .vrrp = vip.election { settings.warmUp = vip.warmUp }
    settings.refresh = vip.refresh
    settings.preparation = vip.beforeAnnouncing?.timeout
    return settings
  }

  private func source(of tracker: Tracker) -> TrackerSettings.Source {
    switch tracker.source {
    case .interface, .route, .file, .process, .command, .check: .external
    case .vip(let name): vipIndex(name).map { .vip($0) } ?? .external
    case .service(let name, let count): serviceIndex(name).map { .service($0, atLeast: count) } ?? .external
    }
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
