import CLinux
import Glibc
import Wire

/// The macvlan that carries a virtual MAC: made down, up while its VIP is owned here.
///
/// ```
///   eth0  02:…:01  10.9.0.1/24                  adverts come in here, and leave from here with the virtual MAC
///    ├─ roost.51   00:00:5e:00:01:33   IPv4 addresses of the VIP
///    └─ roost6.51  00:00:5e:00:02:33   IPv6 addresses of the VIP
/// ```
/// What the node itself sends, answers from the VIP included, leaves by the routes, so through `eth0` with its own MAC: neighbours
/// learn addresses from ARP and neighbour discovery alone, not from such packets.
enum VirtualDevice {
  /// The device, made where it is missing.
  /// - Throws: EEXIST where something else has the name.
  static func ensure(
    _ virtualMAC: VirtualMAC, _ family: AddressFamily, on parent: LinkRecord, _ requests: NetlinkSocket
  ) throws(SystemError) -> LinkRecord {
    let name = virtualMAC.deviceName(family)
    let address = virtualMAC.address(family)
    func isRight(_ link: LinkRecord) -> Bool {
      link.isVirtualRouter && link.macAddress == address && link.parent == parent.index
    }
    if let link = try requests.link(named: name) {
      if isRight(link) { return link }
      // One of an earlier interface, or an earlier configuration.
      guard link.isVirtualRouter else { throw SystemError(call: "RTM_NEWLINK", code: EEXIST, subject: name) }
      _ = try requests.perform { $0.appendRemoval(ofLink: link.index, sequence: $1) }
    }
    let code = try requests.perform { $0.appendMacvlan(name, address, on: parent.index, sequence: $1) }
    guard code == 0 else { throw SystemError(call: "RTM_NEWLINK", code: code, subject: "\(name) on \(parent.name)") }
    guard let link = try requests.link(named: name), isRight(link) else {
      throw SystemError(call: "RTM_NEWLINK", code: ENODEV, subject: name)
    }
    try configure(name, family, on: parent.name)
    return link
  }

  static func set(up: Bool, _ index: Int32, _ requests: NetlinkSocket) throws(SystemError) -> Int32 {
    try requests.perform { $0.appendSetting(up: up, of: index, sequence: $1) }
  }

  /// What the device needs, while it is still down.
  private static func configure(_ name: String, _ family: AddressFamily, on parent: String) throws(SystemError) {
    let (v4, v6) = ("net/ipv4/conf/\(name)/", "net/ipv6/conf/\(name)/")
    switch family {
    case .ipv4:
      // It answers for its own addresses alone, not for eth0's with the virtual MAC.
      try Sysctl.write("1", to: v4 + "arp_ignore")
      // Packets come in here from hosts that the routes reach through eth0: the strict check (1) would drop them all. The kernel takes
      // the greater one of `all` and this, so 0 would not do.
      try Sysctl.write("2", to: v4 + "rp_filter")
      // A packet that comes in here and leaves by eth0 never causes a redirect; should a route lead back here, it must not either:
      // it would send clients around the virtual router.
      try Sysctl.write("0", to: v4 + "send_redirects")
      // Who may forward through eth0 may through its virtual router.
      copy("forwarding", from: "net/ipv4/conf/\(parent)/", to: v4)
      // No link-local address, multicast reports or router solicitations from the virtual MAC. Missing where IPv6 is off altogether.
      try? Sysctl.write("1", to: v6 + "disable_ipv6")
    // accept_local stays off: no packet with a source of this host comes in here, since adverts leave by eth0.
    case .ipv6:
      try Sysctl.write("0", to: v6 + "disable_ipv6")
      // It has the VIP's addresses and no others: every owner would make the same link-local one of the virtual MAC, and take
      // prefixes and routes from routers' advertisements.
      try Sysctl.write("1", to: v6 + "addr_gen_mode")
      try Sysctl.write("0", to: v6 + "accept_ra")
      try Sysctl.write("0", to: v6 + "autoconf")
      // The election decides who has an address.
      try Sysctl.write("0", to: v6 + "accept_dad")
      copy("forwarding", from: "net/ipv6/conf/\(parent)/", to: v6)
      // It hears ARP requests, too, and is to answer none.
      try? Sysctl.write("8", to: v4 + "arp_ignore")
    }
  }

  private static func copy(_ name: String, from: String, to: String) {
    guard let value = Sysctl.read(from + name), value != Sysctl.read(to + name) else { return }
    try? Sysctl.write(value, to: to + name)
  }

  /// What the interface itself needs while IPv4 addresses are on a virtual MAC, and what it has now.
  static func parentSettings(_ parent: String) -> [AddressJournal.Setting] {
    let path = "net/ipv4/conf/\(parent)/"
    // arp_ignore 1: by default every interface answers for every address of the host, and eth0 would answer for the VIP with its own
    // MAC. arp_announce 2: by default a request that an answer from the VIP causes has the VIP as its sender, and would tell the
    // neighbour eth0's MAC.
    return [("arp_ignore", 1), ("arp_announce", 2)].compactMap { name, needed in
      guard let text = Sysctl.read(path + name), let value = Int(text), value < needed else { return nil }
      return AddressJournal.Setting(path: path + name, before: text, after: "\(needed)")
    }
  }
}
