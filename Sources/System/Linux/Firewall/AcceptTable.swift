import Wire

/// A table of the firewall that drops packets to VIPs that accept nothing (Accept_Mode false, RFC 9568 §6.1).
///
/// It concerns what is for this host alone: what is forwarded through it passes another hook. Neighbour discovery is never dropped.
/// ICMP errors are let through: they reach a socket only where one sent what they are about.
struct AcceptTable {
  static let name = "roost_accept"

  /// The addresses that accept nothing, sorted.
  private(set) var addresses: [IPAddress] = []
  /// The table is in the kernel as `addresses` says.
  private(set) var isLoaded = true

  /// Has the kernel drop what goes to these addresses, and to no others, in one step.
  mutating func load(_ addresses: Set<IPAddress>) throws(SystemError) {
    let sorted = addresses.sorted()
    if isLoaded, sorted == self.addresses { return }
    isLoaded = false
    self.addresses = sorted
    try NFT.load(sorted.isEmpty ? Self.removal : Self.rules(sorted))
    isLoaded = true
  }

  /// Somebody removed it.
  mutating func lost() { isLoaded = addresses.isEmpty }

  func covers(_ address: IPAddress) -> Bool { isLoaded && addresses.contains(address) }

  /// Makes it first, so that removing it can't fail for want of one.
  static let removal = "add table inet \(name)\ndelete table inet \(name)\n"

  static func rules(_ addresses: [IPAddress]) -> String {
    var (v4, v6): ([String], [String]) = ([], [])
    for address in addresses {
      switch address {
      case .v4: v4.append("\(address)")
      case .v6: v6.append("\(address)")
      }
    }
    var text = removal + "table inet \(name) {\n"
    text += "  comment \"packets to VIPs that accept nothing; kept by roost\"\n"
    if !v4.isEmpty { text += "  set vips4 { type ipv4_addr; elements = { \(v4.joined(separator: ", ")) }; }\n" }
    if !v6.isEmpty { text += "  set vips6 { type ipv6_addr; elements = { \(v6.joined(separator: ", ")) }; }\n" }
    text += "  chain input {\n    type filter hook input priority -150; policy accept;\n"
    if !v4.isEmpty {
      text += "    ip daddr @vips4 icmp type { destination-unreachable, time-exceeded, parameter-problem } accept\n"
      text += "    ip daddr @vips4 counter drop\n"
    }
    if !v6.isEmpty {
      text += "    ip6 daddr @vips6 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n"
      text +=
        "    ip6 daddr @vips6 icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept\n"
      text += "    ip6 daddr @vips6 counter drop\n"
    }
    return text + "  }\n}\n"
  }
}
