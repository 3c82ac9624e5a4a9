import Basis
import Configuration
import Glibc
import Linux
import Synchronization
import Telemetry

/// Takes changed configurations in, on a thread of its own: reads, judges, compares, has them put in place, and takes back what nobody
/// confirms. Whatever is wrong is known before anything changes.
final class ReloadCoordinator: Sendable {
  /// Has a plan put in place, and returns when it is: what can fail (sockets, keys) first, then by the loop. It is arranged after the
  /// plan that is in place. Called on the coordinator's thread.
  ///
  /// Throws with nothing changed.
  typealias Install = @Sendable (DaemonPlan) throws -> Void
  /// The nodes that the peer link connects now.
  typealias Linked = @Sendable () -> Set<String>

  /// What became of a request.
  enum Outcome: Sendable {
    case done(Report)
    /// Why nothing changed, in words, perhaps several lines.
    case refused(String)
  }

  /// `roost reload --json`.
  struct Report: Codable, Sendable, Hashable {
    /// One line for each part that changed.
    var changed: [String]
    /// What takes effect at the next start only.
    var at_restart: [String]
    var config_hash: String
    /// What is worth a look, in words.
    var warnings: String?
    /// How long there is to confirm it.
    var confirm_within_ms: Double?

    fileprivate mutating func warn(_ line: String) { warnings = warnings.map { "\($0)\n\(line)" } ?? line }
  }

  struct Options: Sendable {
    /// The configuration's file.
    var path: String
    /// The node that the daemon was told to be.
    var node: String?
    /// The state folder.
    var state: String
  }

  private enum Job: Sendable {
    case reload(@Sendable (Outcome) -> Void)
    case apply([UInt8], confirm: Duration?, @Sendable (Outcome) -> Void)
    case confirm(@Sendable (Outcome) -> Void)
    case takeOver
    case stop
  }

  private let jobs: Mailbox<Job>
  private let thread: Thread
  private let shared: Shared

  /// A configuration that is in place until somebody confirms it, or that could not be taken back yet.
  struct Waiting: Sendable, Hashable {
    /// Until when it has to be confirmed.
    var deadline: Instant
    /// Why it is not taken back, though the time is over.
    var trouble: String?
  }

  /// What others may see of the thread.
  private final class Shared: Sendable {
    let plan: Mutex<DaemonPlan>
    let waiting = Mutex<Waiting?>(nil)

    init(_ plan: DaemonPlan) { self.plan = Mutex(plan) }
  }

  /// - Parameters:
  ///   - plan: what is in place.
  ///   - recovery: what was found at the start.
  ///   - isActing: false where another process still is the daemon, until `takeOver`: then it is that one's to undo.
  ///   - disk: where the configuration and the promises are.
  ///   - pause: between attempts to take back what can't be taken back.
  init(
    _ plan: DaemonPlan, _ options: Options, recovery: FileExchange.Recovery = .init(), isActing: Bool = true,
    chronicle: Chronicle, log: Log, disk: any Disk = RealDisk(), pause: Duration = .seconds(10),
    linked: @escaping Linked = { [] },
    install: @escaping Install
  ) throws(SystemError) {
    let jobs = try Mailbox<Job>(capacity: 64)
    self.jobs = jobs
    shared = Shared(plan)
    let worker = Worker(
      options: options, exchange: FileExchange(options.path, promises: options.state, disk: disk), pause: pause,
      chronicle: chronicle, log: log, linked: linked, install: install, plan: plan, recovery: recovery,
      isActing: isActing, shared: shared)
    let start = Handover(worker: worker)
    thread = try Thread.start(named: "roost-reload", stackSize: 1024 * 1024) { start.worker.run(jobs) }
  }

  /// The plan that is in place, for whoever needs names or numbers off the loop.
  var plan: DaemonPlan { shared.plan.withLock { $0 } }

