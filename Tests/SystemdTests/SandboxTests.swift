import Testing

/// The unit's sandbox stops nothing that the daemon does, and an upgrade keeps what is more than an address.
@Suite(.enabled(if: Container.missing == nil))
struct SandboxTests {
  /// With everything that needs a right: a device of a virtual MAC with its sysctls, the firewall's table, commands as another user, hooks.
  private static let configuration = """
    cluster:
      nodes:
        lb1: 10.66.0.11
        lb2: 10.66.0.12
    trackers:
      who: { command: [/etc/roost/who], every: 200ms, user: nobody }
    vips:
      web:
        addresses: [10.66.0.100, "fd00:66::100"]
        before-announcing: { command: [/etc/roost/hook] }
        track: { who: 20 }
        vrrp: { id: 51, interval: 100ms, virtual-mac: true, accept: false }
    notify:
      file: { command: [/etc/roost/told], events: active }
    """

  private static func machine() throws -> Container {
    let machine = try Container(
      configuration: configuration,
      scripts: [
        "who": "#!/bin/sh\nid -un > /share/who\n", "hook": "#!/bin/sh\necho ran > /share/hook\n",
        "told": "#!/bin/sh\ncat > /share/told\n",
      ])
    try machine.wait("the unit to be active") { machine.property("ActiveState") == "active" }
    try machine.wait("the VIP") { machine.holds(UnitTests.vip) && machine.holds("fd00:66::100") }
    return machine
  }

  @Test func `Devices, firewall, realtime, locked memory and commands work in the unit`() throws {
    let machine = try Self.machine()
    let links = machine.run("ip", "-d", "link", "show", "type", "macvlan").output
    #expect(links.contains("00:00:5e:00:01:33"), "the device of the virtual MAC")
    #expect(links.contains("00:00:5e:00:02:33"), "that of the other family")
    #expect(machine.run("cat", "/proc/sys/net/ipv4/conf/eth0/arp_ignore").output.trimmed == "1")
    #expect(machine.run("nft", "list", "table", "inet", "roost_accept").output.contains(UnitTests.vip))
    for process in [machine.daemon, machine.guardian] {
      #expect(machine.run("chrt", "-p", "\(process)").output.contains("SCHED_FIFO"), "real-time priority")
      let status = machine.run("cat", "/proc/\(process)/status").output
      let locked = status.split(separator: "\n").first { $0.hasPrefix("VmLck:") } ?? ""
      #expect(!locked.contains("\t       0 kB") && !locked.isEmpty, "locked memory: \(locked)")
      #expect(status.contains("NoNewPrivs:\t1"))
      #expect(status.contains("Seccomp:\t2"))
    }
    try machine.wait("the tracker's command") { machine.shared("who").trimmed == "nobody" }
    try machine.wait("the hook") { machine.shared("hook").trimmed == "ran" }
    try machine.wait("the notification") { machine.shared("told").contains("active") }
    #expect(!machine.journal.contains("not locked") && !machine.journal.contains("without real-time"))
    #expect(!machine.journal.contains("can't"), "\(machine.journal)")

    #expect(machine.run("systemctl", "stop", "roost.service").status == 0)
    #expect(machine.run("ip", "link", "show", "type", "macvlan").output.trimmed.isEmpty)
    let table = machine.run("nft", "list", "table", "inet", "roost_accept")
    #expect(table.status != 0, "\(table.output)\n\(machine.journal)")
    #expect(machine.run("cat", "/proc/sys/net/ipv4/conf/eth0/arp_ignore").output.trimmed == "0")
  }

  @Test func `An upgrade keeps devices and the firewall, and the last life removes them`() throws {
    let machine = try Self.machine()
    try machine.watchAddresses()
    let before = machine.run("ip", "-o", "link", "show", "type", "macvlan").output.split(separator: ":").first
    let answer = machine.run(Container.installed, "upgrade")
    #expect(answer.status == 0, "\(answer.output) \(machine.journal)")
    let after = machine.run("ip", "-o", "link", "show", "type", "macvlan").output.split(separator: ":").first
    #expect(before == after, "the device is the same")
    #expect(machine.removal(of: UnitTests.vip) == nil)
    let daemon = machine.daemon
    try machine.wait("the old process to end") {
      // Trackers' commands come and go.
      machine.script("pgrep -c -f \"roost run\"").output.trimmed == "1" && machine.daemon == daemon
    }
    #expect(machine.run("nft", "list", "table", "inet", "roost_accept").output.contains(UnitTests.vip))
    // Longer than a lease: the new one renews it.
    machine.run("sleep", "3")
    #expect(machine.removal(of: UnitTests.vip) == nil)
    #expect(machine.run("systemctl", "stop", "roost.service").status == 0)
    #expect(!machine.holds(UnitTests.vip))
    #expect(machine.run("ip", "link", "show", "type", "macvlan").output.trimmed.isEmpty)
    let table = machine.run("nft", "list", "table", "inet", "roost_accept")
    #expect(table.status != 0, "\(table.output)\n\(machine.journal)")
    #expect(machine.run("cat", "/proc/sys/net/ipv4/conf/eth0/arp_ignore").output.trimmed == "0")
  }
}
