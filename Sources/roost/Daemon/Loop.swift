import Basis
import Glibc
import Guardian
import Health
import Linux
import Node
import PeerLink
import Prober
import Proxy
import Synchronization
import Telemetry
import VRRP
import Wire

/// The loop thread: events from every side into `Node`, its effects out to every side.
///
/// It never waits for anything but its reactor: what may take time (netlink writes, checks, log lines, reports) is handed to a
/// thread of its own through a mailbox and comes back through `mailbox`.
final class Loop {
  /// What other threads tell the loop.
  enum Message: Sendable {
    case event(Event)
    /// Give a copy of the state to the closure, which hands it on at once.
    case snapshot(@Sendable (Snapshot) -> Void)
    /// The address thread did something, or saw something.
    case addresses(AddressThread.Report)
    /// The kernel refuses to send adverts there.
    case unheard(interface: String, SystemError)
    /// News of the peer link.
    case peer(PeerLinkReport)
    /// A check has ended: the probe's index, the number that the loop gave it, and how.
    case checked(Int, UInt64, CheckResult)
    case install(Installation)
    case upgrade(Step)
  }

  /// The state at one moment. `Node` is a value, so this costs a few retains.
  struct Snapshot: Sendable {
    /// What the numbers mean.
    let plan: DaemonPlan
    let node: Node
    let now: Instant
    let wall: WallTime
    let statistics: ReactorStatistics
    /// For each VIP, adverts that the kernel would not send.
    let unsent: [UInt64]
    /// For each VIP, what authentication made of its adverts.
    let authentication: [AuthenticationCounters?]
    let guardian: GuardianKeeper.Condition
    /// Why what a crash leaves behind may stay; nil where all is written down.
    let journalTrouble: String?
    let strays: Set<Stray>
  }

  /// The parts that effects go to.
  struct Parts {
    let addresses: AddressThread
    var equipment: Equipment.Parts
    let hooks: Hooks
    let log: Log
    let chronicle: Chronicle
    let tickets: Tickets
    let recorder: Recorder?
    let guardian: GuardianKeeper
  }

  var plan: DaemonPlan
  private(set) var node: Node
  var parts: Parts
  let reactor: Reactor
  private let mailbox: Mailbox<Message>
  let elections: Elections
  /// For each VIP's place, the proxy's services behind it.
  var proxyIndices: [[Int]]
  /// Services of VIPs that are leaving, by the VIP's place: they end with it.
  var leavingServices: [Int: [(Int, ProxyService)]] = [:]
  private var beats: Beats
  /// The node's, but for VIPs' places: each is what it was until the node has said `configure`.
  var settings: NodeSettings
  /// The address thread does not know yet what the places are.
  var placesChanged = false
  var hash: String
  /// Probes under way: who asked, by the number that the prober knows them by.
  var outstanding: [UInt64: (service: Int, backend: Int, probe: UInt64)] = [:]
  private var lastProbe: UInt64 = 0
  private(set) lazy var witnesses = Witnesses(plan.configuration.cluster.witnesses, reactor) {
    [unowned self] vip, round in
    give(.witness(vip: vip, round: round), at: Clock.now())
  }
  private let started = Clock.now()
  /// The VIPs' interfaces as they were last reported.
  var interfaces: [String: InterfaceState] = [:]
  /// What the loop knows of the guardian's doings; see `Loop+Guardian.swift`.
  var fence = Fence()
  var troubles: [String: Trouble] = [:]
  var journalTrouble: String?
  var strays: Set<Stray> = []
  /// Interfaces of VIPs of which nothing was reported yet.
  var unseen: Set<String>
  /// Another process is taking this one's place.
  var handing = Handing.no
  /// This process takes another one's place.
  var succession: Succession?
  let predecessors: Predecessors
  /// A polite stop was asked for while nothing may be said.
  private(set) var stopIsDue = false
  private var signals: SignalBox?
  /// Why the loop had to end, if it did not end by itself.
  var failure: SystemError?

  init(
    _ plan: DaemonPlan, _ parts: Parts, mailbox: Mailbox<Message>, predecessors: Predecessors, seed: UInt64
  ) throws(SystemError) {
    self.plan = plan
    self.predecessors = predecessors
    self.parts = parts
    self.mailbox = mailbox
    settings = plan.node
    hash = plan.configuration.hash
    node = Node(plan.node, seed: seed)
    reactor = try Reactor()
    elections = Elections(plan)
    proxyIndices = plan.node.vips.indices.map { plan.proxyIndices(ofVIP: $0) }
    beats = Beats()
    unseen = Set(plan.watched)
  }

  /// Runs until the node has stopped politely. Call it on the thread that is to be the loop.
  func run() throws(SystemError) {
    try mailbox.attach(to: reactor) { [unowned self] in receive($0) }
    try attachGuardian()
    if unseen.isEmpty { begin(at: Clock.now()) }
    try reactor.run(
      onWake: { [unowned self] in woke() },
      onTurn: { [unowned self] _ in tellGuardian() },
      deadline: { [unowned self] in earlier(isSilent ? nil : node.deadline, beats.next) },
      onDeadline: { [unowned self] now in
        if let due = beats.next, due <= now { beat(now) }
        if !isSilent, let due = node.deadline, due <= now { give(.timer, at: now) }
      })
    if let failure { throw failure }
  }

