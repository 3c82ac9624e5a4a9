import Basis
import CLinux
import Wire

/// An interface as it is now.
public struct InterfaceState: Sendable, Hashable {
  /// An address that the interface has by itself: no VIP.
  public struct Address: Sendable, Hashable {
    public var address: IPAddress
    public var prefixLength: Int
    /// Not to be used yet, or found to be somebody else's (RFC 4862 §5.4).
    public var isTentative: Bool

    public init(address: IPAddress, prefixLength: Int, isTentative: Bool) {
      self.address = address
      self.prefixLength = prefixLength
      self.isTentative = isTentative
    }
  }

  public var name: String
  /// 0 where there is no interface of that name. One that is removed and made again has another index.
  public var index: Int32
  /// Administratively up, and a carrier is seen.
  public var isUp: Bool
  public var isLoopback: Bool
  /// Nil where the interface is no Ethernet.
  public var macAddress: MACAddress?
  public var mtu: Int
  /// In the kernel's order, without VIPs.
  public var addresses: [Address]
  /// Something was received there since the carrier rose, as far as this was watched: a switch port that has just come up may
  /// swallow everything for half a minute. Always true of the loopback interface.
  public var hasReceived = false

  public var exists: Bool { index != 0 }

  /// The first IPv4 address, with its prefix length: the source of IPv4 adverts.
  public var ipv4: (address: IPv4Address, prefixLength: Int)? {
    for entry in addresses {
      if case .v4(let address) = entry.address { return (address, entry.prefixLength) }
    }
    return nil
  }

  /// A link-local IPv6 address that may be used: the source of IPv6 adverts.
  public var linkLocal: IPv6Address? {
    for entry in addresses where !entry.isTentative {
      if case .v6(let address) = entry.address, address.isLinkLocal { return address }
    }
    return nil
  }

  /// The subnets that the interface is in, IPv6's link-local one left out.
  public var prefixes: [Prefix] {
    addresses.compactMap { entry in
      if case .v6(let address) = entry.address, address.isLinkLocal { return nil }
      return Prefix(entry.address, length: entry.prefixLength)
    }
  }

  /// No interface of that name.
  public static func missing(_ name: String) -> InterfaceState {
    InterfaceState(name: name, index: 0, isUp: false, isLoopback: false, macAddress: nil, mtu: 0, addresses: [])
  }

  /// All interfaces of this network namespace, by index; addresses in `vips` are left out.
  public static func all(excluding vips: Set<IPAddress> = []) throws(SystemError) -> [InterfaceState] {
    let netlink = try NetlinkSocket()
    var table = InterfaceTable()
    table.load(try netlink.links(), try netlink.addresses())
    return table.links.map { table.state(of: $0.name, excluding: vips) }
  }
}

/// What netlink told of all interfaces so far.
struct InterfaceTable {
  /// By index.
  private(set) var links: [LinkRecord] = []
  private(set) var addresses: [Int32: [AddressRecord]] = [:]

  mutating func load(_ links: [LinkRecord], _ addresses: [AddressRecord]) {
    self.links = links.sorted { $0.index < $1.index }
    self.addresses = [:]
    for record in addresses { self.addresses[record.index, default: []].append(record) }
  }

  mutating func apply(_ message: NetlinkMessage) {
    switch message {
    case .link(let link, removed: false):
      if let position = links.firstIndex(where: { $0.index >= link.index }) {
        if links[position].index == link.index { links[position] = link } else { links.insert(link, at: position) }
      } else {
        links.append(link)
      }
    case .link(let link, removed: true):
      links.removeAll { $0.index == link.index }
      addresses[link.index] = nil
    case .address(let record, let removed):
      var known = addresses[record.index] ?? []
      let position = known.firstIndex { $0.address == record.address && $0.prefixLength == record.prefixLength }
      switch (position, removed) {
      case (let position?, false): known[position] = record
      case (nil, false): known.append(record)
      case (let position?, true): known.remove(at: position)
      case (nil, true): break
      }
      addresses[record.index] = known.isEmpty ? nil : known
    case .acknowledgement, .done, .neighbour, .route, .other: break
    }
  }

  func link(named name: String) -> LinkRecord? { links.first { $0.name == name } }

  func link(at index: Int32) -> LinkRecord? { links.first { $0.index == index } }

  /// Whether the interface has exactly this VIP address: alone, not as a host in a subnet.
  func hasVIP(_ address: IPAddress, on index: Int32) -> Bool {
    addresses[index]?.contains { $0.isVIP(address) } ?? false
  }

  func state(of name: String, excluding vips: Set<IPAddress>) -> InterfaceState {
    guard let link = link(named: name) else { return .missing(name) }
    let own = (addresses[link.index] ?? []).filter { !vips.contains($0.address) }
    return InterfaceState(
      name: name, index: link.index, isUp: link.isAdministrativelyUp && link.isRunning, isLoopback: link.isLoopback,
      macAddress: link.macAddress, mtu: link.mtu,
      addresses: own.map {
        .init(address: $0.address, prefixLength: $0.prefixLength, isTentative: $0.isTentative || $0.isDuplicate)
      })
  }
}

extension AddressRecord {
  /// It looks as this program makes them, and nothing else does: alone, without a route, and never a source.
  var isMadeByRoost: Bool {
    guard isVIP(address), flags & clinux_ifa_f_noprefixroute != 0 else { return false }
    return switch address {
    case .v4: scope == clinux_rt_scope_host || scope == clinux_rt_scope_link  // the latter until version 0.1
    case .v6: flags & clinux_ifa_f_nodad != 0 && preferredSeconds == 0
    }
  }

  func isVIP(_ address: IPAddress) -> Bool {
    self.address == address && prefixLength == (address.family == .ipv4 ? 32 : 128)
  }
}
