import Basis
import Glibc
import Linux
import Testing

/// The daemon dies, stalls, or its guardian does: real processes on real interfaces.
@Suite(.serialized, .enabled(if: canMakeNamespaces && roostProgram != nil, needsRoot))
struct DeathTests {
  /// A daemon that owns the VIP, with a guardian, and what is seen of both.
  private func story(
    interval: String = "100ms", lease: String = "30s",
    _ body: (Stage, Daemon, _ guardian: Int32, Capture, AddressLog) throws -> Void
  ) throws {
    try Stage.run { stage in
      let capture = try Capture(on: stage.there)
      let addresses = try AddressLog(on: stage.here)
      let daemon = try stage.start("lb1", interval: interval, lease: lease)
      guard try eventually({ try stage.hasVIP() && daemon.guardian != nil }), let guardian = daemon.guardian else {
        Issue.record("the daemon never owned the VIP: \(daemon.logText)")
        return
      }
      try body(stage, daemon, guardian, capture, addresses)
    }
  }

  private func farewell(of source: UInt8, in capture: Capture, after start: Instant) -> Instant? {
    capture.adverts.all.first { $0.at >= start && $0.entry.source == source && $0.entry.priority == 0 }?.at
  }

  @Test func `after kill -9 the farewell is said and the address goes, and no process is left`() throws {
    try story { stage, daemon, guardian, capture, addresses in
      let killed = Clock.now()
      daemon.signal(SIGKILL)
      #expect(eventually { farewell(of: 1, in: capture, after: killed) != nil }, "\(daemon.logText)")
      #expect(stage.hasNoVIPSoon())
      #expect(eventually { daemon.isGone() && !isRunning(guardian) })
      #expect(!daemon.hasGuardianFile)
      #expect(daemon.logText.contains("roost-guardian: gave up 1 VIP because the daemon is dead"))
      let said = farewell(of: 1, in: capture, after: killed).map { ($0 - killed).milliseconds }
      let gone = addresses.changes.all.first { $0.at >= killed && !$0.entry }.map { ($0.at - killed).milliseconds }
      print("after kill -9: farewell \(said ?? -1) ms, address gone \(gone ?? -1) ms")
    }
  }

