import Linux
import Telemetry
import Testing
import Wire

@testable import roost

private let patient = Patient(
  interfaces: [
    Patient.Interface(
      name: "eth0", index: 2, families: [.ipv4], multicast: [.ipv4], elections: [.ipv4], isGateway: false)
  ], peerPort: 7112, enforcesAuthentication: false)

private func judged(_ rules: String) -> [Finding] {
  var findings = Findings()
  findings.judge(Firewall(rules), patient)
  return findings.all
}

@Test func `a host without rules lets everything pass`() {
  #expect(judged("").map(\.state) == [.ok])
}

@Test func `a chain that drops what it doesn't know has to know adverts and the peer link`() {
  let rules = """
    table inet filter {
    	chain input {
    		type filter hook input priority filter; policy drop;
    		ct state established,related accept
    		iifname "lo" accept
    		tcp dport { 22, 80 } accept
    	}
    	chain output {
    		type filter hook output priority filter; policy accept;
    	}
    }
    """
  let findings = judged(rules)
  #expect(findings.map(\.state) == [.failed, .warning])
  #expect(findings[0].fix == "nft add rule inet filter input ip protocol vrrp accept")
  #expect(findings[1].fix == "nft add rule inet filter input tcp dport 7112 accept")
  let better = rules.replacing(
    "tcp dport { 22, 80 } accept", with: "tcp dport { 22, 7112 } accept\n\t\tip protocol { icmp, vrrp } accept")
  #expect(judged(better).map(\.state) == [.ok])
}

@Test func `a rule that drops adverts is found where it is, also behind a jump`() {
  let findings = judged(
    """
    table ip filter {
    	chain strict {
    		ip protocol 112 counter packets 9 bytes 360 drop
    	}
    	chain INPUT {
    		type filter hook input priority filter; policy accept;
    		iifname "eth0" jump strict
    	}
    }
    """)
  #expect(findings.count == 1)
  #expect(findings[0].state == .failed)
  #expect(findings[0].text.contains("ip protocol 112 counter packets 9 bytes 360 drop"))
}

@Test func `rules of the other family, of other ports and Roost's own table don't matter`() {
  #expect(
    judged(
      """
      table ip6 filter {
      	chain input {
      		type filter hook input priority filter; policy drop;
      	}
      }
      table inet roost {
      	chain input {
      		type filter hook input priority filter; policy accept;
      		ip daddr 10.0.0.100 drop
      	}
      }
      table inet filter {
      	chain input {
      		type filter hook input priority filter; policy accept;
      		tcp dport 8112 drop
      	}
      }
      """
    ).map(\.state) == [.ok])
}

@Test func `a last rule that drops the rest is as a policy`() {
  let findings = judged(
    """
    table inet filter {
    	chain input {
    		type filter hook input priority filter; policy accept;
    		tcp dport 7112 accept
    		counter packets 1 bytes 2 drop
    	}
    }
    """)
  let states = findings.map(\.state)
  #expect(states == [.failed])
}

private func report(mine: String, owner: String?, theirs: String, link: String = "up") -> StatusReport {
  var peer = StatusReport.Peer(name: "lb2", address: "10.0.0.12", state: link, last_seen_ms: 10)
  peer.version = "0.1.0"
  peer.vips = ["web": theirs]
  return StatusReport(
    node: "lb1", version: "0.1.0", uptime_ms: 1, config_hash: "", loop: .init(turns: 1, late_max_ms: 0),
    vips: [
      StatusReport.VIP(
        name: "web", addresses: ["10.0.0.100"], interface: "eth0", state: mine, owner: owner, priority: 254, since: nil,
        reason: "", announcements: 0, interval_ms: 100, adverts: [:])
    ], services: [], peers: [peer])
}

@Test(arguments: [
  ("active", "lb1", "active", Finding.State.failed, "both own VIP web"),
  ("active", "lb1", "backup", .ok, "lb2 hears this node's adverts"),
  ("backup", "lb2", "active", .ok, "hears the adverts of lb2"),
  ("backup", "10.0.0.9", "active", .failed, "does not hear its adverts"),
  ("backup", "fe80::12", "active", .unknown, "whether that is lb2 is not known"),
  ("backup", "lb3", "backup", .unknown, "is known when one of the two owns"),
])
func `what two nodes say of one VIP tells whether adverts pass`(
  mine: String, owner: String, theirs: String, state: Finding.State, text: String
) throws {
  var findings = Findings()
  findings.judge(report(mine: mine, owner: owner, theirs: theirs))
  let finding = try #require(findings.all.last)
  #expect(finding.state == state)
  #expect(finding.text.contains(text))
  #expect(findings.hasFailure == (state == .failed))
}

@Test(
  arguments: [
    (0.3, 0.1, 5000.0, Finding.State.ok), (499, 0.1, 5000, .ok), (500, 0.1, 5000, .warning),
    (-2499, 0.1, 5000, .warning),
    (2500, 0.1, 5000, .failed), (-1e12, 0.1, 5000, .failed), (3, 4000, 5000, .unknown), (-1e12, 0.1, nil, .ok),
    (nil, nil, 5000, .unknown),
  ] as [(Double?, Double?, Double?, Finding.State)])
func `a peer's clock is judged by what signed adverts allow`(
  ahead: Double?, error: Double?, window: Double?, state: Finding.State
) throws {
  var told = report(mine: "active", owner: "lb1", theirs: "backup")
  told.clock_window_ms = window
  told.peers[0].clock_ahead_ms = ahead
  told.peers[0].clock_error_ms = error
  var findings = Findings()
  findings.judge(told)
  let finding = try #require(findings.all.first { $0.subject == "clock" })
  #expect(finding.state == state)
  #expect((finding.fix?.contains("chrony") ?? false) == [.warning, .failed].contains(state))
}

@Test func `an address that another program has put there is a warning, with what to do`() throws {
  var told = report(mine: "active", owner: "lb1", theirs: "backup")
  told.vips[0].warnings = [.init(text: "another program has put 10.0.0.100/24 on eth0", advice: "remove it there")]
  var findings = Findings()
  findings.judge(told)
  let finding = try #require(findings.all.first { $0.subject == "address" })
  #expect(finding.state == .warning && finding.fix == "remove it there")
  #expect(told.text(color: false, now: WallTime(nanoseconds: 0)).contains("10.0.0.100/24 on eth0"))
}

@Test func `an owner over IPv6 is shown by its name and its address`() throws {
  var told = report(mine: "backup", owner: "lb2", theirs: "active")
  told.vips[0].owner_address = "fe80::12"
  #expect(told.text(color: false, now: WallTime(nanoseconds: 0)).contains(" lb2 (fe80::12) "))
  var findings = Findings()
  findings.judge(told)
  #expect(!findings.hasFailure)
}

@Test func `a split brain that the daemon tells of fails`() {
  var told = report(mine: "active", owner: "lb1", theirs: "backup")
  told.split_brains = [.init(vip: "web", owners: ["lb1", "10.0.0.9"], since: "2026-11-22T11:56:56Z", heard_from: nil)]
  var findings = Findings()
  findings.judge(told)
  #expect(findings.all.contains { $0.state == .failed && $0.text.contains("split brain: lb1, 10.0.0.9 own VIP web") })
}