  /// What waits to be confirmed, if anything does.
  var waiting: Waiting? { shared.waiting.withLock { $0 } }

  /// Reads the file again. `then` is called on the coordinator's thread.
  func reload(then: @escaping @Sendable (Outcome) -> Void) { send(.reload(then), then) }

  /// Judges a text; then it takes the file's place, which is kept beside it, and is put in place.
  /// - Parameter confirm: without a `confirm` in that time everything is put back as it was, also if the daemon is another by then.
  func apply(_ bytes: [UInt8], confirm: Duration?, then: @escaping @Sendable (Outcome) -> Void) {
    send(.apply(bytes, confirm: confirm, then), then)
  }

  func confirm(then: @escaping @Sendable (Outcome) -> Void) { send(.confirm(then), then) }

  /// The process before this one has let go. What became of the promise since this one has read it, is on the disk.
  func takeOver() {
    _ = jobs.send(.takeOver)
  }

  private func send(_ job: Job, _ then: (Outcome) -> Void) {
    if !jobs.send(job) { then(.refused("too many requests wait already; try again")) }
  }

  /// Waits for what is under way. What is unconfirmed stays so.
  func stop() {
    while !jobs.send(.stop) { usleep(1000) }
    thread.join()
  }

  /// Before the configuration is read at a start: takes back what an earlier life was to take back, and gives what it left to be confirmed.
  static func recover(
    _ options: Options, mayAct: Bool = true, disk: any Disk = RealDisk()
  ) -> FileExchange.Recovery {
    FileExchange(options.path, promises: options.state, disk: disk)
      .recover(at: Clock.now().nanoseconds, mayAct: mayAct)
  }

  // MARK: The thread

  /// Carries the worker to its thread. The thread that made it does not touch it again.
  private struct Handover: @unchecked Sendable {
    let worker: Worker
  }

  /// A promise, and how far this life is with keeping it.
  private struct Open {
    var promise: Unconfirmed
    /// What was there before is in place again; only the file may not be it yet.
    var isBack = false
    var trouble: String?
    /// When it is tried again.
    var retry: Instant?

    var isOver: Bool { retry != nil || promise.left(at: Clock.now().nanoseconds) <= 0 }
    var due: Instant { retry ?? Instant(nanoseconds: promise.deadline) }
  }

  private final class Worker {
    private let options: Options
    private let exchange: FileExchange
    private let pause: Duration
    private let chronicle: Chronicle
    private let log: Log
    private let linked: Linked
    private let install: Install
    private var plan: DaemonPlan
    private var open: Open?
    private var isActing: Bool
    private let shared: Shared

    init(
      options: Options, exchange: FileExchange, pause: Duration, chronicle: Chronicle, log: Log,
      linked: @escaping Linked, install: @escaping Install, plan: DaemonPlan, recovery: FileExchange.Recovery,
      isActing: Bool, shared: Shared
    ) {
      self.isActing = isActing
      self.shared = shared
      self.options = options
      self.exchange = exchange
      self.pause = pause
      self.chronicle = chronicle
      self.log = log
      self.linked = linked
      self.install = install
      self.plan = plan
      guard let promise = recovery.unconfirmed else { return }
      open = Open(promise: promise)
      // Then the plan was made of what was there before: only the file is to be put back.
      if let trouble = recovery.trouble {
        open = Open(promise: promise, isBack: true, trouble: trouble, retry: Clock.now() + pause)
      }
      publish()
    }

    private var due: Instant? { isActing ? open?.due : nil }

    func run(_ jobs: Mailbox<Job>) {
      var isStopping = false
      while !isStopping {
        wait(for: jobs)
        if let due, due <= Clock.now() {
          undo()
          publish()
        }
        jobs.drain { job in
          switch job {
          case .stop: isStopping = true
          case .takeOver: takeOver()
          case .reload(let then): answer(then) { reload() }
          case .apply(let bytes, let confirm, let then): answer(then) { apply(bytes, confirm) }
          case .confirm(let then): answer(then) { confirm() }
          }
        }
      }
    }

