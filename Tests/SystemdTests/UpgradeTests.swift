import FoundationEssentials
import Testing

/// `roost upgrade` under a real systemd, with clients on the other end of a wire that must not see it.
@Suite(.enabled(if: Container.missing == nil))
struct UpgradeTests {
  private static let services = """
    services:
      web:
        vip: web
        listen: 80/tcp
        check: { tcp: true, every: 200ms }
        backends: { app1: 10.66.0.11:8080 }
    """

  /// What `traffic.py client` prints.
  private struct Seen: Decodable {
    var connections: Int
    var refused: [String]
    var talks: Int
    var broken: [String]
    var longest_talk_ms: Double
    var longest_silence_ms: Double
    var priorities: [Int]
  }

  private struct Report: Decodable {
    var pid: Int32
    var silent_ms: Double
    var took_ms: Double
  }

  /// A machine with a backend, and the far end of its wire in a namespace of its own, `client`.
  private static func machine(unit: [String: String] = [:]) throws -> Container {
    let machine = try UnitTests.machine(UnitTests.configuration(more: services), unit: unit)
    try machine.install("traffic.py")
    machine.script(
      """
      set -e
      ip netns add client
      ip link set far netns client
      ip -n client link set lo up
      ip -n client link set far up
      ip -n client address add 10.66.0.12/24 dev far
      systemd-run --unit=backend python3 /share/traffic.py backend 10.66.0.11 8080
      """)
    try machine.wait("the VIP again") { machine.holds(UnitTests.vip) }
    try machine.wait("the service") {
      machine.script("ip netns exec client python3 /share/traffic.py client \(UnitTests.vip) 80 0.1").output
        .contains("\"refused\": []")
    }
    return machine
  }

  private static func upgrade(_ machine: Container) throws -> Report {
    let answer = machine.run(Container.installed, "upgrade", "--json")
    guard answer.status == 0 else { throw Failure("\(answer.output)\n\(machine.journal.suffix(3000))") }
    return try JSONDecoder().decode(Report.self, from: Data(answer.output.utf8))
  }

  @Test func `An upgrade loses no connection and no advert, and systemd watches the new process`() throws {
    let machine = try Self.machine()
    let (first, guardian) = (machine.daemon, machine.guardian)
    machine.script(
      "ip netns exec client python3 /share/traffic.py client \(UnitTests.vip) 80 4 > /share/seen 2>&1 &")
    machine.script("sleep 1; cp \(Container.installed) /srv/new; mv /srv/new \(Container.installed)")
    try machine.watchAddresses()
    let report = try Self.upgrade(machine)
    try machine.wait("the other process") { machine.daemon != first }
    #expect(machine.daemon > 0)
    try machine.wait("the clients") { machine.shared("seen").contains("}") }
    let seen = try JSONDecoder().decode(Seen.self, from: Data(machine.shared("seen").utf8))
    print(
      "upgrade: \(seen.connections) connections, \(seen.refused.count) failed; longest silence of adverts \(seen.longest_silence_ms) ms;"
        + " longest answer \(seen.longest_talk_ms) ms; nobody acted for \(report.silent_ms) ms; took \(report.took_ms) ms"
    )
    #expect(seen.refused.isEmpty)
    #expect(seen.broken.isEmpty)
    #expect(seen.connections > 100 && seen.talks > 100)
    #expect(!seen.priorities.contains(0))
    #expect(machine.removal(of: UnitTests.vip) == nil)
    #expect(machine.property("NRestarts") == "0")
    try machine.wait("the old process to end") { machine.processes.count == 2 }
    try machine.wait("another guardian") { machine.guardian > 0 && machine.guardian != guardian }

    // The next life is whole: it is controlled, guarded, supervised, and stops politely.
    #expect(machine.run(Container.installed, "status").output.contains("active"))
    _ = try machine.signal("KILL", to: machine.daemon)
    try machine.wait("the address to go") { machine.removal(of: UnitTests.vip) != nil }
    try machine.wait("a new life") { machine.property("NRestarts") == "1" && machine.holds(UnitTests.vip) }
    #expect(machine.run("systemctl", "stop", "roost.service").status == 0)
    #expect(machine.property("Result") == "success")
    #expect(!machine.holds(UnitTests.vip))
  }

