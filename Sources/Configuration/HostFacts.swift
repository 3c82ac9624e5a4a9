import Wire

/// What the reader of a configuration has to know of the machine that is to run it. Whoever asks collects it.
public struct HostFacts: Sendable, Hashable {
  /// The node that this machine is said to be, if that was said.
  public var node: String?
  public var hostName: String
  public var interfaces: [Interface]
  /// VIPs that are on an interface as nobody here puts them there.
  public var foreignVIPs: [ForeignVIP]

  public init(node: String? = nil, hostName: String, interfaces: [Interface], foreignVIPs: [ForeignVIP] = []) {
    self.node = node
    self.hostName = hostName
    self.interfaces = interfaces
    self.foreignVIPs = foreignVIPs
  }

  /// A VIP on an interface with a subnet, so put there by another program: as a VIP it has a host's prefix length.
  public struct ForeignVIP: Sendable, Hashable {
    public var interface: String
    public var address: IPAddress
    public var prefixLength: Int

    public init(interface: String, address: IPAddress, prefixLength: Int) {
      self.interface = interface
      self.address = address
      self.prefixLength = prefixLength
    }
  }

  public struct Interface: Sendable, Hashable {
    public var name: String
    public var addresses: [Address]
    /// False where `disable_ipv6` is set, or the kernel has no IPv6.
    public var hasIPv6: Bool

    public init(name: String, addresses: [Address], hasIPv6: Bool = true) {
      self.name = name
      self.addresses = addresses
      self.hasIPv6 = hasIPv6
    }
  }

  /// An address as an interface has it.
  public struct Address: Sendable, Hashable {
    public var address: IPAddress
    public var prefixLength: Int

    public init(_ address: IPAddress, prefixLength: Int) {
      self.address = address
      self.prefixLength = prefixLength
    }

    /// The neighbours that are reached directly; nil for a lone address, as a VIP is.
    var subnet: Prefix? {
      let bits = address.family == .ipv4 ? 32 : 128
      return prefixLength < bits ? Prefix(address, length: prefixLength) : nil
    }
  }

  func interface(_ name: String) -> Interface? { interfaces.first { $0.name == name } }
}

extension Configuration {
  /// Which node a machine is: as it was told, else the node whose address is local, else the one of the host's name.
  public func nodeName(on host: HostFacts) -> String? {
    if let told = host.node { return member(told)?.name }
    let local = Set(host.interfaces.flatMap { $0.addresses.map(\.address) })
    let byAddress = cluster.nodes.filter { $0.addresses.contains { local.contains($0) } }
    if byAddress.count == 1 { return byAddress[0].name }
    return member(host.hostName)?.name
  }

  /// The interface that a VIP is put on: the one that the file names for the node, else the first whose subnet has one of
  /// the VIP's addresses, the narrowest subnet first.
  public func interface(of vip: VIP, node: String, on host: HostFacts) -> String? {
    if let named = vip.namedInterface(on: node) { return host.interface(named)?.name }
    for address in vip.addresses {
      if let link = host.link(of: address, except: vip.addresses) { return link.name }
    }
    return nil
  }
}

extension HostFacts {
  /// The interface with the narrowest subnet that holds an address.
  func link(of address: IPAddress, except own: [IPAddress]) -> Interface? {
    var best: (length: Int, interface: Interface)?
    for interface in interfaces {
      for local in interface.addresses where !own.contains(local.address) {
        guard let subnet = local.subnet, subnet.contains(address), subnet.length > best?.length ?? -1 else { continue }
        best = (subnet.length, interface)
      }
    }
    return best?.interface
  }
}

extension Reading {
  /// What stands between this configuration and a machine; none where the file itself has mistakes.
  public func mistakes(on host: HostFacts) -> [Mistake] {
    guard let configuration, let source else { return [] }
    var mistakes = Mistakes(source: source)
    guard let node = configuration.nodeName(on: host) else {
      reportUnknownNode(configuration, host, &mistakes)
      return mistakes.sorted
    }
    for vip in draft.vips {
      reportForeign(vip, host, &mistakes)
      check(vip, node, configuration, host, &mistakes)
    }
    for tracker in draft.trackers {
      guard let name = tracker.value.interface(on: node), host.interface(name) == nil else { continue }
      mistakes.warning(
        "this machine has no interface \(quoted(name)) yet: until it comes the tracker is bad",
        at: tracker.value("interface", node) ?? tracker.value("interface") ?? tracker.place,
        suggestion: didYouMean(name, among: host.interfaces.map(\.name)))
    }
    return mistakes.sorted
  }

