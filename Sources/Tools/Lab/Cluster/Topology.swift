import Configuration
import Wire

//                 namespace roost-ID-switch
//            ┌───────────── br0 ─────────────┐
//          lb1      lb2      app1     app2    client        the bridge's ports, one end of a veth pair each
//           │        │         │        │        │
//         eth0     eth0      eth0     eth0     eth0         the other end, in the namespace of that host
//      roost-ID-lb1 …                        roost-ID-client
//
// A second subnet is a second bridge (br1), with a host "router" on both.

/// The hosts, links and addresses of a lab, as a configuration describes them.
///
/// The configuration says no prefix lengths, so they are inferred: IPv4 addresses of one /24 and IPv6 addresses of one /64 are on one link;
/// a VIP outside every node's block widens the block of the nearest node until it holds both. The blocks in which one VIP, or one node's
/// first addresses, lie are one link, with two families. Hosts without an address in one of their link's blocks get one from its upper end;
/// so do the client and, where there are several links, a router.
public struct Topology: Sendable, Hashable {
  public struct Link: Sendable, Hashable {
    public var bridge: String
    public var prefixes: [Prefix]
  }
  public struct Interface: Sendable, Hashable {
    /// As it is called inside the host.
    public var name: String
    /// Index into `links`.
    public var link: Int
    /// The bridge's end of the cable, in the switch's namespace.
    public var port: String
    public var addresses: [Assigned]
  }
  public struct Assigned: Sendable, Hashable, CustomStringConvertible {
    public var address: IPAddress
    public var length: Int
    public var description: String { "\(address)/\(length)" }
  }
  public enum Role: String, Sendable, Hashable, Codable {
    case node, backend, client, router
    /// A host on the client's link that means no good: it forges adverts, and keeps the machine's kernel busy.
    case stranger
  }
  public struct Host: Sendable, Hashable {
    public var name: String
    public var role: Role
    public var interfaces: [Interface]
    /// By which hosts of other links are reached, one a family.
    public var gateways: [IPAddress]
  }

  public var links: [Link]
  public var hosts: [Host]

  public static let client = "client"
  public static let router = "router"
  public static let stranger = "stranger"

  public func host(_ name: String) -> Host? { hosts.first { $0.name == name } }
  public func hosts(_ role: Role) -> [Host] { hosts.filter { $0.role == role } }

  /// The host that has the address for good.
  public func host(holding address: IPAddress) -> Host? {
    hosts.first { $0.interfaces.contains { $0.addresses.contains { $0.address == address } } }
  }
}

extension Topology {
  /// - Parameters:
  ///   - clientAddresses: of each family, from which the client's connections come.
  ///   - hasStranger: whether there is a host `stranger`.
  public init(
    _ configuration: Configuration, clientAddresses: Int = 1, hasStranger: Bool = false
  ) throws(LabError) {
    var builder = TopologyBuilder(configuration)
    builder.clientAddresses = max(1, clientAddresses)
    builder.hasStranger = hasStranger
    self = try builder.build()
  }
}

private struct TopologyBuilder {
  let configuration: Configuration
  var clientAddresses = 1
  var hasStranger = false
  /// Name, role and given addresses, in order; backends that are nodes too are not repeated.
  var given: [(name: String, role: Topology.Role, addresses: [IPAddress])] = []
  var blocks: [Prefix] = []
  /// For each block, the link that it is part of.
  var linkOfBlock: [Int] = []
  var taken: Set<IPAddress> = []

  init(_ configuration: Configuration) { self.configuration = configuration }