  @Test func `Beside a peer, with 10 ms adverts, the VIP stays where it is, whoever has it`() throws {
    let machine = try Self.machine()
    // The same wire, with a second node in the clients' namespace; both with a secret, so that they are linked.
    let started = machine.script(
      """
      set -e
      systemctl stop roost.service
      \(Container.installed) secret /etc/roost/secret
      sed -i -e "1a\\\\  secret: /etc/roost/secret" -e s/100ms/10ms/ /etc/roost/roost.yaml
      systemctl start roost.service
      systemd-run --unit=peer ip netns exec client \(Container.installed) run --node lb2 --state /var/lib/peer \
        --socket /run/peer.sock
      """)
    #expect(started.status == 0, "\(started.output)")
    func isOn(_ node: String) -> Bool {
      let claims = machine.script("journalctl --output=cat --unit=peer | grep -c \"vip web: active\"").output.trimmed
      let isHere = machine.holds(UnitTests.vip)
      return node == "lb1" ? isHere && claims == "0" : !isHere && claims == "1"
    }
    func links() -> Int {
      machine.script("journalctl --output=cat --unit=roost | grep -c \"peer lb2 is linked\"").output.trimmed.integer
    }
    try machine.wait("the VIP") { machine.holds(UnitTests.vip) }
    try machine.wait("the peer link") { links() == 1 }
    // The second node may have claimed while it heard nobody: what matters begins here.
    machine.script("journalctl --rotate; journalctl --vacuum-time=1ms")
    let report = try Self.upgrade(machine)
    print("upgrade at 10 ms adverts: nobody acted for \(report.silent_ms) ms")
    try machine.wait("the peer link again") { links() == 1 }
    #expect(isOn("lb1"))

    let moved = machine.run(Container.installed, "move", "web", "--to", "lb2")
    #expect(moved.status == 0, "\(moved.output)")
    #expect(isOn("lb2"))
    // A preferred backup leaves it there, before and after its own upgrade.
    try machine.wait("the old process to end") { machine.processes.count == 2 }
    _ = try Self.upgrade(machine)
    try machine.wait("the peer link a third time") { links() == 2 }
    machine.run("sleep", "1")
    #expect(isOn("lb2"))
  }

  @Test func `Connections that the old process still has end before the VIP leaves`() throws {
    let machine = try Self.machine()
    machine.script("ip netns exec client python3 /share/traffic.py client \(UnitTests.vip) 80 20 > /share/seen 2>&1 &")
    machine.script("sleep 1")
    let first = machine.daemon
    _ = try Self.upgrade(machine)
    try machine.wait("the other process") { machine.daemon != first }
    // Two guardians never are; two daemons and one guardian.
    try machine.wait("both daemons") { machine.processes.count == 3 && machine.processes.contains(first) }
    try machine.watchAddresses()
    // The peer link may not be up again yet.
    #expect(machine.run(Container.installed, "node", "standby", "--force").status == 0)
    try machine.wait("the address to be seen going") { machine.removal(of: UnitTests.vip) != nil }
    let gone = try #require(machine.removal(of: UnitTests.vip))
    let ended = machine.script("ip netns exec client ss -tnH state established dst \(UnitTests.vip)").output.trimmed
    #expect(ended.isEmpty, "the clients know: \(ended)")
    #expect(gone > 0)
    try machine.wait("the old process to end") { !machine.processes.contains(first) }
  }

  /// A client that has one connection, and keeps it.
  private static func connect(_ machine: Container) throws {
    machine.script(
      """
      ip netns exec client setsid bash -c "exec 3<>/dev/tcp/\(UnitTests.vip)/80; echo >> /share/connected; exec sleep 600" \
        > /dev/null 2>&1 < /dev/null &
      """)
  }

