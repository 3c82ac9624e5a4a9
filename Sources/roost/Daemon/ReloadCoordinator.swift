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
    case stop
  }

  private let jobs: Mailbox<Job>
  private let thread: Thread
  private let shared: Shared

  /// What others may see of the thread.
  private final class Shared: Sendable {
    let plan: Mutex<DaemonPlan>
    let deadline: Mutex<Instant?>

    init(_ plan: DaemonPlan, _ deadline: Instant?) {
      self.plan = Mutex(plan)
      self.deadline = Mutex(deadline)
    }
  }

  /// - Parameters:
  ///   - plan: what is in place.
  ///   - unconfirmed: as `recover` gave it.
  init(
    _ plan: DaemonPlan, _ options: Options, unconfirmed: Unconfirmed? = nil, chronicle: Chronicle, log: Log,
    linked: @escaping Linked = { [] }, install: @escaping Install
  ) throws(SystemError) {
    let jobs = try Mailbox<Job>(capacity: 64)
    self.jobs = jobs
    shared = Shared(plan, unconfirmed.map { Instant(nanoseconds: $0.deadline) })
    let worker = Worker(
      options: options, file: ConfigurationFile(options.path), chronicle: chronicle, log: log, linked: linked,
      install: install, plan: plan, unconfirmed: unconfirmed, shared: shared)
    let start = Handover(worker: worker)
    thread = try Thread.start(named: "roost-reload", stackSize: 1024 * 1024) { start.worker.run(jobs) }
  }

  /// The plan that is in place, for whoever needs names or numbers off the loop.
  var plan: DaemonPlan { shared.plan.withLock { $0 } }

  /// Until when the configuration that is in place has to be confirmed.
  var confirmationDeadline: Instant? { shared.deadline.withLock { $0 } }

  /// Reads the file again. `then` is called on the coordinator's thread.
  func reload(then: @escaping @Sendable (Outcome) -> Void) { send(.reload(then), then) }

  /// Judges a text; then it takes the file's place, which is kept beside it, and is put in place.
  /// - Parameter confirm: without a `confirm` in that time everything is put back as it was, also if the daemon is another by then.
  func apply(_ bytes: [UInt8], confirm: Duration?, then: @escaping @Sendable (Outcome) -> Void) {
    send(.apply(bytes, confirm: confirm, then), then)
  }

  func confirm(then: @escaping @Sendable (Outcome) -> Void) { send(.confirm(then), then) }

  private func send(_ job: Job, _ then: (Outcome) -> Void) {
    if !jobs.send(job) { then(.refused("too many requests wait already; try again")) }
  }

  /// Waits for what is under way. What is unconfirmed stays so.
  func stop() {
    while !jobs.send(.stop) { usleep(1000) }
    thread.join()
  }

  /// Before the configuration is read at a start: takes back what an earlier life was to take back, and gives what it left to be confirmed.
  /// - Returns: `undone`: what was done, in words, to be told when there is a log.
  static func recover(_ options: Options) -> (unconfirmed: Unconfirmed?, undone: String?) {
    guard let unconfirmed = Unconfirmed.read(in: options.state) else { return (nil, nil) }
    let file = ConfigurationFile(options.path)
    guard unconfirmed.path == file.path else {
      Unconfirmed.remove(in: options.state)
      return (nil, nil)
    }
    guard unconfirmed.left(at: Clock.now().nanoseconds) <= 0 else { return (unconfirmed, nil) }
    do {
      try file.restore()
      Unconfirmed.remove(in: options.state)
      return (nil, "nobody confirmed the configuration: the one before is back in \(file.path)")
    } catch {
      // The file may still be right. It is told, and tried again at the next start.
      return (nil, "nobody confirmed the configuration, but the one before can't be put back: \(error)")
    }
  }

  // MARK: The thread

  /// Carries the worker to its thread. The thread that made it does not touch it again.
  private struct Handover: @unchecked Sendable {
    let worker: Worker
  }

  private final class Worker {
    private let options: Options
    private let file: ConfigurationFile
    private let chronicle: Chronicle
    private let log: Log
    private let linked: Linked
    private let install: Install
    private var plan: DaemonPlan
    private var unconfirmed: Unconfirmed?
    private let shared: Shared
    /// When an undo that failed is tried again.
    private var retry: Instant?

    init(
      options: Options, file: ConfigurationFile, chronicle: Chronicle, log: Log, linked: @escaping Linked,
      install: @escaping Install, plan: DaemonPlan, unconfirmed: Unconfirmed?, shared: Shared
    ) {
      self.shared = shared
      self.options = options
      self.file = file
      self.chronicle = chronicle
      self.log = log
      self.linked = linked
      self.install = install
      self.plan = plan
      self.unconfirmed = unconfirmed
    }

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
      shared.deadline.withLock { $0 = unconfirmed.map { Instant(nanoseconds: $0.deadline) } }
    }

    private var due: Instant? { retry ?? unconfirmed.map { Instant(nanoseconds: $0.deadline) } }

    private func wait(for jobs: Mailbox<Job>) {
      var ready = pollfd(fd: jobs.waker.descriptor, events: Int16(POLLIN), revents: 0)
      let timeout = due.map { Int32(clamping: max(0, ($0 - Clock.now()).nanoseconds / 1_000_000 + 1)) } ?? -1
      if poll(&ready, 1, timeout) == 1 { jobs.waker.acknowledge() }
    }

    // MARK: What is asked

    private func reload() -> Outcome {
      if let refusal = pendingRefusal { return refused(refusal) }
      return take(Configuration.read(path: file.path))
    }

    private func apply(_ bytes: [UInt8], _ limit: Duration?) -> Outcome {
      if let refusal = pendingRefusal { return refused(refusal) }
      let reading = Configuration.read(bytes: bytes, file: file.path)
      let judged: DaemonPlan
      do throws(Refusal) { judged = try judge(reading) } catch { return refused(error.text) }
      do {
        // The promise to undo comes first: a crash at any point from here on is undone by the next life.
        if let limit {
          let promise = Unconfirmed(path: file.path, deadline: (Clock.now() + limit).nanoseconds)
          try promise.write(in: options.state)
          unconfirmed = promise
        }
        try file.replace(with: bytes)
      } catch {
        forget()
        return refused("\(error)")
      }
      let outcome = put(judged, reading)
      guard case .done(var report) = outcome else {
        do { try file.restore() } catch {
          log.write(.error, "the configuration's file could not be put back: \(error)")
        }
        forget()
        return outcome
      }
      report.confirm_within_ms = limit?.milliseconds
      return .done(report)
    }

    private func confirm() -> Outcome {
      guard unconfirmed != nil else { return .refused("nothing waits to be confirmed") }
      forget()
      chronicle.report(.reloaded, .notice, "the configuration is confirmed")
      return .done(Report(changed: [], at_restart: [], config_hash: plan.configuration.hash))
    }

    private func forget() {
      unconfirmed = nil
      retry = nil
      Unconfirmed.remove(in: options.state)
    }

    private func undo() {
      retry = nil
      do {
        try file.restore()
        Unconfirmed.remove(in: options.state)
        unconfirmed = nil
      } catch {
        chronicle.report(
          .undone, .error, "nobody confirmed the configuration, but the one before can't be put back: \(error)")
        retry = Clock.now() + .seconds(10)
        return
      }
      chronicle.report(.undone, .warning, "nobody confirmed the configuration: the one before is put back")
      _ = take(Configuration.read(path: file.path))
    }

    private var pendingRefusal: String? {
      guard let unconfirmed else { return nil }
      let left = Duration.nanoseconds(max(0, unconfirmed.left(at: Clock.now().nanoseconds)))
      return "a configuration waits to be confirmed, and is undone in \(Int(left.milliseconds / 1000)) s: "
        + "`roost confirm` first, or wait"
    }

    // MARK: From a reading to what is in place

    private struct Refusal: Error {
      var text: String
    }

    private func take(_ reading: Reading) -> Outcome {
      do throws(Refusal) {
        return put(try judge(reading), reading)
      } catch {
        return refused(error.text)
      }
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

    private func put(_ new: DaemonPlan, _ reading: Reading) -> Outcome {
      let difference = plan.configuration.difference(to: new.configuration)
      let disagreements = new.disagreements(with: plan, linked: linked())
      do { try install(new) } catch { return refused((error as? Daemon.Failure)?.words ?? "\(error)") }
      plan = new
      let lines = difference.lines + difference.needRestart.map { "\($0) (from the next start)" }
      chronicle.report(
        .reloaded, .notice,
        lines.isEmpty
          ? "the configuration was read again: it says the same" : "the configuration changed: \(summary(lines))")
      for line in disagreements { log.write(.warning, line) }
      let warnings = (reading.mistakes.isEmpty ? [] : [reading.mistakes.text()]) + disagreements
      return .done(
        Report(
          changed: difference.lines, at_restart: difference.needRestart, config_hash: new.configuration.hash,
          warnings: warnings.isEmpty ? nil : warnings.joined(separator: "\n")))
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
