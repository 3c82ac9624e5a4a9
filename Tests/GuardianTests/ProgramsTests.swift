import Basis
import Glibc
import Linux
import Testing

/// What the daemon runs ends with it, and a hook with the ownership that it is for: real programs, each with a child of its own.
@Suite(.serialized, .enabled(if: canMakeNamespaces && roostProgram != nil, needsRoot))
struct ProgramsTests {
  /// The leader and its child, once they run.
  private struct Running {
    let leader: Int32
    let child: Int32
    var isGone: Bool { !isRunning(leader) && !isRunning(child) }

    init?(_ name: String, in place: String) {
      func number(_ kind: String) -> Int32? {
        guard let text = try? shell("cat \(place)/\(name).\(kind) 2>/dev/null || true") else { return nil }
        return Int32(text.split(separator: "\n").first ?? "")
      }
      guard eventually({ number("pid") != nil }), let leader = number("pid"), let child = number("child") else {
        return nil
      }
      (self.leader, self.child) = (leader, child)
    }
  }

  private func story(_ body: (Stage, Daemon, _ hook: Running, _ tracker: Running) throws -> Void) throws {
    try Stage.run { stage in
      let place = try stage.makePrograms()
      let daemon = try stage.start("lb1", programs: place)
      guard let hook = Running("hook", in: place), let tracker = Running("tracker", in: place) else {
        Issue.record("the programs never ran: \(daemon.logText)")
        return
      }
      // Whatever a test finds, nothing of it stays.
      defer { for leader in [hook.leader, tracker.leader] { kill(-leader, SIGKILL) } }
      #expect(isRunning(hook.child) && isRunning(tracker.child))
      #expect(try shell("stat -c %U /proc/\(tracker.leader)").hasPrefix("nobody"))
      try body(stage, daemon, hook, tracker)
    }
  }

  @Test func `after kill -9 no program is left, and nothing that one has started`() throws {
    try story { stage, daemon, hook, tracker in
      daemon.signal(SIGKILL)
      #expect(eventually { hook.isGone && tracker.isGone })
      #expect(stage.hasNoVIPSoon())
    }
  }

  @Test func `without a guardian the kernel ends the programs themselves, whoever they run as`() throws {
    try story { _, daemon, hook, tracker in
      let guardian = try #require(eventually { daemon.guardian != nil } ? daemon.guardian : nil)
      // In this order: a guardian that still runs would do it.
      kill(guardian, SIGSTOP)
      daemon.signal(SIGKILL)
      #expect(eventually { !isRunning(hook.leader) && !isRunning(tracker.leader) })
      kill(guardian, SIGKILL)
    }
  }

  @Test func `a hook is ended with the ownership that it is for, and a tracker goes on`() throws {
    try story { _, daemon, hook, tracker in
      try shell("ip link set eth0 down")
      #expect(eventually { hook.isGone }, "\(daemon.logText)")
      #expect(!tracker.isGone && !daemon.isGone())
      #expect(eventually { daemon.logText.contains("before-announcing was ended") })
    }
  }

  @Test func `the hook of a daemon that stands still is ended by the guardian`() throws {
    try story { stage, daemon, hook, tracker in
      daemon.signal(SIGSTOP)
      #expect(stage.hasNoVIPSoon())
      #expect(eventually { hook.isGone })
      #expect(!tracker.isGone)
      daemon.signal(SIGCONT)
      #expect(eventually { daemon.logText.contains("before-announcing was ended") })
    }
  }

  @Test func `a polite stop leaves no program either`() throws {
    try story { _, daemon, hook, tracker in
      daemon.signal(SIGTERM)
      #expect(eventually { daemon.isGone() })
      #expect(eventually { hook.isGone && tracker.isGone })
    }
  }
}

struct ProgramRecordTests {
  @Test func `as many programs are known as there are places, and each place is free again`() throws {
    let record = try OwnershipRecord(capacity: 1)
    // Numbers that no process has: nothing here is killed.
    var places: [Int] = []
    while let place = record.enter(program: Int32.max, claiming: nil) { places.append(place) }
    #expect(Set(places).count == places.count && places.count >= 256)
    record.leave(places[7])
    record.leave(nil)
    #expect(record.enter(program: Int32.max, claiming: 3) == places[7])
    record.killPrograms(claiming: [2, 3])
    record.killPrograms()
  }
}
