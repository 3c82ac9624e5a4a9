import Balancing
import Basis
import Configuration
import Linux
import Node
import Notify
import Prober
import Proxy
import Tracking
import Wire

/// What one node makes of the cluster's configuration: the control plane's settings, and the services that its proxy carries.
///
/// VIPs, services, trackers and peers go by their place everywhere, which each keeps when the configuration changes (`arranged(after:)`);
/// so a place may be empty. A service of the configuration is one service to `Node`, but may be several to the proxy: where a backend
/// has no port of its own, each port that is listened on leads to the same port of the backend.
struct DaemonPlan: Sendable {
  let configuration: Configuration
  let name: String
  /// By the configuration's order; empty where this node never owns the VIP and has no interface for it.
  private let chosenInterfaces: [String]
  /// Where everything stands.
  let arrangement: NodeSettings.Arrangement
  let node: NodeSettings
  /// By the VIPs' places.
  let secrets: ClusterSecrets
  private let unarrangedSecrets: ClusterSecrets
  /// The proxy's services by their place; nil is an empty one.
  let proxied: [ProxyService?]
  /// For each service's place, its places in `proxied`.
  let proxyIndices: [[Int]]
  /// What `proxied` has in each place, across reloads; empty for an empty place.
  private let proxyNames: [String]

  /// One active check of one backend.
  struct Probe: Sendable, Hashable {
    let service: Int
    let backend: Int
    let target: CheckTarget
  }

  /// Every check there is; an index into it names one to the prober. They are numbered anew by each plan.
  let probes: [Probe]
  /// For each service's place, the index of its first backend's probe; nil where it has no check.
  private let firstProbes: [Int?]

  /// - Parameters:
  ///   - interfaces: on which interface this node puts each VIP, in the configuration's order.
  ///   - old: what is in place; nil at the start.
  /// - Throws: where the secrets can't be read.
  init(
    _ configuration: Configuration, name: String, interfaces: [String], after old: DaemonPlan? = nil
  ) throws(Daemon.Failure) {
    self.init(
      configuration, name: name, interfaces: interfaces, secrets: try ClusterSecrets(reading: configuration), after: old
    )
  }

  private init(
    _ configuration: Configuration, name: String, interfaces: [String], secrets: ClusterSecrets, after old: DaemonPlan?
  ) {
    self.configuration = configuration
    self.name = name
    chosenInterfaces = interfaces
    let settings = configuration.nodeSettings(for: name) { vip in
      configuration.vipIndex(vip.name).map { interfaces[$0] } ?? ""
    }
    arrangement = settings.arrangement(after: old?.node)
    node = settings.arranged(arrangement)
    unarrangedSecrets = secrets
    self.secrets = secrets.arranged(arrangement.vips)

    // Each service's parts, and what each is called across reloads.
    let parts = configuration.services.map { service in
      Self.proxyServices(service, in: configuration).map { part in
        (
          key: "\(service.name) \(part.isOfPort ? "\(part.service.listen.first?.port ?? 0)" : "")",
          service: part.service
        )
      }
    }
    let all = parts.flatMap { $0 }
    let proxyPlaces = Places(all.map(\.key), after: old?.proxyNames ?? [])
    proxied = proxyPlaces.arrange(all.map { $0.service as ProxyService? }, vacant: nil)
    proxyNames = proxyPlaces.arrange(all.map(\.key), vacant: "")
    var next = 0
    let places = parts.map { part in
      defer { next += part.count }
      return part.indices.map { proxyPlaces.places[next + $0] }
    }
    proxyIndices = arrangement.services.arrange(places, vacant: [])

    var probes: [Probe] = []
    firstProbes = arrangement.services.indices.enumerated().map { place, index in
      guard let index, let check = configuration.services[index].check else { return nil }
      let first = probes.count
      for backend in configuration.services[index].backends.indices {
        let target = Self.target(check, of: configuration.services[index], backend: backend)
        probes.append(Probe(service: place, backend: backend, target: target))
      }
      return first
    }
    self.probes = probes
  }

  /// The same plan, so that whatever `old` has too is in the same place.
  func arranged(after old: DaemonPlan) -> DaemonPlan {
    DaemonPlan(
      configuration, name: name, interfaces: chosenInterfaces, secrets: unarrangedSecrets, after: old)
  }

  // MARK: What stands where

  /// The VIP in a place; nil where it is empty.
  func vip(_ place: Int) -> Configuration.VIP? { arrangement.vips.indices[place].map { configuration.vips[$0] } }

  func service(_ place: Int) -> Configuration.Service? {
    arrangement.services.indices[place].map { configuration.services[$0] }
  }

  func tracker(_ place: Int) -> Configuration.Tracker? {
    arrangement.trackers.indices[place].map { configuration.trackers[$0] }
  }

  func peer(_ place: Int) -> Configuration.Member? { configuration.member(node.peers[place]) }

  func vipPlace(_ name: String) -> Int? { configuration.vipIndex(name).map { arrangement.vips.places[$0] } }

  func peerPlace(_ name: String) -> Int? { name.isEmpty ? nil : node.peers.firstIndex(of: name) }

  /// For each VIP's place; empty where this node never owns it and has no interface for it.
  var interfaces: [String] { node.vips.map(\.interface) }

