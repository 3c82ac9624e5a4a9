import Basis
import Glibc
import Testing

@testable import Guardian
@testable import Linux

/// What stands still for another reason than that it is dead: a daemon behind a debugger, a guardian that was stopped.
@Suite(.serialized, .enabled(if: canMakeNamespaces && roostProgram != nil, needsRoot))
struct HangTests {
  /// Traces and stops every thread of the daemon, until it is killed.
  private func attachDebugger(to daemon: Daemon, _ stage: Stage) throws -> Int32 {
    let program = """
      import ctypes, os, time
      libc = ctypes.CDLL(None, use_errno=True)
      for task in os.listdir("/proc/\(daemon.pid)/task"):
        assert libc.ptrace(0x4206, int(task), None, None) == 0  # PTRACE_SEIZE
        assert libc.ptrace(0x4207, int(task), None, None) == 0  # PTRACE_INTERRUPT
      print("held", flush=True)
      time.sleep(1000)
      """
    let log = "\(stage.folder)/debugger.log"
    try shell("cat > \(stage.folder)/debugger.py << 'END'\n\(program)\nEND")
    let text = try shell("/usr/bin/python3 \(stage.folder)/debugger.py > \(log) 2>&1 & echo $!")
    let python = try #require(Int32(text.split(separator: "\n").first ?? ""))
    guard try eventually({ try shell("cat \(log)").contains("held") }) else {
      kill(python, SIGKILL)
      throw ShellFailure(command: "debugger", output: try shell("cat \(log)"))
    }
    return python
  }

  @Test func `a daemon that a debugger holds loses the VIP, and goes on when the debugger leaves`() throws {
    try Stage.run { stage in
      let daemon = try stage.start("lb1")
      try #require(eventually { try stage.hasVIP() && daemon.guardian != nil }, "\(daemon.logText)")
      let debugger = try attachDebugger(to: daemon, stage)
      defer { kill(debugger, SIGKILL) }
      #expect(stage.hasNoVIPSoon())
      // Until the guardian has let go of it.
      usleep(500_000)
      kill(debugger, SIGKILL)
      #expect(eventually { daemon.logText.contains("while the loop stood still, the guardian gave up 1 VIP") })
      #expect(eventually { daemon.vipState == "active" }, "\(daemon.logText)")
    }
  }

  @Test func `a guardian that is stopped is noticed and replaced, and the VIP stays`() throws {
    try Stage.run { stage in
      let daemon = try stage.start("lb1")
      try #require(eventually { try stage.hasVIP() && daemon.logText.contains("the guardian watches") })
      let guardian = try #require(daemon.guardian)
      let addresses = try AddressLog(on: stage.here)
      kill(guardian, SIGSTOP)
      #expect(eventually { daemon.logText.contains("the guardian (process \(guardian)) has not turned for") })
      #expect(eventually { daemon.guardian.map { $0 != guardian } ?? false }, "\(daemon.logText)")
      #expect(!isRunning(guardian))
      let other = try #require(daemon.guardian)
      #expect(eventually { daemon.logText.contains("the guardian watches, as process \(other)") })
      #expect(eventually { daemon.status.contains("guardian: watching (\(other))") }, "\(daemon.status)")
      let isNeverRemoved = !addresses.changes.all.contains { !$0.entry }
      #expect(isNeverRemoved)
      daemon.signal(SIGKILL)
      #expect(stage.hasNoVIPSoon())
    }
  }

  @Test func `the next life kills a guardian that was stopped, and has one of its own`() throws {
    try Stage.run { stage in
      let first = try stage.start("lb1")
      try #require(eventually { try stage.hasVIP() && first.guardian != nil }, "\(first.logText)")
      let old = try #require(first.guardian)
      kill(old, SIGSTOP)
      first.signal(SIGKILL)
      #expect(eventually { first.isGone() })
      let second = try stage.start("lb1")
      #expect(eventually { second.logText.contains("the guardian of an earlier life (process \(old))") })
      #expect(eventually { second.vipState == "active" }, "\(second.logText)")
      #expect(!isRunning(old))
      #expect(eventually { second.guardian.map { $0 != old && isRunning($0) } ?? false })
      second.signal(SIGKILL)
      #expect(stage.hasNoVIPSoon())
    }
  }
}

struct GuardianFileTests {
  @Test func `a guardian that was dismissed knows it, and leaves its successor's file alone`() throws {
    var name = Array("/tmp/roost-guardian-XXXXXX".utf8CString)
    try #require(mkdtemp(&name) != nil)
    let folder = String(decoding: name.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    defer { _ = try? shell("rm -rf \(folder)") }
    let path = "\(folder)/guardian.pid"
    #expect(GuardianFile.dismiss(path, sparing: nil) == nil)
    let old = try #require(GuardianFile(path, unless: { false }, waiting: {}))
    #expect(GuardianFile.dismiss(path, sparing: getpid()) == nil && !old.isDismissed)
    // Who removes the file dismisses nobody.
    unlink(path)
    #expect(!old.isDismissed)
    let second = try #require(GuardianFile(path, unless: { false }, waiting: {}))
    // This process is no guardian, so it is left alive.
    #expect(GuardianFile.dismiss(path, sparing: nil) == .dismissed)
    #expect(second.isDismissed)
    let third = try #require(GuardianFile(path, unless: { false }, waiting: {}))
    second.remove()
    #expect(!third.isDismissed && access(path, F_OK) == 0)
    third.remove()
    #expect(access(path, F_OK) != 0)
  }
}
