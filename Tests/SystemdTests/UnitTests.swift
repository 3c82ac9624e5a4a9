import Testing

/// The shipped unit under a real systemd: who is ended by whom, and what is left.
@Suite(.enabled(if: Container.missing == nil))
struct UnitTests {
  static let vip = "10.66.0.100"

  static func configuration(lease: String = "2s", more: String = "") -> String {
    """
    cluster:
      nodes:
        lb1: 10.66.0.11
        lb2: 10.66.0.12
    vips:
      web:
        addresses: [\(vip)]
        address-lease: \(lease)
        vrrp: { id: 51, interval: 100ms }
    \(more)
    """
  }

  /// A machine whose daemon owns the VIP.
  static func machine(_ configuration: String, unit: [String: String] = [:]) throws -> Container {
    let machine = try Container(configuration: configuration, unit: unit)
    try machine.wait("the unit to be active") { machine.property("ActiveState") == "active" }
    try machine.wait("the VIP") { machine.holds(vip) }
    try machine.wait("the guardian") { machine.guardian > 0 }
    return machine
  }

  @Test func `It is active when the node takes part, and stops politely`() throws {
    let machine = try Self.machine(Self.configuration())
    #expect(machine.processes.count == 2)
    #expect(machine.run(Container.installed, "release").status != 0)
    #expect(machine.run("systemctl", "stop", "roost.service").status == 0)
    #expect(machine.property("ActiveState") == "inactive")
    #expect(machine.property("Result") == "success")
    #expect(!machine.holds(Self.vip))
    #expect(machine.processes.isEmpty)
    #expect(machine.run("ls", "/var/lib/roost").output.trimmed.isEmpty, "the state folder is empty")
  }

  @Test func `The guardian of a daemon that is killed removes the address, and the next life takes it again`() throws {
    // Without a lease and a command after the stop nothing else could.
    let machine = try Self.machine(
      Self.configuration(lease: "off"), unit: ["ExecStopPost": "/bin/true", "RestartSec": "1s"])
    try machine.watchAddresses()
    let first = machine.daemon
    let killed = try machine.signal("KILL", to: first)
    try machine.wait("the address to go") { machine.removal(of: Self.vip) != nil }
    try machine.wait("the address to be seen going") { machine.removal(of: Self.vip) != nil }
    let gone = try #require(machine.removal(of: Self.vip))
    print("kill -9 under systemd: the address was gone after \(milliseconds(gone - killed)) ms")
    try machine.wait("a new life") { machine.daemon > 0 && machine.daemon != first }
    try machine.wait("the VIP") { machine.holds(Self.vip) }
    try machine.wait("the restart to be counted") { machine.property("NRestarts") == "1" }
  }

  @Test func `When everything of the unit is killed, the command after the stop removes the address`() throws {
    let machine = try Self.machine(Self.configuration(lease: "off"), unit: ["Restart": "no"])
    try machine.watchAddresses()
    // A guardian that runs would be quicker than the signal to it.
    _ = try machine.signal("STOP", to: machine.guardian)
    let killed = machine.script("echo $EPOCHREALTIME; systemctl kill --signal=KILL roost.service").output
    try machine.wait("the address to go") { machine.removal(of: Self.vip) != nil }
    try machine.wait("the address to be seen going") { machine.removal(of: Self.vip) != nil }
    let gone = try #require(machine.removal(of: Self.vip))
    if let killed = Double(killed.trimmed) {
      print("unit killed: the address was gone after \(milliseconds(gone - killed)) ms")
    }
    try machine.wait("the unit to have failed") { machine.property("ActiveState") == "failed" }
    #expect(machine.property("Result") == "signal")
    #expect(machine.journal.contains("removed address \(Self.vip)"))
    #expect(machine.processes.isEmpty)
  }

  @Test func `A daemon that hangs loses the address to its guardian, and its life to systemd`() throws {
    let machine = try Self.machine(
      Self.configuration(lease: "off"), unit: ["ExecStopPost": "/bin/true", "WatchdogSec": "2"])
    try machine.watchAddresses()
    let first = machine.daemon
    let stopped = try machine.signal("STOP", to: first)
    try machine.wait("the address to go") { machine.removal(of: Self.vip) != nil }
    try machine.wait("the address to be seen going") { machine.removal(of: Self.vip) != nil }
    let gone = try #require(machine.removal(of: Self.vip))
    print("SIGSTOP under systemd: the address was gone after \(milliseconds(gone - stopped)) ms")
    try machine.wait("a new life") { machine.daemon > 0 && machine.daemon != first }
    try machine.wait("the VIP") { machine.holds(Self.vip) }
    #expect(machine.journal.contains("Watchdog timeout"))
    try machine.wait("the restart to be counted") { machine.property("NRestarts") == "1" }
  }

  @Test func `A reload of the unit is one of the daemon, and says what is wrong with a file`() throws {
    let machine = try Self.machine(Self.configuration())
    let first = machine.daemon
    machine.script("sed -i -e s/100ms/200ms/ /etc/roost/roost.yaml")
    #expect(machine.run("systemctl", "reload", "roost.service").status == 0)
    #expect(machine.journal.contains("VIP web: interval"), "the reload says what changed: \(machine.journal)")
    machine.script("sed -i -e s/id:/idd:/ /etc/roost/roost.yaml")
    #expect(machine.run("systemctl", "reload", "roost.service").status != 0)
    #expect(machine.journal.contains("roost.yaml:9"), "the mistake is in the log with its place: \(machine.journal)")
    #expect(machine.property("ActiveState") == "active")
    #expect(machine.holds(Self.vip))
    #expect(machine.daemon == first)
  }

  @Test func `A guardian that is killed is followed by another, and the unit never notices`() throws {
    let machine = try Self.machine(Self.configuration())
    let (first, old) = (machine.daemon, machine.guardian)
    _ = try machine.signal("KILL", to: old)
    try machine.wait("another guardian") { machine.guardian > 0 && machine.guardian != old }
    #expect(machine.daemon == first)
    #expect(machine.property("ActiveState") == "active")
    #expect(machine.property("NRestarts") == "0")
    #expect(machine.holds(Self.vip))
    #expect(machine.processes.count == 2)
  }
}

func milliseconds(_ seconds: Double) -> String {
  let tenths = Int((seconds * 10_000).rounded())
  return "\(tenths / 10).\(abs(tenths % 10))"
}
