import Basis
import Configuration
import FoundationEssentials
import Glibc
import Scenario
import Wire

/// The cluster of a scenario, where no configuration is given: nodes lb1, lb2, … and backends app1, app2, … on 10.77.0.0/24, one VIP
/// and one service. A value, so that a node's file can be written again with one thing changed.
public struct DemoConfiguration: Sendable, Hashable {
  public static let vip = IPAddress.v4(IPv4Address(10, 77, 0, 100))

  public var nodes = 2
  public var backends = 3
  public var interval = Duration.milliseconds(100)
  /// Virtual routers, 1-255, each with a VIP of its own; all but the first have no service.
  public var instances = 1
  /// The cluster's secret, a file; nil: the nodes have no link to each other but VRRP.
  public var secret: String?
  /// The key that adverts are signed with where there is no secret to derive one from, a file.
  public var key: String?
  /// `vrrp.auth.mode` of every VIP.
  public var authentication = Scenario.Authentication.off
  public var preempt = true
  /// Nil for ever.
  public var lease: Duration? = .seconds(2)
  /// Addresses that the VIP `web` has besides its own: what a rolling change adds.
  public var moreAddresses = 0
  /// VIPs besides, with virtual routers of their own: what a reload adds.
  public var moreVIPs = 0

  public init(nodes: Int = 2, backends: Int = 3, interval: Duration = .milliseconds(100)) {
    (self.nodes, self.backends, self.interval) = (nodes, backends, interval)
  }

  /// As the scenario says; its secrets are still to be made.
  public init(_ scenario: Scenario) {
    self.init(nodes: scenario.nodes, backends: scenario.backends, interval: scenario.interval)
    instances = scenario.options.vips
    authentication = scenario.options.authentication
    preempt = scenario.options.preempt
    lease = scenario.options.lease
  }

  /// What `roost` reads in the text: one way only from here to a `Configuration`, so that the two can't differ.
  public func configuration() throws(LabError) -> Configuration {
    let reading = Configuration.read(text: text, file: "roost.yaml")
    guard let value = reading.configuration else {
      throw LabError(.usage, "this version can't read the lab's own configuration:\n\(reading.mistakes.text())")
    }
    return value
  }

  public var text: String {
    var text = "cluster:\n"
    if let secret { text += "  secret: \(secret)\n" }
    text += "  nodes:\n"
    for index in 0..<nodeCount { text += "    lb\(index + 1): \(Self.node(index))\n" }
    text += "vips:\n"
    for vip in vips { text += self.text(of: vip) }
    return text + services
  }

  // MARK: Parts

  private struct VIP {
    var name: String
    var addresses: [IPAddress]
    var id: Int
  }

  private var nodeCount: Int { max(1, nodes) }

  private var vips: [VIP] {
    let web = VIP(
      name: "web",
      addresses: [Self.vip]
        + (0..<max(0, moreAddresses)).map { .v4(IPv4Address(10, 77, 0, UInt8(clamping: 101 + $0))) },
      id: Self.mainID)
    let ids = (1...255).filter { $0 != Self.mainID }
    // A block of their own beside the hosts': 10.77.1.ID.
    let others = ids.prefix(max(0, min(255, instances) - 1)).map { id in
      VIP(name: "vip\(id)", addresses: [.v4(IPv4Address(10, 77, 1, UInt8(clamping: id)))], id: id)
    }
    let added = ids.dropFirst(others.count).prefix(max(0, moreVIPs)).enumerated().map { index, id in
      VIP(name: "added\(index + 1)", addresses: [.v4(IPv4Address(10, 77, 0, UInt8(clamping: 201 + index)))], id: id)
    }
    return [web] + others + added
  }

  private static let mainID = 51

  private func text(of vip: VIP) -> String {
    let names = (0..<nodeCount).map { "lb\($0 + 1)" }.joined(separator: ", ")
    let addresses = vip.addresses.map(\.description).joined(separator: ", ")
    var text = "  \(vip.name):\n    addresses: [\(addresses)]\n    prefer: [\(names)]\n"
    if lease != .seconds(2) {
      text += "    address-lease: \(lease.map { "\($0.nanoseconds / 1_000_000_000)s" } ?? "off")\n"
    }
    var router = "id: \(vip.id), interval: \(interval.nanoseconds / 1_000_000)ms"
    if !preempt { router += ", preempt: false" }
    // A version that knows nothing of it can still be tried without.
    if authentication != .off {
      let keys = key.map { ", keys: { 1: \($0) }" } ?? ""
      router += ", auth: { mode: \(authentication.rawValue)\(keys) }"
    }
    return text + "    vrrp: { \(router) }\n"
  }

  private var services: String {
    guard backends > 0 else { return "" }
    var text = """
      services:
        web:
          vip: web
          listen: 80/tcp
          mode: proxy
          check: { http: /healthz, every: 500ms }
          backends:

      """
    for index in 0..<backends { text += "      app\(index + 1): \(Self.backend(index)):8080\n" }
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

extension DemoConfiguration {
  /// The same with the secrets that it needs: random bytes in files that nobody else may read.
  ///
  /// - Parameter hasPeerLink: without one, only a key for adverts is made, and that only where they are signed.
  func withSecrets(in folder: String, hasPeerLink: Bool = true) throws(LabError) -> DemoConfiguration {
    var result = self
    if hasPeerLink {
      result.secret = try Self.makeSecret("\(folder)/secret")
    } else if authentication != .off {
      result.key = try Self.makeSecret("\(folder)/key")
    }
    return result
  }

  private static func makeSecret(_ path: String) throws(LabError) -> String {
    // 24 random bytes as 48 digits: within the 32 to 64 that a key may have.
    var source = SystemRandomNumberGenerator()
    var bytes: [UInt8] = []
    for _ in 0..<3 { withUnsafeBytes(of: source.next()) { bytes += $0 } }
    let text = bytes.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined() + "\n"
    let file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw .system("making \(path)", errno) }
    defer { close(file) }
    guard writeAll(file, Array(text.utf8)) else { throw .system("writing \(path)", errno) }
    return path
  }
}