    /// Whoever asks next finds the new plan.
    private func answer(_ then: (Outcome) -> Void, _ body: () -> Outcome) {
      let outcome = body()
      publish()
      then(outcome)
    }

    private func publish() {
      shared.plan.withLock { $0 = plan }
      shared.waiting.withLock { waiting in
        waiting = open.map { Waiting(deadline: $0.isOver ? .init(nanoseconds: 0) : $0.due, trouble: $0.trouble) }
      }
    }

    private func wait(for jobs: Mailbox<Job>) {
      var ready = pollfd(fd: jobs.waker.descriptor, events: Int16(POLLIN), revents: 0)
      let timeout = due.map { Int32(clamping: max(0, ($0 - Clock.now()).nanoseconds / 1_000_000 + 1)) } ?? -1
      if poll(&ready, 1, timeout) == 1 { jobs.waker.acknowledge() }
    }

    private func takeOver() {
      isActing = true
      switch try? exchange.promised() {
      case .promise(let promise)? where promise.path == exchange.path:
        if promise != open?.promise { open = Open(promise: promise) }
      case .nothing?:
        // Confirmed meanwhile, or undone: then what was read here is not what counts.
        let isUndone = open.map { !$0.isBack && (try? exchange.standing(of: $0.promise)) != .after } ?? false
        open = nil
        if isUndone { _ = take(Configuration.read(path: exchange.path)) }
      default: break
      }
      publish()
    }

    // MARK: What is asked

    private func reload() -> Outcome {
      guard let open, (try? exchange.standing(of: open.promise)) == .after else {
        return decided(take(Configuration.read(path: exchange.path)))
      }
      // The file is still the one that waits: to read it again is no decision about it, for a timer or a script may do that.
      if open.isOver {
        return refused(
          "\(exchange.path) is still what nobody confirmed in time, and can't be put back: "
            + "\(open.trouble ?? "it is being tried"). Write another one, or `roost apply` one")
      }
      guard case .done(var report) = take(Configuration.read(path: exchange.path)) else {
        return .refused("the configuration that waits to be confirmed can't be put in place again; the log has why")
      }
      report.warn("the configuration still waits to be confirmed, and is undone in \(left): `roost confirm` keeps it")
      return .done(report)
    }

    private func apply(_ bytes: [UInt8], _ limit: Duration?) -> Outcome {
      if limit != nil, open != nil { return refused(pendingRefusal) }
      let reading = Configuration.read(bytes: bytes, file: exchange.path)
      let judged: DaemonPlan
      do throws(Refusal) { judged = try judge(reading) } catch { return refused(error.text) }
      let before: [UInt8]
      do throws(FileFault) { before = try exchange.present() } catch { return refused("\(error)") }
      if limit != nil, Configuration.read(bytes: before, file: exchange.path).configuration == nil {
        return refused(
          "what is in \(exchange.path) now has mistakes, so it would be no use to put it back: mend it, or leave --confirm out"
        )
      }
      let promise = Unconfirmed(
        path: exchange.path, before: before, after: bytes, deadline: (Clock.now() + (limit ?? .zero)).nanoseconds)
      do throws(FileFault) {
        try exchange.exchange(promise, isPromised: limit != nil)
      } catch {
        return abandon(promise, limit, refused("\(error)"))
      }
      let outcome = put(judged, reading)
      guard case .done(var report) = outcome else { return abandon(promise, limit, outcome) }
      guard limit != nil else { return decided(outcome) }
      open = Open(promise: promise)
      report.confirm_within_ms = limit?.milliseconds
      return .done(report)
    }

