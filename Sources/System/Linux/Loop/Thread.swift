import CLinux
import Glibc
import Synchronization

/// A thread of its own, for a reactor: named, with all signals blocked (they go to whoever has a `SignalReader`).
public final class Thread: Sendable {
  private let handle: Mutex<pthread_t?>

  private init(_ handle: pthread_t) { self.handle = Mutex(handle) }

  /// - Parameters:
  ///   - name: what `ps -L` and `top -H` show; the kernel keeps 15 bytes.
  ///   - stackSize: in bytes; 0 takes the system's default (8 MiB of address space).
  public static func start(
    named name: String, stackSize: Int = 0, _ body: @escaping @Sendable () -> Void
  ) throws(SystemError) -> Thread {
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    if stackSize > 0 {
      pthread_attr_setstacksize(&attributes, max(stackSize, Int(sysconf(Int32(_SC_THREAD_STACK_MIN)))))
    }

    // A thread starts with its creator's mask, so block here while it is made.
    var all = sigset_t()
    var previous = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_SETMASK, &all, &previous)
    defer { pthread_sigmask(SIG_SETMASK, &previous, nil) }

    let start = Unmanaged.passRetained(Start(name: name, body: body))
    var handle = pthread_t()
    let code = pthread_create(
      &handle, &attributes,
      { argument in
        guard let argument else { return nil }
        let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
        clinux_name_thread(start.name)
        start.body()
        return nil
      }, start.toOpaque())
    guard code == 0 else {
      start.release()
      throw SystemError(call: "pthread_create", code: code, subject: name)
    }
    return Thread(handle)
  }

  /// Waits until the thread's body has returned. A second call returns at once.
  public func join() {
    let handle = handle.withLock { handle in
      defer { handle = nil }
      return handle
    }
    if let handle { pthread_join(handle, nil) }
  }

  deinit {
    handle.withLock { if let handle = $0 { _ = pthread_detach(handle) } }
  }

  private final class Start: Sendable {
    let name: String
    let body: @Sendable () -> Void
    init(name: String, body: @escaping @Sendable () -> Void) {
      self.name = name
      self.body = body
    }
  }
}

/// How the calling thread is treated by the scheduler and by memory management.
public enum Scheduling {
  /// Of the loop under SCHED_FIFO: above every ordinary program, below the kernel's interrupt threads (50).
  public static let loopPriority: Int32 = 10

  /// Whether `lockMemory` is without danger: where locked memory has a limit, a later allocation would fail at it.
  public static var mayLockMemory: Bool { clinux_may_lock_memory() == 1 }

  /// Touches the calling thread's stack as deep as it will be used, so that no page of it is missing when time counts.
  public static func touchStack() { clinux_touch_stack() }

  /// Puts the calling thread under SCHED_FIFO, so that ordinary programs cannot make it late. Threads and processes that it starts
  /// do not inherit that. Fails with EPERM without CAP_SYS_NICE.
  /// - Parameter priority: 1-99; the kernel's own interrupt threads have 50.
  public static func becomeRealtime(priority: Int32) throws(SystemError) {
    try SystemError.check("sched_setscheduler", "SCHED_FIFO \(priority)") { clinux_set_fifo(priority) }
  }

  /// Puts the calling thread before ordinary programs that want to run, without taking a processor from them for longer than its share:
  /// for a thread whose work is soon done, but not bounded. What it starts does not inherit that. Fails with EPERM or EACCES without
  /// CAP_SYS_NICE.
  public static func becomePreferred() throws(SystemError) {
    try SystemError.check("setpriority") { clinux_set_nice(-20) }
  }

  /// Lets the calling thread's timers fire when they are due, instead of within the usual 50 µs after.
  public static func makeTimersPrecise() { _ = clinux_set_timer_slack(1) }

  /// Keeps in memory whatever this process touches, so that no page fault to a disk delays the loop. Pages never touched cost nothing.
  public static func lockMemory() throws(SystemError) {
    try SystemError.check("mlockall", "MCL_ONFAULT") { clinux_lock_memory() }
  }
}