  @Test func `Upgrades in a row are done while earlier processes finish, each with its own connections`() throws {
    // A stop ends only the daemon, as where nothing supervises: what finishes must not be in a new life's way.
    let machine = try Self.machine(unit: ["KillMode": "process", "RestartSec": "1s"])
    try machine.watchAddresses()
    var finishing: [Int32] = []
    for number in 1...4 {
      try Self.connect(machine)
      try machine.wait("connection \(number)") { machine.shared("connected").count == number }
      finishing.append(machine.daemon)
      let report = try Self.upgrade(machine)
      try machine.wait("process \(number)") { machine.daemon == report.pid }
    }
    // Four that finish, the daemon, and one guardian.
    try machine.wait("all of them") { machine.processes.count == 6 && Set(finishing).isSubset(of: machine.processes) }
    try machine.wait("a clear word") {
      let answer = machine.run(Container.installed, "upgrade")
      return answer.status == 1 && answer.output.contains("(4); the oldest, with 1 of them")
        && answer.output.contains("--force")
    }
    try Self.connect(machine)
    try machine.wait("connection 5") { machine.shared("connected").count == 5 }
    let last = machine.daemon
    let forced = machine.run(Container.installed, "upgrade", "--force")
    #expect(forced.status == 0, "\(forced.output)")
    try machine.wait("the oldest to end") { !machine.processes.contains(finishing[0]) }
    #expect(Set(finishing[1...] + [last]).isSubset(of: machine.processes))
    #expect(machine.removal(of: UnitTests.vip) == nil)
    #expect(machine.property("NRestarts") == "0", "the watchdog hears of each of them")

    // Another life begins beside them.
    _ = try machine.signal("KILL", to: machine.daemon)
    try machine.wait("a new life") { machine.property("NRestarts") == "1" && machine.holds(UnitTests.vip) }
    #expect(machine.processes.contains(last), "\(machine.journal.suffix(2000))")
  }

  @Test func `A new process that dies or hangs on the way changes nothing, whenever that is`() throws {
    let machine = try Self.machine()
    let (first, guardian) = (machine.daemon, machine.guardian)
    try machine.watchAddresses()
    var refused = 0
    // The last but one is stopped before it has said a word, the last at any later point.
    let ends = [
      ("KILL", "0.03"), ("KILL", "0.06"), ("KILL", "0.09"), ("KILL", "0.12"), ("STOP", "0"), ("STOP", "0.06"),
    ]
    for (signal, delay) in ends {
      // It starts the new one as it was told, and then does that to it.
      machine.script(
        """
        cat > /srv/ill <<END
        #!/bin/bash
        (/srv/roost "\\${@:1:\\$#-1}" & sleep \(delay); kill -s \(signal) \\$!) &
        END
        chmod +x /srv/ill
        """)
      let answer = machine.run(Container.installed, "upgrade", "--program", "/srv/ill")
      // It was quicker than its end: then this is the story of another test.
      if answer.status == 0 { break }
      refused += 1
      #expect(answer.output.contains("this daemon goes on"), "\(answer.output)")
      #expect(machine.daemon == first)
      #expect(machine.guardian == guardian)
      try machine.wait("only those two") { machine.processes.count == 2 }
      #expect(machine.removal(of: UnitTests.vip) == nil)
      #expect(machine.run(Container.installed, "status").output.contains("active"))
    }
    print("upgrade: \(refused) ill successors were refused")
    #expect(refused > 0)
  }

  @Test func `A new binary that can't run changes nothing`() throws {
    let machine = try Self.machine()
    let (first, guardian) = (machine.daemon, machine.guardian)
    try machine.watchAddresses()
    #expect(machine.run(Container.installed, "upgrade", "--program", "/bin/false").status == 1)
    #expect(machine.run(Container.installed, "upgrade", "--program", "/bin/true").status == 1)
    // One that gets as far as its configuration.
    machine.script("sed -i -e s/id:/idd:/ /etc/roost/roost.yaml")
    let answer = machine.run(Container.installed, "upgrade")
    #expect(answer.status == 1)
    #expect(answer.output.contains("roost.yaml:9"), "\(answer.output)")
    #expect(machine.daemon == first)
    #expect(machine.guardian == guardian)
    #expect(machine.removal(of: UnitTests.vip) == nil)
    machine.script("sed -i -e s/idd:/id:/ /etc/roost/roost.yaml")
    let report = try Self.upgrade(machine)
    try machine.wait("the other process") { machine.daemon == report.pid }
    try machine.wait("the old process to end") { machine.processes.count == 2 }
    // And once more: what took over can be taken over from.
    let second = try Self.upgrade(machine)
    try machine.wait("the third process") { machine.daemon == second.pid }
    #expect(machine.removal(of: UnitTests.vip) == nil)
    #expect(machine.property("NRestarts") == "0")
  }
}
