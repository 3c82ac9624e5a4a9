import Basis
import CLinux
import Glibc
import Synchronization

/// The signs of life in the record. Times are CLOCK_MONOTONIC's: a machine that was suspended has not been silent.
extension OwnershipRecord {
  public static func now() -> Instant { Instant(nanoseconds: clinux_monotonic_ns()) }

  // MARK: The loop's

  /// The calling thread is the loop, and holds the lock of life until it ends: the kernel gives it away at that very moment.
  public func beginLife() throws(SystemError) {
    sign(.loopThread) { $0.store(UInt64(clinux_thread_id()), ordering: .relaxed) }
    beat()
    workersBeat()
    let code = clinux_life_hold(base + Sign.life.rawValue)
    guard code == 0 else { throw SystemError(call: "pthread_mutex_lock", code: code, subject: "the ownership record") }
  }

  /// The loop ends in order. Call it on the loop's thread.
  public func endLife() { _ = clinux_life_release(base + Sign.life.rawValue) }

  /// The loop turned. One clock reading and two stores.
  public func beat() {
    sign(.beat) { $0.store(UInt64(bitPattern: clinux_monotonic_ns()), ordering: .releasing) }
    _ = sign(.turns) { $0.wrappingAdd(1, ordering: .relaxed) }
  }

  /// Every proxy worker has turned a short while ago; without workers that is always so.
  public func workersBeat() {
    sign(.workersBeat) { $0.store(UInt64(bitPattern: clinux_monotonic_ns()), ordering: .releasing) }
  }

  public var lastBeat: Instant { instant(.beat) }
  public var lastWorkersBeat: Instant { instant(.workersBeat) }
  /// The loop's thread, as the kernel numbers it.
  public var loopThread: Int32 { Int32(truncatingIfNeeded: sign(.loopThread) { $0.load(ordering: .relaxed) }) }
  public var process: Int32 { Int32(truncatingIfNeeded: sign(.process) { $0.load(ordering: .relaxed) }) }

  // MARK: The guardian's

  /// What became of waiting for the loop's end.
  public enum Wait: Sendable, Hashable {
    /// The time is over, and the loop's thread lives.
    case lives
    /// It is gone without a word.
    case died
    /// It ended in order, or was never there.
    case ended
  }

  /// Waits for the end of the loop's thread, at most until that time of `now()`.
  public func awaitDeath(until: Instant) -> Wait {
    switch clinux_life_await(base + Sign.life.rawValue, until.nanoseconds) {
    case 0:
      _ = clinux_life_release(base + Sign.life.rawValue)
      return .ended
    case EOWNERDEAD: return .died
    case ETIMEDOUT: return .lives
    default:
      // Not a state that a lock of ours can be in. Whoever asks goes by the beat then, and by the process's descriptor.
      usleep(1000)
      return .lives
    }
  }

  /// Changes when the guardian has deposed: the loop looks at it at each wake-up, and before it sends.
  public var epoch: UInt64 { sign(.epoch) { $0.load(ordering: .sequentiallyConsistent) } }
  public func bumpEpoch() { _ = sign(.epoch) { $0.wrappingAdd(1, ordering: .sequentiallyConsistent) } }

  public func guardianBeat() {
    sign(.guardianProcess) { $0.store(UInt64(getpid()), ordering: .relaxed) }
    sign(.guardianBeat) { $0.store(UInt64(bitPattern: clinux_monotonic_ns()), ordering: .releasing) }
  }
  public var lastGuardianBeat: Instant { instant(.guardianBeat) }
  public var guardianProcess: Int32 {
    Int32(truncatingIfNeeded: sign(.guardianProcess) { $0.load(ordering: .relaxed) })
  }

  private func instant(_ sign: Sign) -> Instant {
    Instant(nanoseconds: Int64(bitPattern: self.sign(sign) { $0.load(ordering: .acquiring) }))
  }
}
