import Basis
import Configuration
import Control
import Glibc
import Guardian
import Linux
import Node
import Notify
import PeerLink
import Prober
import Proxy
import Telemetry
import Wire

/// One running node: its parts are made in the order in which each needs the one before, and ended in the opposite order.
///
/// Whatever can be known to be wrong is known before anything on the network changes.
struct Daemon {
  struct Options: Sendable {
    var configuration: String
    var node: String?
    var state: String
    var socket: String
    var record: String?
    var workers: Int?
  }

  /// Why there is no daemon. Each prints itself, and is told on standard error.
  enum Failure: Error, CustomStringConvertible {
    case mistakes([Mistake])
    case cannot(String)

    var description: String {
      switch self {
      case .mistakes(let mistakes): mistakes.text()
      case .cannot(let why): "roost: \(why)"
      }
    }
  }

  let options: Options

  /// Runs until the node has stopped politely (SIGTERM, SIGINT).
  func run() throws {
    // Before any thread is made, so that every thread inherits the mask.
    let signals = try SignalReader([SIGTERM, SIGINT, SIGHUP])
    let folder = try StateFolder(options.state)
    defer { folder.release() }
    let files = ReloadCoordinator.Options(path: options.configuration, node: options.node, state: options.state)
    let recovery = ReloadCoordinator.recover(files)
    let plan = try makePlan()
    if let complaint = try Capabilities.current().complaint(needing: [.networkAdministration, .rawNetwork]) {
      throw Failure.cannot(complaint)
    }
    let lock = try NamespaceLock()
    defer { withExtendedLifetime(lock) {} }
    // The guardian and the lock of life come before any thread: the thread that begins its life here is the loop.
    let record = try OwnershipRecord(capacity: OwnershipRecord.maximumCapacity)
    try record.beginLife()
    let isRealtime = plan.configuration.cluster.realtime
    let guardian = try GuardianKeeper(
      record, GuardianCommand.command(pidFile: folder.guardianFile, isRealtime: isRealtime))
    try guardian.start()
    // Not after a failure of the loop: then the guardian stays, and gives up what this process leaves behind.
    var isOver = true
    defer { if isOver { guardian.goodbye() } }
    let log = try Log()
    defer { log.close() }

    let mailbox = try Mailbox<Loop.Message>()
    let notifier = try Notifier(plan.notifications) { trouble in
      log.write(.warning, "notification \(trouble.text)", cause: "notification \(trouble.target)")
    }
    defer { notifier.stop(within: .seconds(2)) }
    let equipment = Equipment(workers: options.workers, notifier: notifier, mailbox: mailbox, log: log)
    defer { equipment.stop() }
    _ = try equipment.prepare(plan)
    let recorder = try options.record.map { try Recorder(path: $0, settings: plan.node, seed: Self.seed, log: log) }
    defer { recorder?.close() }
    let chronicle = Chronicle(node: plan.name, log: log)
    let tickets = Tickets(log: log)
    let coordinator = try ReloadCoordinator(
      plan, files, unconfirmed: recovery.unconfirmed, chronicle: chronicle, log: log
    ) { plan in
      let (parts, change) = try equipment.prepare(plan)
      let done = try Semaphore()
      mailbox.send(.install(.init(plan: plan, parts: parts, change: change) { done.signal() }))
      // The loop never waits; only one that has ended doesn't answer.
      if !done.wait(for: .seconds(10)) { throw Failure.cannot("the daemon is ending") }
    }
    defer { coordinator.stop() }
    chronicle.listen { event in
      if notifier.isWanted(event.kind) { notifier.tell(event.kind, event.json) }
    }
    if let undone = recovery.undone { chronicle.report(.undone, .warning, undone) }
    var routes = ControlRoutes()
    StatusSource(
      equipment: equipment, mailbox: mailbox, log: log, confirmation: { coordinator.confirmationDeadline }
    ).add(to: &routes)
    CommandRoutes(coordinator: coordinator, tickets: tickets, chronicle: chronicle) { mailbox.send(.event($0)) }
      .add(to: &routes)
    let control = try ControlServer(path: options.socket) { [routes] request, answer in
      routes.handle(request, answer)
    }
    defer { control.stop() }
    if !guardian.awaitReadiness() { log.write(.warning, "the guardian is not ready yet") }
    // Last, because it changes the network: it removes what an earlier life left behind.
    let addresses = try AddressThread(
      plan.addresses, watching: plan.watched,
      record: record, journal: folder.journalFile, isPreferred: isRealtime
    ) { mailbox.send(.addresses($0)) }
    defer { addresses.stop() }

    let parts = Loop.Parts(
      addresses: addresses, equipment: equipment.current, hooks: Hooks(node: plan.name, log: log), log: log,
      chronicle: chronicle, tickets: tickets, recorder: recorder, guardian: guardian)
    chronicle.report(.started, .notice, "roost \(Roost.version) runs as \(plan.name) with \(options.configuration)")
    let loop = try Loop(plan, parts, mailbox: mailbox, seed: Self.seed)
    try loop.listen(to: signals) { coordinator.reload { _ in } }
    ServiceManager.ready("\(plan.name): \(plan.node.vips.count) VIPs, \(plan.node.services.count) services")
    if isRealtime { Realtime.begin(log) }
    isOver = false
    try loop.run()
    isOver = true
    log.write(.notice, "stopped")
  }

  /// Moves the starts of checks apart between nodes and lives; nothing else depends on it.
  private static let seed = UInt64(bitPattern: Clock.wall().nanoseconds) ^ UInt64(getpid())

  // MARK: Parts

  private func makePlan() throws -> DaemonPlan {
    let reading = Configuration.read(path: options.configuration)
    guard let configuration = reading.configuration else { throw Failure.mistakes(reading.mistakes) }
    let host = try HostFacts.current(node: options.node, vips: Set(configuration.vips.flatMap(\.addresses)))
    let mistakes = reading.mistakes(on: host) + reading.secretMistakes()
    if mistakes.hasError { throw Failure.mistakes(mistakes) }
    guard let name = configuration.nodeName(on: host) else { throw Failure.cannot("this machine is none of the nodes") }
    let interfaces = configuration.vips.map { configuration.interface(of: $0, node: name, on: host) ?? "" }
    guard configuration.vips.count <= OwnershipRecord.maximumCapacity else {
      throw Failure.cannot("one node takes at most \(OwnershipRecord.maximumCapacity) VIPs")
    }
    return try DaemonPlan(configuration, name: name, interfaces: interfaces)
  }
}