  /// SIGTERM and SIGINT stop politely; SIGHUP is `onHangup`.
  func listen(to signals: consuming SignalReader, onHangup: @escaping () -> Void) throws(SystemError) {
    let reader = SignalBox(signals)
    self.signals = reader
    try reactor.register(reader.signals.descriptor, .readable) { [unowned self] _ in
      while let (signal, _) = reader.signals.next() {
        if signal == SIGHUP { onHangup() } else { stop() }
      }
    }
  }

  /// After the loop has ended: somebody asks to stop, again or for the first time.
  func isAskedToStop() -> Bool {
    while let (signal, _) = signals?.signals.next() { if signal != SIGHUP { return true } }
    return stopIsDue
  }

  func stop() {
    if isSilent {
      stopIsDue = true
      return
    }
    parts.log.perform { ServiceManager.stopping() }
    give(.stop, at: Clock.now())
  }

  // MARK: In

  private func receive(_ message: Message) {
    switch message {
    case .event(let event): give(event, at: Clock.now())
    case .snapshot(let reply):
      reply(
        Snapshot(
          plan: plan, node: node, now: Clock.now(), wall: Clock.wall(), statistics: reactor.statistics,
          unsent: elections.failures, authentication: elections.authentication, guardian: parts.guardian.condition,
          journalTrouble: journalTrouble, strays: strays))
    case .addresses(let report): receive(report)
    case .unheard(let interface, let error): trouble(on: interface, because: error, at: Clock.now())
    case .peer(let report): receive(report)
    case .checked(_, let number, let result):
      guard let asked = outstanding.removeValue(forKey: number) else { break }
      give(.check(service: asked.service, backend: asked.backend, probe: asked.probe, result), at: Clock.now())
    case .install(let installation): install(installation)
    case .upgrade(let step): take(step)
    }
  }

  func give(_ event: Event, at now: Instant) {
    // What the guardian has done is true in any case.
    if isSilent { if case .address(_, .revoked) = event {} else { return } }
    parts.recorder?.record(event, at: now)
    node.handle(event, at: now) { perform($0) }
  }

  private func receive(_ report: PeerLinkReport) {
    // What a peer says of itself is not trusted to be fit for a terminal.
    if let (level, text) = report.text(settings, hash: hash) { parts.log.write(level, printable(text)) }
    switch report {
    case .up(let peer, let hello):
      elections.learn(keys: hello.advertKeys, of: peer)
      give(.peer(peer, .up), at: Clock.now())
    case .changed(let peer, let hello): elections.learn(keys: hello.advertKeys, of: peer)
    case .down(let peer, _): give(.peer(peer, .down), at: Clock.now())
    case .said(let peer, let message): give(.peer(peer, .said(message)), at: Clock.now())
    case .clock, .trouble: break
    }
  }

  /// Where adverts come in bursts: half of a millisecond later at most, and a third of the wake-ups.
  private static let gathering = Duration.microseconds(500)

  func drain(_ socket: VRRPSocket) {
    do throws(SystemError) {
      let moreFollow = try elections.drain(
        socket,
        refused: { parts.log.write(.warning, $0.text(vip: settings.vips[$0.vip].name)) }
      ) { bytes, envelope in
        guard !isSilent else { return }
        let now = Clock.now()
        parts.recorder?.record(bytes.bytes, in: envelope, at: now)
        node.receive(bytes.bytes, in: envelope, at: now) { perform($0) }
      }
      if moreFollow { reactor.gather(for: Self.gathering) }
    } catch {
      parts.log.write(.error, "\(error)")
    }
  }

  // MARK: Out

  private func perform(_ effect: Effect) {
    parts.recorder?.decided(effect)
    switch effect {
    case .transmit(let vip, let message, let destination):
      // What was decided before the guardian's deed is no longer true.
      guard !isDeposed, !isSilent else { break }
      if let error = elections.send(message, to: destination, vip: vip) {
        // Not at once: the node is in the middle of an event.
        mailbox.send(.unheard(interface: settings.vips[vip].interface, error))
      } else if let sequence = elections.lastSequence(of: vip) {
        record.setLastSigned(vip, sequence)
      }
    case .take(let vip, let generation, let lease, let announcing):
      ownershipChanges()
      flushPlaces()
      if let proxy = parts.equipment.proxy, !proxyIndices[vip].isEmpty { proxy.resume(proxyIndices[vip]) }
      parts.addresses.take(vip, generation: generation, lease: lease, announcing: announcing)
      fence.recharge(vip)
    case .renew(let vip, let generation, let lease):
      parts.addresses.renew(vip, generation: generation, lease: lease)
    case .release(let vip, let generation):
      ownershipChanges()
      parts.addresses.release(vip, generation: generation)
      if plan.vip(vip)?.beforeAnnouncing != nil { parts.hooks.review(vip: settings.vips[vip].name) }
    case .announce(let vip, let generation):
      parts.addresses.announce(vip, generation: generation)
    case .closeConnections(let vip, let generation, let limit):
      closeConnections(vip: vip, generation: generation, within: limit)
    case .probe(let service, let backend, let number):
      probe(service: service, backend: backend, number)
    case .backend(let service, let backend, let state):
      backendChanged(service: service, backend: backend, state)
    case .report(let occurrence):
      parts.chronicle.report(occurrence, of: settings)
    case .tell(let peer, let message): parts.equipment.link?.send(message, to: peer)
    case .answer(let ticket, let answer): parts.tickets.answer(ticket, answer)
    case .askWitnesses(let vip, let round): witnesses.ask(vip: vip, round: round)
    case .prepare(let vip, let generation): prepare(vip: vip, generation: generation)
    case .configure(let vip, let settings): configure(vip, settings)
    case .stopped: reactor.stop()
    }
  }

