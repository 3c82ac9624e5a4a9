import Basis
import FoundationEssentials
import Glibc
import Linux
import Wire

extension Machines {
  func isServing(_ host: String) -> Bool { servers[host].map { !$0.hasEnded() } ?? false }

  /// On a backend: its ports. On a node: what answers the client's datagrams from the VIP, and with keepalived, which forwards
  /// nothing, the services' ports on the VIP too.
  func startServer(_ host: String) throws(LabError) {
    if isServing(host) { return }
    guard let specification = serveSpecification(host) else { return }
    let file = "\(cluster.folder.hostFolder(host))/serve.json"
    do {
      try JSONEncoder().encode(specification).write(to: URL(filePath: file))
    } catch {
      throw LabError(.failed, "\(file) can't be written: \(error)")
    }
    let output = "\(cluster.folder.hostFolder(host))/serve.log"
    unlink(output)
    servers[host] = try start(host, programs.helper + ["serve", file], log: output)
  }

  func killServer(_ host: String) { servers[host]?.signal(SIGKILL) }

  /// Until each says that it listens.
  func awaitServers() throws(LabError) {
    let deadline = Clock.now() + .seconds(5)
    for host in servers.keys.sorted() {
      let log = "\(cluster.folder.hostFolder(host))/serve.log"
      while readSmallFile(log)?.contains("ready\n") != true {
        guard Clock.now() < deadline, isServing(host) else {
          throw LabError(.failed, "the server on \(host) did not start: \((readSmallFile(log) ?? "").prefix(300))")
        }
        usleep(1_000)
      }
    }
  }

  /// Where the client's datagrams go: a port that no service has.
  public var datagramPort: UInt16 {
    let used = cluster.configuration.services.flatMap(\.listen).map(\.ports)
    return (7077..<UInt16.max).first { port in !used.contains { $0.contains(port) } } ?? 7077
  }

  private func serveSpecification(_ name: String) -> ServeSpecification? {
    guard let host = cluster.topology.host(name) else { return nil }
    let configuration = cluster.configuration
    let own = Set(host.interfaces.flatMap(\.addresses).map(\.address))
    var specification = ServeSpecification(name: name, tcp: [], udp: [], healthText: [])
    for service in configuration.services {
      let mine = service.backends.filter { own.contains($0.address) }
      for backend in mine {
        let ports = backend.port.map { [$0...$0] } ?? service.listen.map(\.ports)
        specification.tcp += ports.flatMap { $0.prefix(64) }.map { Endpoint(backend.address, $0) }
        if let port = service.check?.port { specification.tcp.append(Endpoint(backend.address, port)) }
      }
      if !mine.isEmpty, case .http(let probe) = service.check?.probe, let text = probe.contains {
        specification.healthText.append(text)
      }
    }
    if host.role == .node {
      for vip in configuration.vips {
        specification.udp += vip.addresses.map { Endpoint($0, datagramPort) }
        guard daemon(of: name) == .keepalived else { continue }
        for service in configuration.services where service.vip == vip.name {
          for port in service.listen.flatMap({ $0.ports.prefix(64) }) {
            specification.tcp += vip.addresses.map { Endpoint($0, port) }
          }
        }
      }
    }
    specification.tcp = Array(Set(specification.tcp)).sorted { ($0.address, $0.port) < ($1.address, $1.port) }
    return specification.tcp.isEmpty && specification.udp.isEmpty ? nil : specification
  }
}