  /// Also where this node never owns the VIP: the machine answers for it beside its owner. No mistake of the file, and one stray
  /// address is no reason to have none of the VIPs.
  private func reportForeign(_ vip: Draft.Part<Configuration.VIP>, _ host: HostFacts, _ mistakes: inout Mistakes) {
    for address in vip.addresses {
      for found in host.foreignVIPs where found.address == address.value {
        let text = "\(found.address)/\(found.prefixLength)"
        mistakes.warning(
          "\(found.address) is on \(found.interface) already, as \(text): another program put it there, and two machines answer for it where another node owns it",
          at: address.place, suggestion: "ip address del \(text) dev \(found.interface)")
      }
    }
  }

  private func reportUnknownNode(_ configuration: Configuration, _ host: HostFacts, _ mistakes: inout Mistakes) {
    let names = configuration.cluster.nodes.map(\.name)
    if let told = host.node {
      CrossChecks.unknown("node", told, at: draft.nodes[0].place, among: names, &mistakes)
    } else {
      mistakes.error(
        "this machine is none of the nodes: no node has one of its addresses, or its name \(quoted(host.hostName))",
        at: draft.nodes[0].place, suggestion: "say which it is with --node NAME, or correct its address here")
    }
  }

  private func check(
    _ vip: Draft.Part<Configuration.VIP>, _ node: String, _ configuration: Configuration, _ host: HostFacts,
    _ mistakes: inout Mistakes
  ) {
    // What never lands here needs nothing here.
    guard vip.value.priority(of: node) != nil else { return }
    let named = vip.value.namedInterface(on: node)
    guard let name = configuration.interface(of: vip.value, node: node, on: host), let interface = host.interface(name)
    else {
      let names = host.interfaces.map(\.name)
      if let named {
        mistakes.error(
          "this machine has no interface \(quoted(named))", at: vip.value("interface", node) ?? vip.value("interface"),
          suggestion: didYouMean(named, among: names) ?? "it has \(names.joined(separator: ", "))")
      } else {
        let list = vip.value.addresses.map(\.description).joined(separator: ", ")
        mistakes.error(
          "no interface of this machine has a subnet with \(list)", at: vip.place("addresses"),
          suggestion: "name one with interface: (it has \(names.joined(separator: ", ")))")
      }
      return
    }
    for address in vip.addresses {
      if address.value.family == .ipv6, !interface.hasIPv6 {
        mistakes.error(
          "\(address.value) needs IPv6, which is off on \(name)", at: address.place,
          suggestion: "sysctl -w net.ipv6.conf.\(name).disable_ipv6=0")
      }
      if let link = host.link(of: address.value, except: vip.value.addresses), link.name != name {
        mistakes.warning(
          "\(address.value) goes to \(name), but its subnet is on \(link.name)", at: address.place,
          suggestion: "move it to a VIP of its own, or correct 'interface'")
      }
    }
    if case .vrrp(let router) = vip.value.election, router.family == .ipv4,
      !interface.addresses.contains(where: { $0.address.family == .ipv4 && !vip.value.addresses.contains($0.address) })
    {
      mistakes.error(
        "\(name) has no IPv4 address of its own to send adverts from", at: vip.place,
        suggestion: "add one, or use vrrp.family: ipv6")
    }
    // The other nodes take unicast adverts from no other address of this one.
    if case .vrrp(let router) = vip.value.election, router.peers == .unicast,
      let own = configuration.member(node)?.address(router.family),
      !interface.addresses.contains(where: { $0.address == own })
    {
      mistakes.error(
        "\(name) lacks \(own), from which \(quoted(node)) sends its unicast adverts",
        at: vip.value("vrrp", "peers") ?? vip.place,
        suggestion: "correct the first \(router.family == .ipv4 ? "IPv4" : "IPv6") address of '\(node)', or 'interface'"
      )
    }
  }
}
