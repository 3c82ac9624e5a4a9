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
    /// This process goes on in another one's place.
    var isSuccessor = false
  }

  /// Why there is no daemon. Each prints itself, and is told on standard error.
  enum Failure: Error, CustomStringConvertible {
    case mistakes([Mistake])
    case cannot(String)

    var description: String {
      switch self {
      case .mistakes(let mistakes): mistakes.text()
      case .cannot: "roost: \(words)"
      }
    }

    /// The same for an answer, where everybody knows who speaks.
    var words: String {
      switch self {
      case .mistakes(let mistakes): mistakes.text()
      case .cannot(let why): why
      }
    }
  }

  let options: Options

  /// Runs until the node has stopped politely (SIGTERM, SIGINT), or another process goes on in this one's place.
  func run() throws {
    guard options.isSuccessor else { return try run(nil) }
    let succession = try Succession()
    do {
      try run(succession)
    } catch  where succession.isPending {
      succession.giveUp("\(error)")
    }
  }

  private func run(_ succession: Succession?) throws {
    // Before any thread is made, so that every thread inherits the mask.
    let signals = try SignalReader([SIGTERM, SIGINT, SIGHUP])
    let folder =
      if let lock = succession?.take("folder") { StateFolder(options.state, adopting: lock) } else {
        try StateFolder(options.state)
      }
    defer { if succession?.isPending != true { folder.release() } }
    let files = ReloadCoordinator.Options(path: options.configuration, node: options.node, state: options.state)
    let recovery = ReloadCoordinator.recover(files, mayAct: succession == nil)
    let plan = try makePlan(instead: recovery.instead)
    if let complaint = try Capabilities.current().complaint(needing: [.networkAdministration, .rawNetwork]) {
      throw Failure.cannot(complaint)
    }
    let lock =
      if let succession, let name = succession.take("namespace") {
        NamespaceLock(adopting: name, file: succession.take("namespace file"))
      } else {
        try NamespaceLock()
      }
    defer { if succession?.isPending != true { lock.release() } }
    // The guardian and the lock of life come before any thread: the thread that begins its life here is the loop.
    let record = try OwnershipRecord(capacity: OwnershipRecord.maximumCapacity)
    try record.beginLife()
    RunningPrograms.shared.keep(in: record)
    let isRealtime = plan.configuration.cluster.realtime
    let guardian = try GuardianKeeper(
      record, GuardianCommand.command(pidFile: folder.guardianFile, isRealtime: isRealtime))
    try guardian.start()
    // Not after a failure of the loop: then the guardian stays, and gives up what this process leaves behind.
    var isOver = true
    defer { if isOver { guardian.goodbye() } }
    let log = try Log()
    defer { log.close() }
    if let warning = lock.warning { log.write(.warning, warning) }

    let mailbox = try Mailbox<Loop.Message>()
    let notifier = try Notifier(plan.notifications) { trouble in
      log.write(.warning, "notification \(trouble.text)", cause: "notification \(trouble.target)")
    }
    defer { notifier.stop(within: .seconds(2)) }
    let equipment = Equipment(
      workers: options.workers, notifier: notifier, mailbox: mailbox, log: log, succession: succession)
    defer { equipment.stop() }
    _ = try equipment.prepare(plan)
    let recorder = try options.record.map { path in
      // A recording is of one process.
      let path = succession == nil ? path : "\(path).\(getpid())"
      return try Recorder(path: path, settings: plan.node, seed: Self.seed, log: log)
    }
    defer { recorder?.close() }
    let chronicle = Chronicle(node: plan.name, log: log)
    let tickets = Tickets(log: log)
    let coordinator = try ReloadCoordinator(
      plan, files, recovery: recovery, isActing: succession == nil, chronicle: chronicle, log: log,
      linked: { Set(equipment.current.link?.snapshot().filter { $0.state == .up }.map(\.name) ?? []) }
    ) { plan in try Self.install(plan, equipment, mailbox) }
    defer { coordinator.stop() }
    chronicle.listen { event in
      if notifier.isWanted(event.kind) { notifier.tell(event.kind, event.json) }
    }
    if let said = recovery.said { chronicle.report(.undone, .warning, said) }
    let upgrader = Upgrader(mailbox: mailbox, log: log)
    let control = ControlPost(path: options.socket)
    defer { if succession?.isPending != true { control.stop() } }
    if let succession {
      let owned = try succession.awaitGrants()
      for vip in owned.vips where vip.isHeld {
        guard let place = plan.vipPlace(vip.name) else { continue }
        record.adopt(place, generation: vip.generation, until: vip.until)
      }
    } else if !guardian.awaitReadiness() {
      // Nothing is taken before the guardian of an earlier life is gone, which could remove it.
      if let report = guardian.dismissPredecessor() { Loop.write(report, log) }
      if !guardian.awaitReadiness() { log.write(.warning, "the guardian is not ready yet") }
    }
    // Last, because it changes the network: it removes what an earlier life left behind.
    let addresses = try AddressThread(
      plan.addresses, watching: plan.watched,
      record: record, journal: folder.journalFile, isPreferred: isRealtime
    ) { mailbox.send(.addresses($0)) }
    defer { if succession?.isPending != true { addresses.stop() } }

    var routes = ControlRoutes()
    StatusSource(
      equipment: equipment, mailbox: mailbox, log: log, confirmation: { coordinator.waiting }
    ).add(to: &routes)
    let predecessors = Predecessors()
    let belongings = Upgrader.Belongings(
      folder: folder.descriptor, namespace: lock.descriptor, namespaceFile: lock.fileDescriptor, equipment: equipment,
      addresses: addresses, predecessors: predecessors, control: { control.listening })
    CommandRoutes(coordinator: coordinator, tickets: tickets, chronicle: chronicle) {
      mailbox.send(.event($0))
    } upgrade: {
      upgrader.begin($0, belongings, then: $1)
    }.add(to: &routes)
    if succession == nil { try control.open(routes) }

    let parts = Loop.Parts(
      addresses: addresses, equipment: equipment.current, hooks: Hooks(node: plan.name, log: log), log: log,
      chronicle: chronicle, tickets: tickets, recorder: recorder, guardian: guardian)
    if succession == nil {
      chronicle.report(.started, .notice, "roost \(Roost.version) runs as \(plan.name) with \(options.configuration)")
    }
    let loop = try Loop(plan, parts, mailbox: mailbox, predecessors: predecessors, seed: Self.seed)
    try loop.listen(to: signals) { coordinator.reload { _ in } }
    let status = "\(plan.name): \(plan.node.vips.count) VIPs, \(plan.node.services.count) services"
    if let succession {
      try loop.follow(succession, status: status) { [routes] in
        _ = log.perform {
          folder.claim()
          lock.claim()
          coordinator.takeOver()
          Self.complete(plan, equipment, mailbox, control, routes, succession.take("control"), log)
          chronicle.report(.started, .notice, "roost \(Roost.version) goes on as \(plan.name), upgraded")
        }
      }
    } else {
      ServiceManager.ready(status)
    }
    if isRealtime { Realtime.begin(log) }
    isOver = false
    try loop.run()
    isOver = true
    if case .ceded = loop.handing {
      // What there can be one of in a folder and in a namespace is another process's: one that is started after its death must find them free.
      folder.cede()
      lock.cede()
      end(loop, guardian: guardian, equipment, control, coordinator, upgrader, recorder, notifier, log)
    }
    log.write(.notice, "stopped")
  }

  /// Has a plan put in place; see `ReloadCoordinator.Install`.
  private static func install(
    _ plan: DaemonPlan, _ equipment: Equipment, _ mailbox: Mailbox<Loop.Message>
  ) throws {
    let proposal = try Proposal()
    let (parts, change) = try equipment.prepare(plan)
    mailbox.send(.install(.init(plan: plan, parts: parts, change: change, proposal: proposal)))
    // The loop never waits, so one that doesn't answer is held up by something, or has ended.
    guard proposal.isAccepted(within: longestInstallation) else {
      equipment.takeBack()
      throw Failure.cannot(
        "the daemon's loop has not answered for \(longestInstallation.words), because it is blocked or ends: nothing has changed, and the change is withdrawn"
      )
    }
  }

  private static let longestInstallation = Duration.seconds(10)

  /// Moves the starts of checks apart between nodes and lives; nothing else depends on it.
  private static let seed = UInt64(bitPattern: Clock.wall().nanoseconds) ^ UInt64(getpid())

  // MARK: Parts

  /// - Parameter text: what counts in place of the file's, which nobody confirmed in time and which can't be put back now.
  private func makePlan(instead text: [UInt8]?) throws -> DaemonPlan {
    let reading =
      text.map { Configuration.read(bytes: $0, file: options.configuration) }
      ?? Configuration.read(path: options.configuration)
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
