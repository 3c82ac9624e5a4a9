import Balancing
import Basis
import Configuration
import Linux
import Node
import Prober
import Proxy
import Wire

/// What one node makes of the cluster's configuration: the control plane's settings, and the services that its proxy carries.
///
/// A service of the configuration is one service to `Node`, but may be several to the proxy: where a backend has no port of its
/// own, each port that is listened on leads to the same port of the backend.
struct DaemonPlan: Sendable {
  let configuration: Configuration
  let name: String
  /// For each VIP; empty where this node never owns it and has no interface for it.
  let interfaces: [String]
  let node: NodeSettings
  let secrets: ClusterSecrets
  let proxied: [ProxyService]
  /// For each service of the configuration, its services in `proxied`.
  let proxyIndices: [[Int]]

  /// One active check of one backend.
  struct Probe: Sendable {
    let service: Int
    let backend: Int
    let target: CheckTarget
  }

  /// Every check there is; an index into it names one to the prober.
  let probes: [Probe]
  /// For each service, the index of its first backend's probe; nil where it has no check.
  private let firstProbes: [Int?]

  /// - Parameter interfaces: on which interface this node puts each VIP.
  init(_ configuration: Configuration, name: String, interfaces: [String]) throws(Daemon.Failure) {
    self.configuration = configuration
    secrets = try ClusterSecrets(reading: configuration)
    self.name = name
    self.interfaces = interfaces
    node = configuration.nodeSettings(for: name) { vip in
      configuration.vipIndex(vip.name).map { interfaces[$0] } ?? ""
    }
    var proxied: [ProxyService] = []
    proxyIndices = configuration.services.map { service in
      let first = proxied.count
      proxied += Self.proxyServices(service, in: configuration)
      return Array(first..<proxied.count)
    }
    self.proxied = proxied
    var probes: [Probe] = []
    firstProbes = configuration.services.indices.map { index in
      guard let check = configuration.services[index].check else { return nil }
      let first = probes.count
      for backend in configuration.services[index].backends.indices {
        let target = Self.target(check, of: configuration.services[index], backend: backend)
        probes.append(Probe(service: index, backend: backend, target: target))
      }
      return first
    }
    self.probes = probes
  }

  func probeIndex(service: Int, backend: Int) -> Int? { firstProbes[service].map { $0 + backend } }

  /// The interfaces that VIPs are put on, each once.
  var watched: [String] { Set(interfaces).subtracting([""]).sorted() }

  /// The VIPs as the address thread knows them, by the same numbers as everywhere.
  var addresses: [AddressThread.VIP] {
    configuration.vips.indices.map { index in
      AddressThread.VIP(id: index, interface: interfaces[index], addresses: configuration.vips[index].addresses)
    }
  }

  /// The proxy's services behind a VIP.
  func proxyIndices(ofVIP vip: Int) -> [Int] {
    configuration.services.indices
      .filter { configuration.services[$0].vip == configuration.vips[vip].name }
      .flatMap { proxyIndices[$0] }
  }

  private static func target(
    _ check: Configuration.Check, of service: Configuration.Service, backend: Int
  ) -> CheckTarget {
    let backend = service.backends[backend]
    let specification: CheckSpecification =
      switch check.probe {
      case .tcp: .tcp
      case .http(let probe):
        .http(path: probe.path, host: probe.host, statuses: probe.status, contains: probe.contains)
      }
    let port = check.port ?? backend.port ?? service.listen.first?.ports.lowerBound ?? 0
    return CheckTarget(address: backend.address, port: port, check: specification, timeout: check.timeout)
  }

  private static func proxyServices(
    _ service: Configuration.Service, in configuration: Configuration
  ) -> [ProxyService] {
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
    return followsPort ? ports.map { make([$0]) } : [make(ports)]
  }
}
