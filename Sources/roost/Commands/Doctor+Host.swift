import Basis
import CLinux
import Glibc
import Linux
import Wire

// What the host itself says: interfaces, the kernel's settings, other programs, its clock.

extension Findings {
  mutating func lookAtInterface(_ interface: Patient.Interface, _ patient: Patient) {
    let before = all.count
    let name = interface.name
    guard let state = try? InterfaceState.all().first(where: { $0.name == name }) else {
      return add(.failed, "interface", "\(name) is not there", fix: "ip link; correct 'interface' in the configuration")
    }
    if !state.isUp {
      add(.failed, "interface", "\(name) is down, or has no carrier", fix: "ip link set \(name) up; look at the cable")
    }
    // IFF_MULTICAST (linux/if.h).
    if !interface.multicast.isEmpty, let text = HostFile.line("/sys/class/net/\(name)/flags"),
      let flags = UInt32(text.dropFirst(2), radix: 16), flags & 0x1000 == 0
    {
      add(
        .failed, "interface", "\(name) does no multicast",
        fix: "ip link set \(name) multicast on, or vrrp.peers: unicast")
    }
    if interface.families.contains(.ipv4) { lookAtIPv4(name, patient, isGateway: interface.isGateway) }
    if interface.families.contains(.ipv6), interface.isGateway,
      HostFile.line("/proc/sys/net/ipv6/conf/all/forwarding") == "0"
    {
      add(
        .failed, "interface", "a VIP on \(name) is a gateway, but IPv6 packets are not forwarded",
        fix: "sysctl -w net.ipv6.conf.all.forwarding=1")
    }
    if all.count == before { add(.ok, "interface", "\(name) is up, and its settings are fit for VIPs") }
  }

  private mutating func lookAtIPv4(_ name: String, _ patient: Patient, isGateway: Bool) {
    // The kernel takes the larger of the interface's value and that of all, for each of these.
    func value(_ setting: String) -> Int {
      ["all", name].compactMap { HostFile.line("/proc/sys/net/ipv4/conf/\($0)/\(setting)").flatMap { Int($0) } }.max()
        ?? 0
    }
    if value("arp_ignore") == 8 {
      add(
        .failed, "interface", "\(name) answers no ARP (arp_ignore is 8): neighbours can't find a VIP there",
        fix: "sysctl -w net.ipv4.conf.\(name).arp_ignore=0, and the same of 'all'")
    }
    if value("drop_gratuitous_arp") != 0 {
      add(
        .warning, "interface", "\(name) drops gratuitous ARP: this machine learns late that a VIP has moved",
        fix: "sysctl -w net.ipv4.conf.\(name).drop_gratuitous_arp=0, and the same of 'all'")
    }
    if value("arp_filter") != 0 {
      add(
        .warning, "interface",
        "arp_filter is on: \(name) answers for a VIP only where a route to the asker leads through it",
        fix: "sysctl -w net.ipv4.conf.\(name).arp_filter=0, and the same of 'all'")
    }
    if value("rp_filter") == 1, isGateway || patient.interfaces.count > 1 {
      add(
        .warning, "interface",
        "strict reverse path filtering is on for \(name): packets of clients whose route leads elsewhere are dropped",
        fix: "sysctl -w net.ipv4.conf.\(name).rp_filter=2")
    }
    guard isGateway else { return }
    if HostFile.line("/proc/sys/net/ipv4/ip_forward") == "0" {
      add(
        .failed, "interface", "a VIP on \(name) is a gateway, but packets are not forwarded",
        fix: "sysctl -w net.ipv4.ip_forward=1")
    }
    if value("send_redirects") != 0 {
      add(
        .warning, "interface", "\(name) sends redirects: clients learn this node's own address instead of the VIP",
        fix: "sysctl -w net.ipv4.conf.\(name).send_redirects=0, and the same of 'all'")
    }
  }

  /// Programs that believe that the addresses of an interface are theirs.
  mutating func lookAtManagers(of patient: Patient) {
    let before = all.count
    for interface in patient.interfaces {
      if let text = HostFile.text("/run/systemd/netif/links/\(interface.index)"),
        text.split(separator: "\n").contains(where: { $0.hasPrefix("ADMIN_STATE=configur") })
      {
        add(
          .warning, "link manager",
          "systemd-networkd manages \(interface.name): it removes addresses that it doesn't know when it configures the link anew; they are put back",
          fix: "KeepConfiguration=yes in the [Network] section of its .network file")
      }
      if let text = HostFile.text("/run/NetworkManager/devices/\(interface.index)"),
        text.split(separator: "\n").contains("managed=true")
      {
        add(
          .warning, "link manager",
          "NetworkManager manages \(interface.name): it removes addresses that it doesn't know when the connection changes; they are put back",
          fix: "nmcli device set \(interface.name) managed no, if another program may configure it")
      }
    }
    for program in ["keepalived", "ucarp", "vrrpd"] where HostFile.isRunning(program) {
      add(
        .warning, "link manager", "\(program) runs on this machine, too",
        fix: "let each address and each VRID belong to one of the two")
    }
    if all.count == before { add(.ok, "link manager", "no other program is known to manage the VIPs' interfaces") }
  }

  /// Signed adverts carry the time of day: clocks that differ by more than their window split the cluster.
  mutating func lookAtClock(_ patient: Patient) {
    var isUnsynchronized: Int32 = 0
    guard clinux_clock_state(&isUnsynchronized) >= 0 else {
      return add(.unknown, "clock", "the kernel's clock can't be asked")
    }
    switch (isUnsynchronized == 0, patient.enforcesAuthentication) {
    case (true, _): add(.ok, "clock", "the clock is kept right by a time service")
    case (false, true):
      add(
        .warning, "clock",
        "no time service keeps the clock right, and adverts are signed with the time: nodes whose clocks drift apart are each alone",
        fix: "run chrony, or systemd-timesyncd, on each node")
    case (false, false):
      add(.ok, "clock", "no time service keeps the clock right; nothing here depends on it")
    }
  }
}

/// Small files of the kernel and of other programs.
enum HostFile {
  static func text(_ path: String) -> String? {
    readFile(path).map { String(decoding: $0.prefix(65_536), as: UTF8.self) }
  }

  static func line(_ path: String) -> String? {
    text(path)?.split(separator: "\n", omittingEmptySubsequences: false).first.map(String.init)
  }

  /// Whether a program of that name runs in this process's view of the machine.
  static func isRunning(_ name: String) -> Bool {
    guard let folder = opendir("/proc") else { return false }
    defer { closedir(folder) }
    while let entry = readdir(folder) {
      let process = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      guard Int32(process) != nil, line("/proc/\(process)/comm") == name else { continue }
      return true
    }
    return false
  }
}