  mutating func build() throws(LabError) -> Topology {
    collectHosts()
    guard let vip = configuration.vips.first, let target = vip.addresses.first else {
      throw LabError(.usage, "the lab needs a VIP: the configuration has none under 'vips'")
    }
    findBlocks()
    joinFamilies()
    var topology = Topology(links: [], hosts: [])
    let numbers = linkNumbers()
    for number in numbers {
      let prefixes = blocks.indices.filter { linkOfBlock[$0] == number }.map { blocks[$0] }
      topology.links.append(Topology.Link(bridge: "br\(topology.links.count)", prefixes: prefixes))
    }
    let clientLink = link(of: target, in: topology)
    let severalLinks = topology.links.count > 1
    if severalLinks { given.append((Topology.router, .router, [])) }
    given.append((Topology.client, .client, []))
    if hasStranger { given.append((Topology.stranger, .stranger, [])) }
    for host in given {
      var links = Set(host.addresses.map { link(of: $0, in: topology) })
      switch host.role {
      case .router: links = Set(topology.links.indices)
      case .client, .stranger: links = [clientLink]
      case .node, .backend: break
      }
      topology.hosts.append(try makeHost(host, on: links.sorted(), in: topology))
    }
    if severalLinks { addGateways(to: &topology) }
    return topology
  }

  private mutating func collectHosts() {
    for member in configuration.cluster.nodes { given.append((member.name, .node, member.addresses)) }
    var known = Set(configuration.cluster.nodes.flatMap(\.addresses))
    var names = Set(given.map(\.name) + [Topology.client, Topology.router, Topology.stranger, "switch"])
    for backend in configuration.services.flatMap(\.backends) where known.insert(backend.address).inserted {
      var name = backend.name
      var number = 2
      while !names.insert(name).inserted {
        name = "\(backend.name)-\(number)"
        number += 1
      }
      given.append((name, .backend, [backend.address]))
    }
    taken = known.union(configuration.vips.flatMap(\.addresses))
  }

  private mutating func findBlocks() {
    let fixed = given.flatMap(\.addresses)
    for address in fixed { addBlock(around: address, length: address.family == .ipv4 ? 24 : 64) }
    for address in configuration.vips.flatMap(\.addresses) where !blocks.contains(where: { $0.contains(address) }) {
      // The nearest node of the family: the one with which the VIP shares most leading bits.
      let nodes = configuration.cluster.nodes.flatMap(\.addresses).filter { $0.family == address.family }
      let shared = nodes.map { address.sharedBits(with: $0) }.max() ?? 0
      let usual = address.family == .ipv4 ? 24 : 64
      addBlock(around: address, length: nodes.isEmpty || shared < 8 ? usual : min(shared, usual))
    }
  }

  /// Blocks inside the new one become part of it.
  private mutating func addBlock(around address: IPAddress, length: Int) {
    guard !blocks.contains(where: { $0.contains(address) }), let block = Prefix(address, length: length) else { return }
    blocks.removeAll { block.contains($0.address) }
    blocks.append(block)
  }

  private mutating func joinFamilies() {
    linkOfBlock = Array(blocks.indices)
    for vip in configuration.vips { join(vip.addresses) }
    for host in given {
      join([.ipv4, .ipv6].compactMap { family in host.addresses.first { $0.family == family } })
    }
  }

  private mutating func join(_ addresses: [IPAddress]) {
    let numbers = addresses.compactMap { address in blocks.firstIndex { $0.contains(address) }.map { linkOfBlock[$0] } }
    guard let first = numbers.min() else { return }
    for index in linkOfBlock.indices where numbers.contains(linkOfBlock[index]) { linkOfBlock[index] = first }
  }

  private func linkNumbers() -> [Int] {
    var numbers: [Int] = []
    for number in linkOfBlock where !numbers.contains(number) { numbers.append(number) }
    return numbers
  }

  private func link(of address: IPAddress, in topology: Topology) -> Int {
    topology.links.firstIndex { $0.prefixes.contains { $0.contains(address) } } ?? 0
  }