    /// The new text is not put in place: neither may it stay in the file.
    private func abandon(_ promise: Unconfirmed, _ limit: Duration?, _ outcome: Outcome) -> Outcome {
      do throws(FileFault) {
        try exchange.takeBack(promise)
        // Of the file that is the old one again nothing is undone, also where it can't go.
        if limit != nil { try? exchange.settle() }
      } catch {
        // Nothing has changed but the file. Where another change waited to be confirmed, it ends with this one, at what was before both.
        let former = open
        let before = former?.promise.before ?? promise.before
        let overdue = Unconfirmed(path: promise.path, before: before, after: promise.after, deadline: 0)
        open = Open(promise: overdue, isBack: former == nil || former?.isBack == true)
        try? exchange.record(overdue)
        fail("\(error)")
      }
      return outcome
    }

    private func confirm() -> Outcome {
      guard let open else { return .refused("nothing waits to be confirmed") }
      if open.isOver { return .refused("the time to confirm it is over; \(open.trouble ?? "it is being undone")") }
      do throws(FileFault) { try exchange.settle() } catch {
        return .refused("it can't be confirmed, and is undone in \(left): \(error)")
      }
      self.open = nil
      chronicle.report(.reloaded, .notice, "the configuration is confirmed")
      return .done(Report(changed: [], at_restart: [], config_hash: plan.configuration.hash))
    }

    /// Somebody has put another configuration in place for good: with that, nothing is undone any more.
    private func decided(_ outcome: Outcome) -> Outcome {
      guard case .done(var report) = outcome else { return outcome }
      guard let open else {
        // One that could not go when it was kept must not come to count again.
        try? exchange.settle()
        return outcome
      }
      let isOver = open.isOver
      self.open = nil
      let text =
        "what \(isOver ? "nobody confirmed" : "waited to be confirmed") is replaced by this decision: nothing is undone any more"
      chronicle.report(.reloaded, .notice, text)
      report.warn(text)
      do throws(FileFault) { try exchange.settle() } catch {
        let standing = try? exchange.standing(of: open.promise)
        let text = "\(error); remove it, or the next start undoes this change"
        if standing == .after { report.warn(text) }
      }
      return .done(report)
    }

    private func undo() {
      guard let open else { return }
      do throws(FileFault) {
        let standing = try exchange.standing(of: open.promise)
        if standing == .other {
          self.open = nil
          try? exchange.settle()
          return chronicle.report(.undone, .warning, FileExchange.void(exchange.path))
        }
      } catch {
        // What runs can be put back all the same.
      }
      var troubles: [String] = []
      if !open.isBack {
        do throws(Refusal) {
          _ = try attempt(Configuration.read(bytes: open.promise.before, file: exchange.path))
          self.open?.isBack = true
        } catch {
          troubles.append(error.text)
        }
      }
      do throws(FileFault) { try exchange.takeBack(open.promise) } catch { troubles.append("\(error)") }
      guard troubles.isEmpty else { return fail(troubles.joined(separator: "; ")) }
      self.open = nil
      // Where it can't go, the next life finds it kept.
      try? exchange.settle()
      chronicle.report(.undone, .warning, "nobody confirmed the configuration: the one before is put back")
    }

    /// What can't be taken back now is tried again; said where it is another reason than last time.
    private func fail(_ trouble: String) {
      guard let former = open else { return }
      open?.retry = Clock.now() + pause
      open?.trouble = trouble
      guard former.trouble != trouble else { return }
      let what =
        open?.isBack == true
        ? "what was there before is in place, but \(exchange.path) can't be put back"
        : "what was there before can't be put back"
      chronicle.report(
        .undone, .error, "nobody confirmed the configuration: \(what), which is tried again: \(trouble)")
    }

    private var left: String {
      let left = open.map { max(0, $0.promise.left(at: Clock.now().nanoseconds)) } ?? 0
      return "\(left / 1_000_000_000) s"
    }

