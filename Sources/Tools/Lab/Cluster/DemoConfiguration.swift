import Basis
import Configuration
import Wire

/// The cluster of a scenario, where no configuration is given: nodes lb1, lb2, … and backends app1, app2, … on 10.77.0.0/24, one VIP and
/// one service.
public enum DemoConfiguration {
  public static let vip = IPAddress.v4(IPv4Address(10, 77, 0, 100))

  public static func make(nodes: Int = 2, backends: Int = 3, interval: Duration = .milliseconds(100)) -> Configuration {
    let members = (0..<max(1, nodes)).map { Configuration.Member(name: "lb\($0 + 1)", addresses: [node($0)]) }
    let router = Configuration.Router(id: 51, interval: interval, family: .ipv4)
    let web = Configuration.VIP(name: "web", addresses: [vip], prefer: members.map(\.name), election: .vrrp(router))
    var services: [Configuration.Service] = []
    if backends > 0 {
      services = [
        Configuration.Service(
          name: "web", vip: "web", listen: [Configuration.Listen(ports: 80...80)],
          check: Configuration.Check(
            probe: .http(Configuration.HTTPProbe(path: "/healthz")), every: .milliseconds(500),
            timeout: .milliseconds(500)),
          backends: (0..<backends).map { Configuration.Backend(name: "app\($0 + 1)", address: backend($0), port: 8080) }
        )
      ]
    }
    return Configuration(cluster: Configuration.Cluster(nodes: members), vips: [web], services: services)
  }

  /// The same as a file.
  public static func text(nodes: Int = 2, backends: Int = 3, interval: Duration = .milliseconds(100)) -> String {
    var text = "cluster:\n  nodes:\n"
    for index in 0..<max(1, nodes) { text += "    lb\(index + 1): \(node(index))\n" }
    let names = (0..<max(1, nodes)).map { "lb\($0 + 1)" }.joined(separator: ", ")
    text += """
      vips:
        web:
          addresses: [\(vip)]
          prefer: [\(names)]
          vrrp: { id: 51, interval: \(interval.nanoseconds / 1_000_000)ms }

      """
    guard backends > 0 else { return text }
    text += """
      services:
        web:
          vip: web
          listen: 80/tcp
          mode: proxy
          check: { http: /healthz, every: 500ms }
          backends:

      """
    for index in 0..<backends { text += "      app\(index + 1): \(backend(index)):8080\n" }
    return text
  }

  /// The first few have the addresses that documentation shows; the many have ranges of their own.
  private static func node(_ index: Int) -> IPAddress {
    .v4(IPv4Address(10, 77, 0, UInt8(clamping: index < 9 ? 11 + index : 41 + index)))
  }
  private static func backend(_ index: Int) -> IPAddress {
    .v4(IPv4Address(10, 77, 0, UInt8(clamping: index < 9 ? 21 + index : 121 + index)))
  }
}