  private mutating func makeHost(
    _ host: (name: String, role: Topology.Role, addresses: [IPAddress]), on links: [Int], in topology: Topology
  ) throws(LabError) -> Topology.Host {
    var interfaces: [Topology.Interface] = []
    for link in links {
      var addresses: [Topology.Assigned] = []
      for prefix in topology.links[link].prefixes {
        let own = host.addresses.filter { prefix.contains($0) }
        var all = own
        while all.count < (host.role == .client ? clientAddresses : 1) { all.append(try freeAddress(in: prefix)) }
        addresses += all.map { Topology.Assigned(address: $0, length: prefix.length) }
      }
      let name = interfaceName(of: host.name, link: topology.links[link]) ?? "eth\(interfaces.count)"
      guard !interfaces.contains(where: { $0.name == name }) else {
        throw LabError(
          .usage,
          "\(host.name): the interface \(name) would be on two links of the lab; write only the VIPs of one subnet on it"
        )
      }
      interfaces.append(
        Topology.Interface(name: name, link: link, port: portName(host.name, link: link), addresses: addresses))
    }
    return Topology.Host(name: host.name, role: host.role, interfaces: interfaces, gateways: [])
  }

  /// The name that the configuration gives the interface of a VIP on that link.
  private func interfaceName(of node: String, link: Topology.Link) -> String? {
    for vip in configuration.vips {
      guard let name = vip.namedInterface(on: node) else { continue }
      if vip.addresses.contains(where: { address in link.prefixes.contains { $0.contains(address) } }) { return name }
    }
    return nil
  }

  /// At most 15 bytes, as Linux wants it, and unique by the number.
  private func portName(_ host: String, link: Int) -> String {
    let index = given.firstIndex { $0.name == host } ?? 0
    let suffix = ".\(index)\(link == 0 ? "" : ".\(link)")"
    let allowed = host.unicodeScalars.filter {
      $0.isASCII && ($0.properties.isAlphabetic || "0"..."9" ~= $0 || $0 == "-")
    }
    return String(String.UnicodeScalarView(allowed.prefix(15 - suffix.utf8.count))) + suffix
  }

  private mutating func freeAddress(in prefix: Prefix) throws(LabError) -> IPAddress {
    for distance in UInt32(1)..<4096 {
      guard let candidate = prefix.address(fromEnd: distance) else { break }
      if taken.insert(candidate).inserted { return candidate }
    }
    throw LabError(.usage, "no address is free in \(prefix) for a host of the lab")
  }

  private func addGateways(to topology: inout Topology) {
    guard let router = topology.host(Topology.router) else { return }
    for index in topology.hosts.indices where topology.hosts[index].role != .router {
      for family in [AddressFamily.ipv4, .ipv6] {
        let ways = topology.hosts[index].interfaces.compactMap { interface in
          router.interfaces.first { $0.link == interface.link }?.addresses.first { $0.address.family == family }?
            .address
        }
        if let way = ways.first { topology.hosts[index].gateways.append(way) }
      }
    }
  }
}

extension IPAddress {
  /// Leading bits that both have; 0 for different families.
  func sharedBits(with other: IPAddress) -> Int {
    switch (self, other) {
    case (.v4(let mine), .v4(let theirs)): (mine.rawValue ^ theirs.rawValue).leadingZeroBitCount
    case (.v6(let mine), .v6(let theirs)): (mine.rawValue ^ theirs.rawValue).leadingZeroBitCount
    default: 0
    }
  }
}

extension Prefix {
  /// The address that far below the block's end (IPv4: below its broadcast address); nil outside the block. IPv6 counts down from `::1:0`,
  /// to keep the addresses short.
  func address(fromEnd distance: UInt32) -> IPAddress? {
    switch address {
    case .v4(let base):
      guard length < 31 else { return nil }
      let last = base.rawValue | (UInt32.max >> UInt32(length))
      guard last - base.rawValue > distance else { return nil }
      return .v4(IPv4Address(rawValue: last - distance))
    case .v6(let base):
      guard length <= 112, distance < 0xFFFF else { return nil }
      return .v6(IPv6Address(rawValue: base.rawValue + UInt128(0x1_0000 - distance)))
    }
  }
}