  @Test func `a virtual MAC's VIP goes from its devices in both families, and the devices are set down`() throws {
    try Stage.run { stage in
      let daemon = try stage.start("lb1", lease: "off", virtualMAC: true)
      func present() throws -> [Bool] {
        let shown = try stage.addresses()
        return ["roost.1    inet \(Stage.vip)/32", "roost6.1    inet6 2001:db8::100/128"].map(shown.contains)
      }
      try #require(
        eventually { try daemon.guardian != nil && present() == [true, true] }, "\(daemon.logText)")
      let guardian = try #require(daemon.guardian)
      daemon.signal(SIGKILL)
      #expect(eventually { daemon.isGone() && !isRunning(guardian) })
      #expect(try present() == [false, false])
      for device in ["roost.1", "roost6.1"] {
        let link = try stage.on(stage.here) { try shell("ip link show dev \(device)") }
        #expect(!link.contains("UP"), "\(link)")
      }
    }
  }

  /// The address thread alone stands still, so what the loop orders is not done.
  @Test func `a daemon that dies between its release and the removal leaves no address, even without a lease`() throws {
    try story(lease: "off") { stage, daemon, guardian, _, _ in
      let holder = """
        import ctypes, glob, sys, time
        libc = ctypes.CDLL(None, use_errno=True)
        for task in glob.glob("/proc/\(daemon.pid)/task/*"):
          if open(task + "/comm").read().strip() == "roost-addresses"[:15]:
            thread = int(task.rsplit("/", 1)[1])
            assert libc.ptrace(0x4206, thread, None, None) == 0  # PTRACE_SEIZE
            assert libc.ptrace(0x4207, thread, None, None) == 0  # PTRACE_INTERRUPT
            print("held", flush=True)
        time.sleep(1000)
        """
      try shell("cat > \(stage.folder)/hold.py << 'END'\n\(holder)\nEND")
      let text = try shell(
        "/usr/bin/python3 \(stage.folder)/hold.py > \(stage.folder)/hold.log 2>&1 & echo $!")
      let python = try #require(Int32(text.split(separator: "\n").first ?? ""))
      defer { kill(python, SIGKILL) }
      let log = "\(stage.folder)/hold.log"
      try #require(eventually { try shell("cat \(log)").contains("held") }, "\((try? shell("cat \(log)")) ?? "")")
      daemon.signal(SIGTERM)
      // The loop has ended the ownership, and waits for the removal.
      usleep(300_000)
      let isThere = try stage.hasVIP()
      #expect(isThere)
      daemon.signal(SIGKILL)
      #expect(stage.hasNoVIPSoon(), "\(daemon.logText)")
      // A process of which a thread is traced is not gone, and the guardian stays with it.
      #expect(isRunning(guardian))
      kill(python, SIGKILL)
      #expect(eventually { daemon.isGone() && !isRunning(guardian) })
      #expect(daemon.logText.contains("removed what was left of 1 VIP"), "\(daemon.logText)")
    }
  }

  @Test func `a stopped daemon loses the VIP, and when it goes on it is a backup that says nothing`() throws {
    try story { stage, daemon, _, capture, _ in
      let other = try stage.start("lb2")
      #expect(eventually { other.vipState == "backup" })
      let stopped = Clock.now()
      daemon.signal(SIGSTOP)
      #expect(eventually { farewell(of: 1, in: capture, after: stopped) != nil }, "\(daemon.logText)")
      #expect(stage.hasNoVIPSoon())
      #expect(eventually { (try? stage.hasVIP(stage.there)) == true })
      let ends = try #require(farewell(of: 1, in: capture, after: stopped))
      print("after SIGSTOP: farewell \((ends - stopped).milliseconds) ms")
      daemon.signal(SIGCONT)
      #expect(eventually { daemon.vipState == "backup" }, "\(daemon.logText)")
      #expect(daemon.logText.contains("while the loop stood still, the guardian gave up 1 VIP"))
      // Long enough for anything that waited to be sent.
      usleep(500_000)
      let late = capture.adverts.all.filter { $0.at > ends && $0.entry.source == 1 }
      #expect(late.isEmpty)
      let claims = capture.announcements.all.filter { $0.at > ends && $0.entry == 1 }
      #expect(claims.isEmpty)
      let isThereAlone = try !stage.hasVIP() && stage.hasVIP(stage.there)
      #expect(isThereAlone)
    }
  }

  @Test func `a guardian that is killed has a successor, and the VIP stays`() throws {
    try story { stage, daemon, guardian, capture, addresses in
      kill(guardian, SIGKILL)
      #expect(eventually { daemon.guardian.map { $0 != guardian } ?? false }, "\(daemon.logText)")
      #expect(eventually { daemon.logText.contains("the guardian (process \(guardian)) died") })
      #expect(!addresses.changes.all.contains { !$0.entry })
      #expect(!capture.adverts.all.contains { $0.entry.priority == 0 })
      // The successor knows its charge.
      #expect(eventually { daemon.logText.split(separator: "the guardian watches").count == 3 })
      let killed = Clock.now()
      daemon.signal(SIGKILL)
      #expect(eventually { farewell(of: 1, in: capture, after: killed) != nil })
      #expect(stage.hasNoVIPSoon())
    }
  }

  @Test func `when both are killed the kernel's lease removes the address`() throws {
    try story(lease: "2s") { stage, daemon, guardian, capture, _ in
      // Without a moment in which one sees the other die.
      kill(guardian, SIGSTOP)
      daemon.signal(SIGKILL)
      kill(guardian, SIGKILL)
      #expect(stage.hasNoVIPSoon())
      #expect(!capture.adverts.all.contains { $0.entry.priority == 0 })
      #expect(eventually { daemon.isGone() })
    }
  }

  @Test func `a polite stop leaves no process and no file`() throws {
    try story { stage, daemon, guardian, capture, _ in
      for number in [SIGTERM, SIGINT, SIGHUP] { kill(guardian, number) }
      daemon.signal(SIGTERM)
      #expect(eventually { daemon.isGone() }, "\(daemon.logText)")
      #expect(!isRunning(guardian))
      #expect(!daemon.hasGuardianFile)
      #expect(capture.adverts.all.filter { $0.entry.priority == 0 }.count == 1)
      let isLeft = try stage.hasVIP()
      #expect(!isLeft)
    }
  }

  @Test func `a guardian that slept, and a daemon that is slow, are no reason to give up`() throws {
    try story { stage, daemon, guardian, capture, addresses in
      kill(guardian, SIGSTOP)
      usleep(700_000)
      kill(guardian, SIGCONT)
      for _ in 0..<10 {
        daemon.signal(SIGSTOP)
        usleep(30_000)
        daemon.signal(SIGCONT)
        usleep(30_000)
      }
      // Both at once, as when a whole machine stands still.
      kill(guardian, SIGSTOP)
      daemon.signal(SIGSTOP)
      usleep(700_000)
      kill(guardian, SIGCONT)
      daemon.signal(SIGCONT)
      usleep(700_000)
      #expect(!capture.adverts.all.contains { $0.entry.priority == 0 })
      #expect(!addresses.changes.all.contains { !$0.entry })
      #expect(isRunning(guardian))
      #expect(daemon.vipState == "active")
    }
  }
}
