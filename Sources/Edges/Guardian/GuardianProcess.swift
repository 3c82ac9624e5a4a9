import Basis
import CLinux
import Glibc
import Linux

/// The guardian: a tiny second process beside the daemon, that makes its death or stall as quick as a polite stop.
///
/// ```
///                     the ownership record (shared memory)
///   daemon  ◄──────── generations, beats, epoch, lock of life ────────►  guardian
///      │                                                                    │ watch: waits for death or silence
///      └── charges, its VRRP sockets ──► a pair of sockets ──► clerk ───────┘
///                                                              erases, and keeps erasing until the daemon knows
/// ```
/// It is the same binary as the daemon, started by it (`GuardianKeeper`), in a session of its own. It ignores SIGTERM, SIGINT and SIGHUP,
/// for service managers send these to every process of a unit: the daemon is asked to stop by them, and says goodbye to its
/// guardian when it has; a guardian that had gone first would leave the last moments of the daemon unguarded. It ends by itself, within
/// milliseconds, when the daemon is dead and all that it owned is released, so a unit is never held up by it: KillMode=control-group
/// and mixed both suit. SIGKILL to both at once leaves only the kernel's lease (and `roost release`, where the manager runs it).
public enum GuardianProcess {
  /// The descriptors that it is started with.
  static let channelDescriptor: Int32 = 3
  static let recordDescriptor: Int32 = 4
  static let processDescriptor: Int32 = 5
  static let lifelineDescriptor: Int32 = 6
  /// Its far end, which is closed when this process dies and not before.
  static let lifelineEndDescriptor: Int32 = 7

  /// Above the loop's, so that it can take a spinning loop's priority away; it does next to nothing.
  public static let priority = Scheduling.loopPriority + 1

  /// Runs as the guardian of whoever started this process. Gives the process's exit code.
  /// - Parameters:
  ///   - pidFile: a file that holds its number, and is locked, while it runs.
  ///   - isRealtime: run under SCHED_FIFO and keep what it touches in memory, where that is allowed.
  public static func run(pidFile: String?, isRealtime: Bool, sign: @escaping GuardianSigner) -> Int32 {
    for number in [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE] { signal(number, SIG_IGN) }
    clinux_name_thread("roost-guardian")
    _ = clinux_hide_memory()
    for number in channelDescriptor...lifelineEndDescriptor {
      guard fcntl(number, F_SETFD, FD_CLOEXEC) == 0 else {
        complain("this command is started by `roost run`, not by hand")
        return 2
      }
    }
    do throws(SystemError) {
      let channel = Channel(Descriptor(owning: channelDescriptor))
      let record = try OwnershipRecord(sharing: Descriptor(owning: recordDescriptor))
      let process = WatchedProcess(
        pid: record.process, handle: Descriptor(owning: processDescriptor),
        lifeline: Lifeline(Descriptor(owning: lifelineDescriptor)))
      let file = pidFile.flatMap {
        GuardianFile($0, unless: { process.isDead }, waiting: { record.guardianBeat() })
      }
      defer { file?.remove() }
      if isRealtime {
        becomeRealtime()
        if Scheduling.mayLockMemory { try? Scheduling.lockMemory() }
      }
      let clerk = try Clerk(record, channel, process, isRealtime: isRealtime, sign: sign) {
        guard file?.isDismissed == true else { return }
        complain("another life has begun without this guardian, which was stopped or hung; it ends and touches nothing")
        _exit(1)
      }
      try clerk.run()
      return 0
    } catch {
      complain("\(error)")
      return 1
    }
  }

  /// The calling thread. Where it is not allowed, everything works, only later under load.
  static func becomeRealtime() {
    try? Scheduling.becomeRealtime(priority: priority)
    Scheduling.makeTimersPrecise()
  }

  /// For the time when there is no daemon to tell.
  static func complain(_ text: String) {
    let bytes = Array("roost-guardian: \(text)\n".utf8)
    _ = write(STDERR_FILENO, bytes, bytes.count)
  }
}
