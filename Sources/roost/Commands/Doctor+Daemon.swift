import Control
import Linux
import Telemetry

extension Findings {
  mutating func lookAtDaemon(_ socket: String) {
    let response: ControlResponse
    do throws(ControlError) {
      response = try ControlClient(path: socket).request("GET", "/status")
    } catch {
      return add(
        .unknown, "daemon", "what passes between the nodes can't be told: \(error)",
        fix: "start the daemon, then ask again")
    }
    guard let report = try? StatusReport(json: response.body) else {
      return add(.unknown, "daemon", "the daemon's answer is not understood; is it another version?")
    }
    judge(report)
  }

  /// What the daemon has seen of the others, and they of it: the two-way proof that adverts pass.
  mutating func judge(_ report: StatusReport) {
    add(.ok, "daemon", "it runs as '\(report.node)', version \(report.version)")
    judgeGuardian(report)
    for vip in report.vips where vip.state == "fault" {
      add(.failed, "daemon", "VIP \(vip.name) can't be had here: \(vip.reason)")
    }
    for vip in report.vips {
      for warning in vip.warnings ?? [] {
        add(.warning, "address", "VIP \(vip.name): \(warning.text)", fix: warning.advice)
      }
    }
    for vip in report.vips {
      for (reason, count) in vip.adverts.sorted(by: { $0.key < $1.key })
      where count > 0 && (reason == "not sent" || reason.hasPrefix("discarded")) {
        add(.warning, "daemon", "VIP \(vip.name): \(count) adverts were \(reason)")
      }
    }
    for split in report.split_brains ?? [] {
      add(
        .failed, "daemon",
        "split brain: \(split.owners.joined(separator: ", ")) own VIP \(split.vip) at the same time since \(split.since)",
        fix: split.advice)
    }
    for peer in report.peers {
      judge(peer, report)
      judgeClock(of: peer, window: report.clock_window_ms)
    }
  }

  private mutating func judgeGuardian(_ report: StatusReport) {
    if let guardian = report.guardian {
      switch guardian.state {
      case "watching": add(.ok, "guardian", "it watches the daemon")
      case "starting": add(.warning, "guardian", "it is being started, and does not watch yet", fix: "ask again")
      default:
        add(
          .failed, "guardian",
          "\(guardian.words): if the daemon crashed now, its addresses would stay until their lease ends",
          fix: "the daemon starts another one by itself; if this stays, its log says why")
      }
    }
    if let trouble = report.journal_trouble {
      add(
        .failed, "journal", "it is not written, so what a crash leaves behind may stay: \(trouble)",
        fix: "make room on the disk of the state folder; the daemon tries again by itself")
    }
  }

  /// Signed adverts are refused when they are of another time: long before that it should be mended.
  private mutating func judgeClock(of peer: StatusReport.Peer, window: Double?) {
    guard peer.state == "up" else { return }
    guard let words = peer.clockWords else {
      if window != nil {
        add(
          .unknown, "clock", "\(peer.name) does not say its time: is it of an older version?",
          fix: "install the same version on each node")
      }
      return
    }
    guard let window, let share = peer.clockShare(of: window) else {
      return add(.ok, "clock", "the clock of \(peer.name) is \(words) of this node's; nothing here depends on it")
    }
    let limit = Duration.milliseconds(window).words
    let fix =
      "run chrony, or systemd-timesyncd, on each node, and look at its sources (chronyc tracking, timedatectl timesync-status)"
    let text = "the clock of \(peer.name) is \(words) of this node's"
    switch share {
    case 0.5...:
      add(
        .failed, "clock",
        "\(text); signed adverts are refused when two clocks differ by more than \(limit), and then each node owns the VIPs",
        fix: fix)
    case 0.1...:
      add(
        .warning, "clock", "\(text); signed adverts are refused when two clocks differ by more than \(limit)", fix: fix)
    default:
      if (peer.clock_error_ms ?? 0) >= window / 2 {
        add(.unknown, "clock", "\(text): the round trip to \(peer.name) is too long to tell", fix: "ask again")
      } else {
        add(.ok, "clock", "\(text), far less than the \(limit) that signed adverts allow")
      }
    }
  }

  private mutating func judge(_ peer: StatusReport.Peer, _ report: StatusReport) {
    if peer.version != nil || peer.state == "down" || peer.state == "adverts only" {
      if peer.state == "up" {
        add(.ok, "peer", "\(peer.name) is linked")
      } else {
        add(
          .failed, "peer", "\(peer.name) is not linked: \(peer.warning ?? "nothing is heard")",
          fix: "is it running, does it have the same secret, does its firewall let TCP in on cluster.port?")
      }
    }
    if peer.state == "up", let warning = peer.warning {
      add(.warning, "peer", "\(peer.name): \(warning)", fix: "put the same file on each node, then roost reload")
    }
    guard let states = peer.vips, !states.isEmpty else {
      if peer.state == "unknown" {
        add(
          .unknown, "peer",
          "\(peer.name): no advert was heard, as of every node that owns nothing; without cluster.secret it can't be asked",
          fix: "roost secret, and cluster.secret on each node")
      }
      return
    }
    var proof = (hears: false, isHeard: false)
    let failures = all.count
    for vip in report.vips {
      guard let theirs = states[vip.name] else { continue }
      switch (vip.state, theirs) {
      case ("active", "active"):
        add(
          .failed, "peer", "this node and \(peer.name) both own VIP \(vip.name): adverts don't pass between them",
          fix:
            "protocol 112 has to pass both ways: look at firewalls, switches that filter multicast (or vrrp.peers: unicast), keys and clocks"
        )
      case ("active", "backup"): proof.isHeard = true
      case ("backup", "active") where vip.owner == peer.name: proof.hears = true
      case ("backup", "active") where vip.owner?.hasPrefix("fe80:") ?? false:
        // Adverts come over IPv6 from an address that is in nobody's configuration, and the peer has not said that it is its own.
        add(
          .unknown, "peer",
          "VIP \(vip.name): adverts come from \(vip.owner ?? ""), and whether that is \(peer.name) is not known: is it of an older version?",
          fix: "install the same version on each node")
      case ("backup", "active"):
        add(
          .failed, "peer", "\(peer.name) owns VIP \(vip.name), and this node does not hear its adverts",
          fix:
            "protocol 112 has to pass from \(peer.name) to here: look at firewalls and switches that filter multicast")
      default: break
      }
    }
    guard all.count == failures else { return }
    switch proof {
    case (true, true): add(.ok, "peer", "adverts pass between this node and \(peer.name), both ways")
    case (true, false):
      add(.ok, "peer", "this node hears the adverts of \(peer.name); the other way is known when this node owns a VIP")
    case (false, true):
      add(.ok, "peer", "\(peer.name) hears this node's adverts; the other way is known when it owns a VIP")
    case (false, false):
      add(.unknown, "peer", "whether adverts pass to and from \(peer.name) is known when one of the two owns a VIP")
    }
  }
}
