import Basis
import Glibc
import Health
import Linux
import Node
import Prober

/// The runner's thread: when each tracker is looked at, and what is under way.
final class TrackerLoop {
  enum Message: Sendable {
    case targets([TrackerTarget])
    /// A check of the prober ended, with the number that it was given.
    case checked(Int, UInt64, CheckResult)
    case stop
  }

  fileprivate struct Slot {
    var target: TrackerTarget
    var next: Instant
    var command: CommandRun?
    /// Of a check under way; its deadline is the prober's.
    var probe: UInt64?
    var process: ProcessWatch?
  }

  private let reactor: Reactor
  private let mailbox: Mailbox<Message>
  private let report: TrackerRunner.Report
  private var slots: [Slot]
  private var prober: Prober?
  private var probes: UInt64 = 0
  private let news: KernelNews?
  /// Interfaces and routes are looked at then, because the kernel told of a change.
  private var newsDue: Instant?

  /// A burst of changes is one look.
  private static let newsPause = Duration.milliseconds(5)

  init(
    _ targets: [TrackerTarget], _ mailbox: Mailbox<Message>, _ report: @escaping TrackerRunner.Report
  ) throws(SystemError) {
    self.report = report
    self.mailbox = mailbox
    slots = []
    reactor = try Reactor(batch: 64)
    // Without it changes are seen with the next look.
    news = try? KernelNews()
    try mailbox.attach(to: reactor) { [unowned self] in receive($0) }
    if let news {
      try reactor.register(news.descriptor, .readable) { [unowned self] _ in
        news.drain()
        if newsDue == nil { newsDue = Clock.now() + Self.newsPause }
      }
    }
    replace(targets)
  }

  func run() {
    while true {
      do {
        try reactor.run(deadline: { [unowned self] in deadline }, onDeadline: { [unowned self] in due(at: $0) })
        break
      } catch {
        // The kernel is short of something: trackers must go on when it no longer is.
        usleep(100_000)
      }
    }
    for index in slots.indices { end(index) }
    prober?.stop()
  }

  private func receive(_ message: Message) {
    switch message {
    case .targets(let targets): replace(targets)
    case .checked(let index, let number, let result): checked(index, number, result)
    case .stop: reactor.stop()
    }
  }

  private func replace(_ targets: [TrackerTarget]) {
    let now = Clock.now()
    for index in slots.indices where index >= targets.count || slots[index].target != targets[index] { end(index) }
    slots = targets.enumerated().map { index, target in
      if slots.indices.contains(index), slots[index].target == target { return slots[index] }
      return Slot(target: target, next: now)
    }
    let checks = slots.map { slot -> CheckTarget in
      if case .check(let target) = slot.target.source { return target }
      // A place that is never asked for.
      return CheckTarget(address: .v4(.init(rawValue: 0)), port: 0, check: .tcp)
    }
    guard slots.contains(where: \.isCheck) else { return }
    // The prober forgets what it does when its targets change: those looks end with nothing.
    for index in slots.indices { slots[index].probe = nil }
    if let prober {
      prober.replace(checks)
    } else {
      prober = try? Prober(checks) { [mailbox] in mailbox.send(.checked($0, $1, $2)) }
    }
  }

  private func end(_ index: Int) {
    slots[index].command?.kill()
    if let command = slots[index].command { forget(command) }
    slots[index].command = nil
    slots[index].process?.end(reactor)
    slots[index].process = nil
    slots[index].probe = nil
  }

  // MARK: Time

  private var deadline: Instant? {
    var deadline = newsDue
    for slot in slots {
      if let command = slot.command {
        deadline = earlier(deadline, command.deadline)
      } else if slot.isWatching {
        deadline = earlier(deadline, slot.next)
      }
    }
    return deadline
  }

  private func due(at now: Instant) {
    let hasNews = newsDue.map { $0 <= now } ?? false
    if hasNews { newsDue = nil }
    for index in slots.indices {
      if let command = slots[index].command {
        if command.deadline <= now { overdue(index, command, at: now) }
      } else if slots[index].isWatching, slots[index].next <= now || (hasNews && slots[index].hearsNews) {
        slots[index].next = now + max(slots[index].target.every, TrackerTarget.shortest)
        look(index, at: now)
      }
    }
  }

