import Basis
import Glibc
import Linux
import Synchronization

/// Tells others what happens on this node: each of them everything it wants, in order, once at least.
///
/// Each target has a queue and a thread of its own, so that one that hangs delays nobody else. What is told is JSON that others made.
/// Whoever calls `tell` only puts it into queues.
public final class Notifier: Sendable {
  /// Is called on a target's thread.
  public typealias Report = @Sendable (NotifyTrouble) -> Void

  private let limits: NotifyLimits
  private let report: Report
  private let couriers: Mutex<[Courier]>

  public init(
    _ targets: [NotificationTarget], limits: NotifyLimits = NotifyLimits(), report: @escaping Report
  ) throws(SystemError) {
    self.limits = limits
    self.report = report
    var made: [Courier] = []
    do throws(SystemError) {
      for target in targets { made.append(try Courier(target, limits, report)) }
    } catch {
      for courier in made { courier.end() }
      throw error
    }
    couriers = Mutex(made)
  }

  deinit { for courier in couriers.withLock({ $0 }) { courier.end() } }

  /// Whether anybody wants to know; where nobody does, there is no need to make JSON.
  public func isWanted(_ kind: String) -> Bool { couriers.withLock { $0.contains { $0.target.wants(kind) } } }

  /// From any thread; never waits.
  public func tell(_ kind: String, _ json: [UInt8]) {
    couriers.withLock { couriers in
      for courier in couriers where courier.target.wants(kind) { courier.take(json) }
    }
  }

  /// From here on these are told. Those that are as they were keep what waits for them; what waits for others is dropped.
  public func replace(_ targets: [NotificationTarget]) throws(SystemError) {
    let old = couriers.withLock { $0 }
    var next: [Courier] = []
    do throws(SystemError) {
      for target in targets {
        if let known = old.first(where: { $0.target == target }) {
          next.append(known)
        } else {
          next.append(try Courier(target, limits, report))
        }
      }
    } catch {
      for courier in next where !old.contains(where: { $0 === courier }) { courier.end() }
      throw error
    }
    couriers.withLock { $0 = next }
    for courier in old where !next.contains(where: { $0 === courier }) { courier.end() }
  }

  /// Tells what waits, each event once, for as long as that; the rest is dropped.
  public func stop(within limit: Duration) {
    let couriers = couriers.withLock { couriers in
      defer { couriers = [] }
      return couriers
    }
    for courier in couriers { courier.hurry() }
    let deadline = Clock.now() + limit
    // A look-up of a name can't be called off, so nobody waits for the threads themselves.
    while couriers.contains(where: { !$0.isDone }), Clock.now() < deadline { usleep(5_000) }
    for courier in couriers { courier.end() }
  }
}

extension NotificationTarget {
  func wants(_ kind: String) -> Bool { kinds.isEmpty || kinds.contains(kind) }
}

/// Tells one target.
final class Courier: Sendable {
  let target: NotificationTarget
  private let state: Mutex<State>
  private let waker: Waker
  private let limits: NotifyLimits

  private struct State {
    enum Phase { case running, hurrying, ending }
    var waiting: [[UInt8]] = []
    var dropped = 0
    var phase = Phase.running
    var isDone = false
  }

  init(
    _ target: NotificationTarget, _ limits: NotifyLimits, _ report: @escaping Notifier.Report
  ) throws(SystemError) {
    self.target = target
    self.limits = limits
    let waker = try Waker()
    self.waker = waker
    state = Mutex(State())
    _ = try Thread.start(named: "roost-notify", stackSize: 512 * 1024) { [self] in
      run { report(NotifyTrouble(target: target.name, text: $0)) }
      state.withLock { $0.isDone = true }
    }
  }

  func take(_ json: [UInt8]) {
    let isFirst = state.withLock { state in
      guard state.phase == .running else { return false }
      guard state.waiting.count < limits.waiting else {
        state.dropped += 1
        return false
      }
      state.waiting.append(json)
      return state.waiting.count == 1
    }
    if isFirst { waker.wake() }
  }

  /// Each event that waits gets one attempt more, and then the thread ends.
  func hurry() { become(.hurrying) }
  /// The thread ends as soon as it can; nobody waits for it.
  func end() { become(.ending) }

  private func become(_ phase: State.Phase) {
    state.withLock { $0.phase = phase }
    waker.wake()
  }

  var isDone: Bool { state.withLock { $0.isDone } }

  // MARK: The thread

  private func run(_ report: (String) -> Void) {
    while let json = next() {
      deliver(json, report)
      let dropped = state.withLock { state in
        state.waiting.removeFirst()
        defer { state.dropped = 0 }
        return state.dropped
      }
      if dropped > 0 {
        report("\(dropped) events were not told to \(target.name): more than \(limits.waiting) waited")
        deliver(Array(#"{"kind":"dropped","count":\#(dropped)}"#.utf8), report)
      }
    }
  }

  /// What is to be told now, which stays first in its queue until it is; nil: the thread is to end.
  private func next() -> [UInt8]? {
    while true {
      waker.acknowledge()
      let (json, phase) = state.withLock { ($0.waiting.first, $0.phase) }
      switch (json, phase) {
      case (_, .ending), (nil, .hurrying): return nil
      case (let json?, _): return json
      case (nil, .running): wait(nil)
      }
    }
  }

  private func deliver(_ json: [UInt8], _ report: (String) -> Void) {
    var pause = limits.pause
    for attempt in 1...max(1, limits.attempts) {
      let outcome = attempt > 1 && phase == .ending ? Delivery.refused("this node stops") : attemptOnce(json)
      switch outcome {
      case .told: return
      case .refused(let why): return report("\(target.name) can't be told: \(why)")
      case .failed(let why):
        guard attempt < limits.attempts, phase == .running else {
          return report("\(target.name) was not told after \(attempt) attempts: \(why)")
        }
        if attempt == 1 { report("\(target.name) was not told yet: \(why); trying again") }
        let until = Clock.now() + pause
        while phase == .running, Clock.now() < until {
          waker.acknowledge()
          // What is new wakes it, too.
          if phase == .running { wait(until) }
        }
        pause = min(pause * 2, limits.longestPause)
      }
    }
  }

  private var phase: State.Phase { state.withLock { $0.phase } }

  private func attemptOnce(_ json: [UInt8]) -> Delivery {
    let deadline = Clock.now() + target.timeout
    switch target.action {
    case .command(let command):
      // As a line, so that a program may just append it to a file.
      switch Program.run(command, input: json.last == 0x0A ? json : json + [0x0A], until: deadline) {
      case .ended(0, _): return .told
      case .ended(let code, let output): return .failed("exit code \(code)\(output.isEmpty ? "" : ": \(output)")")
      case .killed(let signal): return .failed("it was ended by signal \(signal)")
      case .late: return .failed("it took longer than \(target.timeout.words), and was killed")
      case .unwanted: return .failed("it was ended")
      case .notStarted(let error): return .failed("\(error)")
      }
    case .webhook(let webhook): return webhook.post(json, until: deadline)
    }
  }

  private func wait(_ until: Instant?) {
    var ready = pollfd(fd: waker.descriptor, events: Int16(POLLIN), revents: 0)
    let timeout = until.map { Int32(clamping: max(0, ($0 - Clock.now()).nanoseconds / 1_000_000 + 1)) } ?? -1
    _ = poll(&ready, 1, timeout)
  }
}