  func probeIndex(service: Int, backend: Int) -> Int? { firstProbes[service].map { $0 + backend } }

  /// For each probe, which one it was in the plan before, where nothing of it or its service has changed.
  func probeOrigins(in old: DaemonPlan) -> [Int?] {
    probes.map { probe in
      guard old.node.services.indices.contains(probe.service),
        old.node.services[probe.service] == node.services[probe.service],
        let index = old.probeIndex(service: probe.service, backend: probe.backend), old.probes[index] == probe
      else { return nil }
      return index
    }
  }

  /// The interfaces that VIPs are put on, each once.
  var watched: [String] { Set(interfaces).subtracting([""]).sorted() }

  /// The VIPs as the address thread knows them, by their places.
  var addresses: [AddressThread.VIP] {
    node.vips.indices.compactMap { place in
      guard !node.vips[place].isVacant else { return nil }
      return addresses(ofVIP: place, node.vips[place])
    }
  }

  /// A VIP as the address thread knows it, with the settings that the control plane has for that place now (`Effect.configure`).
  func addresses(ofVIP place: Int, _ settings: VIPSettings) -> AddressThread.VIP {
    var vip = AddressThread.VIP(id: place, interface: settings.interface, addresses: settings.addresses)
    guard let configured = configuration.vips.first(where: { $0.name == settings.name }),
      case .vrrp(let router) = configured.election
    else { return vip }
    if router.virtualMAC { vip.virtualMAC = VirtualMAC(id: router.id) }
    vip.accepts = router.accept
    return vip
  }

  /// The proxy's services behind a VIP.
  func proxyIndices(ofVIP vip: Int) -> [Int] {
    node.services.indices.filter { !node.services[$0].isVacant && node.services[$0].vip == vip }
      .flatMap { proxyIndices[$0] }
  }

  // MARK: What the parts are told

  /// What is looked at outside, by the trackers' places.
  var trackerTargets: [TrackerTarget] {
    node.trackers.indices.map { place in
      guard let tracker = tracker(place) else { return TrackerTarget(.none) }
      return TrackerTarget(source(of: tracker), every: tracker.every, timeout: tracker.timeout)
    }
  }

  private func source(of tracker: Configuration.Tracker) -> TrackerTarget.Source {
    switch tracker.source {
    case .vip, .service: .none
    case .interface: tracker.interface(on: name).map { .interface($0) } ?? .none
    case .route(let prefix, let table): .route(prefix, table: table)
    case .file(let path): .file(path: path, .exists)
    case .process(let name): .process(name)
    case .command(let command, let user): .command(command, user: user)
    case .check(let probe, let address, let port):
      .check(
        CheckTarget(address: address, port: port, check: Self.specification(probe), timeout: tracker.timeout))
    }
  }

  /// Who is told of what happens.
  var notifications: [NotificationTarget] {
    configuration.notifications.map { notification in
      let action: NotificationTarget.Action =
        switch notification.action {
        case .command(let command): .command(command)
        case .webhook(let address, let authorization):
          .webhook(
            NotificationTarget.Webhook(
              host: address.host, port: address.port, target: address.target,
              // It was read when the configuration was judged. Without it the receiver says no, and that is told.
              authorization: authorization.flatMap { try? Secret.readToken($0).get() }))
        }
      return NotificationTarget(
        name: notification.name, action: action, kinds: Set(notification.kinds.map(\.rawValue)),
        timeout: notification.timeout)
    }
  }

  private static func target(
    _ check: Configuration.Check, of service: Configuration.Service, backend: Int
  ) -> CheckTarget {
    let backend = service.backends[backend]
    let port = check.port ?? backend.port ?? service.listen.first?.ports.lowerBound ?? 0
    return CheckTarget(
      address: backend.address, port: port, check: specification(check.probe), timeout: check.timeout)
  }

  static func specification(_ probe: Configuration.Probe) -> CheckSpecification {
    switch probe {
    case .tcp: .tcp
    case .http(let probe):
      .http(path: probe.path, host: probe.host, statuses: probe.status, contains: probe.contains)
    }
  }

  private static func proxyServices(
    _ service: Configuration.Service, in configuration: Configuration
  ) -> [(isOfPort: Bool, service: ProxyService)] {
    guard let vip = configuration.vipIndex(service.vip) else { return [] }
    let addresses = configuration.vips[vip].addresses
    let ports = service.listen.flatMap { Array($0.ports) }
    let timeouts = ProxyService.Timeouts(
      connect: service.limits.connectTimeout, idle: service.limits.idleTimeout)
    func make(_ ports: [UInt16]) -> ProxyService {
      ProxyService(
        name: service.name,
        listen: ports.flatMap { port in addresses.map { ProxyService.Listen($0, port: port) } },
        backends: service.backends.map {
          ProxyService.Backend(name: $0.name, address: $0.address, port: $0.port ?? ports[0], weight: $0.weight)
        },
        policy: Balancer.Policy(rawValue: service.balance.rawValue) ?? .standard,
        maximumConnections: service.limits.maximumConnections, timeouts: timeouts, retries: service.limits.retries)
    }
    let followsPort = service.backends.contains { $0.port == nil }
    return followsPort ? ports.map { (true, make([$0])) } : [(false, make(ports))]
  }
}