  // MARK: Looking

  private func look(_ index: Int, at now: Instant) {
    switch slots[index].target.source {
    case .none: break
    case .interface(let name): report(index, Looks.interface(name))
    case .route(let prefix, let table): report(index, Looks.route(prefix, table: table))
    case .file(let path, let condition): report(index, Looks.file(path, condition))
    case .process(let name): lookForProcess(index, name)
    case .command(let arguments, let user): start(index, arguments, user, at: now)
    case .check: startCheck(index)
    }
  }

  private func lookForProcess(_ index: Int, _ name: String) {
    if slots[index].process?.isAlive == true { return report(index, .good) }
    slots[index].process?.end(reactor)
    slots[index].process = nil
    switch ProcessWatch.find(name) {
    case .failure(let error): report(index, .unknown("\(error)"))
    case .success(nil): report(index, .bad("no process \(name) runs"))
    case .success(let watch?):
      watch.begin(reactor) { [unowned self] in
        // Its end: another one of that name may run.
        lookForProcess(index, name)
      }
      slots[index].process = watch
      report(index, .good)
    }
  }

  private func startCheck(_ index: Int) {
    // The prober answers each number, or a later one: one that is missing was lost with its targets.
    guard let prober else { return report(index, .unknown("checks can't be performed here")) }
    guard slots[index].probe == nil else { return }
    probes += 1
    slots[index].probe = probes
    prober.probe(index, number: probes)
  }

  private func checked(_ index: Int, _ number: UInt64, _ result: CheckResult) {
    guard slots.indices.contains(index), slots[index].probe == number else { return }
    slots[index].probe = nil
    switch result.verdict {
    case .passed: report(index, .good)
    case .failed: report(index, .bad(result.message))
    case .unknown: report(index, .unknown(result.message))
    }
  }

  // MARK: Commands

  private func start(_ index: Int, _ arguments: [String], _ user: String?, at now: Instant) {
    let timeout = slots[index].target.timeout
    let command: CommandRun
    do throws(SystemError) {
      command = try CommandRun(arguments, user: user, deadline: now + timeout)
      slots[index].command = command
      command.exit = try reactor.register(command.pidfd.rawValue, .readable) { [unowned self, unowned command] _ in
        ended(index, command)
      }
      command.output = try reactor.register(command.pipe.rawValue, .readable) { [unowned self, unowned command] _ in
        if !command.read() { closeOutput(command) }
        if command.isFlooding { finish(index, command, .bad("it wrote more than \(CommandRun.mostOutput) bytes")) }
      }
    } catch {
      if let command = slots[index].command {
        finish(index, command, .unknown("\(error)"))
      } else {
        report(index, .unknown("\(error)"))
      }
    }
  }

  private func ended(_ index: Int, _ command: CommandRun) {
    _ = command.read()
    let verdict = command.verdict()
    finish(index, command, verdict)
  }

  private func overdue(_ index: Int, _ command: CommandRun, at now: Instant) {
    // Whoever notices this very late was stalled, and can't blame the command.
    let isLate = now - command.deadline > slots[index].target.timeout / 2
    let message = "it did not end within \(slots[index].target.timeout.words)"
    finish(index, command, isLate ? .unknown("this node was stalled meanwhile") : .bad(message))
  }

  /// What it started goes with it, unless it has left the process group, which is killed in any case.
  private func finish(_ index: Int, _ command: CommandRun, _ result: TrackReport) {
    command.kill()
    forget(command)
    slots[index].command = nil
    report(index, result)
  }

  private func forget(_ command: CommandRun) {
    closeOutput(command)
    if let exit = command.exit { reactor.unregister(exit) }
    command.exit = nil
  }

  private func closeOutput(_ command: CommandRun) {
    if let output = command.output { reactor.unregister(output) }
    command.output = nil
  }
}

extension TrackerLoop.Slot {
  fileprivate var isCheck: Bool { if case .check = target.source { true } else { false } }
  fileprivate var isWatching: Bool { target.source != .none }
  fileprivate var hearsNews: Bool {
    switch target.source {
    case .interface, .route: true
    default: false
    }
  }
}
