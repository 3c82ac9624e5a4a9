import Linux
import Telemetry

/// The loop before every ordinary program: its adverts go out in time on a machine that is busy with other things.
///
/// It can't hang the machine: the guardian, which has a higher priority, takes the loop's away where it uses 200 ms of processor time
/// without a pause (`SpinWatch`), and the kernel keeps a share of each processor for ordinary programs (sched(7), `sched_rt_runtime_us`).
enum Realtime {
  /// For the calling thread, the loop, and for the memory of the process. What is not allowed is left: everything works without.
  static func begin(_ log: Log) {
    do throws(SystemError) {
      try Scheduling.becomeRealtime(priority: Scheduling.loopPriority)
    } catch {
      log.write(
        .notice, "the loop runs without real-time priority, so its adverts may be late on a busy machine: \(error)")
    }
    Scheduling.makeTimersPrecise()
    guard Scheduling.mayLockMemory else { return }
    do throws(SystemError) {
      try Scheduling.lockMemory()
      Scheduling.touchStack()
    } catch {
      log.write(.notice, "memory is not locked: \(error)")
    }
  }
}
