import Basis
import CLinux
import Glibc
import Synchronization
import Testing

@testable import Guardian
@testable import Linux

struct LifelineTests {
  /// Stands still, and goes on when the one that holds it dies.
  @Test func `who is held when its holder dies goes on, and who was stopped by others doesn't`() throws {
    let daemon = try spawnSleeper()
    defer {
      kill(daemon, SIGKILL)
      waitpid(daemon, nil, 0)
    }
    for isHeld in [false, true] {
      let (line, far) = try Lifeline.make(for: daemon)
      // What the guardian has: both ends.
      var arguments: [UnsafeMutablePointer<CChar>?] = [strdup("sleep"), strdup("1000"), nil]
      defer { for argument in arguments { free(argument) } }
      let holder = clinux_guardian_spawn("/bin/sleep", &arguments, environ, [line.descriptor, far.descriptor], 2)
      try #require(holder > 0)
      // Here, only the end that is told.
      withExtendedLifetime(consume far) {}
      if isHeld { line.tie() }
      kill(daemon, SIGSTOP)
      #expect(eventually { state(daemon) == UInt8(ascii: "T") })
      kill(holder, SIGKILL)
      waitpid(holder, nil, 0)
      if isHeld {
        #expect(eventually { state(daemon) == UInt8(ascii: "S") })
      } else {
        usleep(100_000)
        #expect(state(daemon) == UInt8(ascii: "T"))
      }
      kill(daemon, SIGCONT)
    }
  }
}

struct HoldTests {
  /// Whether the kernel would continue the daemon if the guardian died now.
  private func isTied(_ line: Lifeline) -> Bool { fcntl(line.descriptor, F_GETFL) & O_ASYNC != 0 }

  @Test func `the guardian's death is provided for while it holds the daemon, and not while others do`() throws {
    let daemon = try spawnSleeper()
    defer {
      kill(daemon, SIGKILL)
      waitpid(daemon, nil, 0)
    }
    let record = try OwnershipRecord(capacity: 1)
    record.sign(.loopThread) { $0.store(UInt64(daemon), ordering: .relaxed) }
    let (line, far) = try Lifeline.make(for: daemon)
    defer { withExtendedLifetime(far) {} }
    let process = WatchedProcess(
      pid: daemon, handle: Descriptor(owning: try SystemError.check("pidfd_open") { clinux_pidfd_open(daemon) }),
      lifeline: line)
    let book = ChargeBook(record) { farewell, _, _ in farewell.message }
    let releaser = Releaser(record, book, process) { _, done in done() }
    for isStopped in [false, true] {
      if isStopped { kill(daemon, SIGSTOP) }
      #expect(eventually { (state(daemon) == UInt8(ascii: "T")) == isStopped })
      #expect(!isTied(line))
      var asked = 0
      let outcome = releaser.releaseAlive([0], [], .silence, silence: .seconds(1)) {
        asked += 1
        #expect(state(daemon) == UInt8(ascii: "T"))
        #expect(isTied(line) == !isStopped)
        return true
      }
      #expect(outcome == nil && asked == 1)
      #expect(!isTied(line))
      #expect(eventually { (state(daemon) == UInt8(ascii: "T")) == isStopped })
    }
  }
}