    private var pendingRefusal: String {
      if let trouble = open?.trouble {
        return
          "a configuration that nobody confirmed can't be taken back (\(trouble)): apply one without --confirm first"
      }
      return "a configuration waits to be confirmed, and is undone in \(left): `roost confirm` first, or wait"
    }

    // MARK: From a reading to what is in place

    private struct Refusal: Error {
      var text: String
    }

    private func take(_ reading: Reading) -> Outcome {
      do throws(Refusal) { return .done(try attempt(reading)) } catch { return refused(error.text) }
    }

    private func attempt(_ reading: Reading) throws(Refusal) -> Report { try change(to: try judge(reading), reading) }

    private func put(_ new: DaemonPlan, _ reading: Reading) -> Outcome {
      do throws(Refusal) { return .done(try change(to: new, reading)) } catch { return refused(error.text) }
    }

    private func judge(_ reading: Reading) throws(Refusal) -> DaemonPlan {
      guard let configuration = reading.configuration else { throw Refusal(text: reading.mistakes.text()) }
      let host: HostFacts
      do throws(SystemError) {
        host = try HostFacts.current(node: options.node, vips: Set(configuration.vips.flatMap(\.addresses)))
      } catch {
        throw Refusal(text: "\(error)")
      }
      let mistakes = reading.mistakes(on: host) + reading.secretMistakes() + reading.programMistakes()
      if mistakes.hasError { throw Refusal(text: mistakes.text()) }
      let name = configuration.nodeName(on: host)
      guard let name, name == plan.name else {
        throw Refusal(
          text: "this machine would be node '\(name ?? "")', and is '\(plan.name)': restart the daemon for that")
      }
      let interfaces = configuration.vips.map { configuration.interface(of: $0, node: name, on: host) ?? "" }
      let new: DaemonPlan
      do throws(Daemon.Failure) {
        new = try DaemonPlan(configuration, name: name, interfaces: interfaces, after: plan)
      } catch {
        throw Refusal(text: error.words)
      }
      // What goes keeps its place until the next change, so there may be more places than VIPs.
      guard new.node.vips.count <= OwnershipRecord.maximumCapacity else {
        throw Refusal(
          text: "this change needs \(new.node.vips.count) places for VIPs, \(OwnershipRecord.maximumCapacity) at most: "
            + "remove VIPs first, reload, then add the new ones")
      }
      return new
    }

    private func change(to new: DaemonPlan, _ reading: Reading) throws(Refusal) -> Report {
      let difference = plan.configuration.difference(to: new.configuration)
      let disagreements = new.disagreements(with: plan, linked: linked())
      do { try install(new) } catch { throw Refusal(text: (error as? Daemon.Failure)?.words ?? "\(error)") }
      plan = new
      let lines = difference.lines + difference.needRestart.map { "\($0) (from the next start)" }
      chronicle.report(
        .reloaded, .notice,
        lines.isEmpty
          ? "the configuration was read again: it says the same" : "the configuration changed: \(summary(lines))")
      for line in disagreements { log.write(.warning, line) }
      let warnings = (reading.mistakes.isEmpty ? [] : [reading.mistakes.text()]) + disagreements
      return Report(
        changed: difference.lines, at_restart: difference.needRestart, config_hash: new.configuration.hash,
        warnings: warnings.isEmpty ? nil : warnings.joined(separator: "\n"))
    }

    private func refused(_ text: String) -> Outcome {
      let first = text.prefix { $0 != "\n" }
      chronicle.report(.reloadRefused, .error, "the configuration does not change: \(first)")
      // An event is one line; whoever sent a signal has only the log to find the rest in.
      let rest = text[first.endIndex...]
      if !rest.isEmpty { log.write(.error, "in full:\(rest)", cause: text) }
      return .refused(text)
    }

    private func summary(_ lines: [String]) -> String {
      lines.prefix(8).joined(separator: "; ") + (lines.count > 8 ? "; and \(lines.count - 8) more" : "")
    }
  }
}
