import Basis
import Configuration
import VRRP
import Wire

/// The configuration of a keepalived that stands in for one node: the same virtual routers, priorities and timers.
public enum Keepalived {
  /// - Parameter interfaces: for each VIP, by its name, the node's interface.
  public static func text(
    for node: String, of configuration: Configuration, interfaces: [String: String]
  ) throws(LabError) -> String {
    var text = "global_defs {\n  router_id \(node)\n}\n"
    for vip in configuration.vips {
      guard case .vrrp(let router) = vip.election else {
        throw LabError(.usage, "keepalived knows elections by VRRP only: VIP \(vip.name) has another")
      }
      guard let priority = vip.priority(of: node), let interface = interfaces[vip.name] else { continue }
      text += instance(vip, router, priority: priority, interface: interface, node: node, of: configuration)
    }
    return text
  }

  private static func instance(
    _ vip: Configuration.VIP, _ router: Configuration.Router, priority: UInt8, interface: String, node: String,
    of configuration: Configuration
  ) -> String {
    var lines = [
      "state BACKUP", "interface \(interface)", "virtual_router_id \(router.id)", "priority \(priority)",
      "version \(router.version.rawValue)", "advert_int \(seconds(router.interval))",
    ]
    if router.family == .ipv6 { lines.append("native_ipv6") }
    if router.accept { lines.append("accept") }
    if !router.preempt { lines.append("nopreempt") }
    if router.preempt, router.preemptDelay > .zero { lines.append("preempt_delay \(seconds(router.preemptDelay))") }
    if router.peers == .unicast { lines += unicast(router.family, node: node, of: configuration) }
    let inside = vip.addresses.filter { $0.family == router.family }
    let outside = vip.addresses.filter { $0.family != router.family }
    // The first address of an IPv6 advert is a link-local one (RFC 9568 §5.2.9), the same on every node.
    let linkLocal =
      router.family == .ipv6 && !inside.contains(where: \.isLinkLocal) ? [linkLocalAddress(id: router.id)] : []
    lines.append(block("virtual_ipaddress", linkLocal + inside))
    if !outside.isEmpty { lines.append(block("virtual_ipaddress_excluded", outside)) }
    return "vrrp_instance \(vip.name) {\n" + lines.map { "  \($0)\n" }.joined() + "}\n"
  }

  private static func unicast(_ family: AddressFamily, node: String, of configuration: Configuration) -> [String] {
    // Over IPv6 it would send a hop limit of 64, which RFC 9568 §7.1 has receivers drop.
    var lines = ["unicast_ttl 255"]
    if let own = configuration.member(node)?.address(family) { lines.append("unicast_src_ip \(own)") }
    let peers = configuration.cluster.nodes.filter { $0.name != node }.compactMap { $0.address(family) }
    lines.append("unicast_peer {\n" + peers.map { "    \($0)\n" }.joined() + "  }")
    return lines
  }

  private static func block(_ name: String, _ addresses: [IPAddress]) -> String {
    "\(name) {\n" + addresses.map { "    \($0)/\($0.family == .ipv4 ? 32 : 128)\n" }.joined() + "  }"
  }

  /// fe80:: with the virtual MAC address 00-00-5E-00-02-{VRID} as an EUI-64 (RFC 4291 appendix A).
  static func linkLocalAddress(id: UInt8) -> IPAddress {
    .v6(IPv6Address(rawValue: 0xFE80_0000_0000_0000_0200_5EFF_FE00_0200 | UInt128(id)))
  }

  /// As keepalived reads it: seconds with at most two decimals.
  private static func seconds(_ duration: Duration) -> String {
    let centiseconds = duration.nanoseconds / 10_000_000
    let fraction = centiseconds % 100
    return fraction == 0 ? "\(centiseconds / 100)" : "\(centiseconds / 100).\(fraction < 10 ? "0" : "")\(fraction)"
  }
}

extension IPAddress {
  var isLinkLocal: Bool {
    if case .v6(let v6) = self { return v6.isLinkLocal }
    return false
  }
}