  private func probe(service: Int, backend: Int, _ number: UInt64) {
    guard let prober = parts.equipment.prober, let index = plan.probeIndex(service: service, backend: backend) else {
      return
    }
    lastProbe += 1
    outstanding[lastProbe] = (service, backend, number)
    prober.probe(index, number: lastProbe)
  }

  private func prepare(vip: Int, generation: UInt64) {
    let done: @Sendable (Bool) -> Void = { [mailbox] succeeded in
      mailbox.send(.event(.prepared(vip: vip, generation: generation, succeeded: succeeded)))
    }
    guard let hook = plan.vip(vip)?.beforeAnnouncing else { return done(true) }
    let (name, addresses) = (settings.vips[vip].name, settings.vips[vip].addresses)
    parts.log.perform { [hooks = parts.hooks, record] in
      hooks.run(
        hook, vip: name, place: vip, addresses: addresses.map(\.description),
        // Not granted yet, or still held.
        isWanted: { record.lastGranted(vip) < generation || record.holds(vip, generation: generation) }, then: done)
    }
  }

  private func closeConnections(vip: Int, generation: UInt64, within limit: Duration) {
    let closed = Message.event(.connectionsClosed(vip: vip, generation: generation))
    guard let proxy = parts.equipment.proxy, !proxyIndices[vip].isEmpty else {
      mailbox.send(closed)
      return
    }
    let mailbox = mailbox
    let others = predecessors.channels
    guard !others.isEmpty else {
      proxy.closeConnections(proxyIndices[vip], within: limit) { mailbox.send(closed) }
      return
    }
    let tally = Tally(1 + others.count) { mailbox.send(closed) }
    proxy.closeConnections(proxyIndices[vip], within: limit) { tally.arrive() }
    predecessors.close(vip: settings.vips[vip].name, for: others, within: limit) { tally.arrive() }
  }

  func backendChanged(service: Int, backend: Int, _ state: BackendState) {
    guard let proxy = parts.equipment.proxy else { return }
    for index in plan.proxyIndices[service] {
      guard let carried = plan.proxied[index], carried.backends.indices.contains(backend) else { continue }
      proxy.setBackend(
        service: index, backend: backend, usable: state == .up || state == .unknown,
        weight: carried.backends[backend].weight)
    }
  }

  // MARK: Beats

  /// A look at the workers ten times a second.
  private func beat(_ now: Instant) {
    beats.next = now + Beats.interval
    elections.chooseKeys(at: now)
    for (name, trouble) in troubles where trouble.until <= now {
      troubles[name]?.until = now + Trouble.longestPause
      if let interface = interfaces[name] { follow(interface, at: now) }
    }
    if beats.isTimeForManager(now) { parts.log.perform { ServiceManager.beat() } }
    guard let proxy = parts.equipment.proxy else { return record.workersBeat() }
    // At the start they have not turned yet.
    let healthy = now - started < Beats.longestSilence || proxy.haveTurned(since: now - Beats.longestSilence)
    if healthy { record.workersBeat() }
    if healthy != node.workersAreHealthy { give(.workers(healthy: healthy), at: now) }
  }
}

/// An interface on which adverts can't be sent or heard.
struct Trouble {
  static let firstPause = Duration.seconds(1)
  static let longestPause = Duration.seconds(60)
  var pause: Duration
  var until: Instant
}

/// When the workers are looked at, and how long one may be silent. Each turns ten times a second even if it has nothing to do.
struct Beats {
  static let interval = Duration.milliseconds(100)
  static let longestSilence = Duration.seconds(1)
  var next: Instant? = Clock.now()

  /// systemd's watchdog, where it watches: that it hears of the loop means that the loop turned.
  private let managerInterval = ServiceManager.watchdogInterval
  private var toldManager = Clock.now()

  mutating func isTimeForManager(_ now: Instant) -> Bool {
    guard let managerInterval, now - toldManager >= managerInterval else { return false }
    toldManager = now
    return true
  }
}

/// A place for a noncopyable value that a handler keeps.
private final class SignalBox {
  let signals: SignalReader
  init(_ signals: consuming SignalReader) { self.signals = signals }
}
