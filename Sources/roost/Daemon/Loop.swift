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

  /// An address of a VIP that another program has put on this machine.
  struct Stray: Sendable, Hashable {
    let address: IPAddress
    let prefixLength: Int
    let interface: String

    var words: String {
      "another program has put \(address)/\(prefixLength) on \(interface): while another node owns the VIP, two machines answer for it"
    }
    /// What to do about it.
    var advice: String {
      "remove it there (ip address del \(address)/\(prefixLength) dev \(interface)), and from what configures \(interface)"
    }
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
  private(set) var interfaces: [String: InterfaceState] = [:]
  /// What the loop knows of the guardian's doings; see `Loop+Guardian.swift`.
  var fence = Fence()
  private var troubles: [String: Trouble] = [:]
  private var journalTrouble: String?
  private var strays: Set<Stray> = []
  /// Interfaces of VIPs of which nothing was reported yet.
  private var unseen: Set<String>
  /// Another process is taking this one's place.
  var handing = Handing.no
  /// This process takes another one's place.
  var succession: Succession?
  let predecessors: Predecessors
  /// A polite stop was asked for while nothing may be said.
  private(set) var stopIsDue = false
  private var signals: SignalBox?
  /// Why the loop had to end, if it did not end by itself.
  private var failure: SystemError?

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

  private func receive(_ report: AddressThread.Report) {
    let now = Clock.now()
    switch report {
    case .added(let vip, let generation, let until):
      give(.address(vip: vip, .added(generation: generation, until: until)), at: now)
    case .renewed(let vip, let generation, let until):
      give(.address(vip: vip, .renewed(generation: generation, until: until)), at: now)
    case .removed(let vip, let generation):
      give(.address(vip: vip, .removed(generation: generation)), at: now)
    case .failed(let vip, let generation, let error):
      parts.log.write(.error, "vip \(settings.vips[vip].name): \(error)")
      give(.address(vip: vip, .failed(generation: generation, code: error.code)), at: now)
    case .vanished(let vip, let generation, let cause):
      parts.log.write(.warning, "vip \(settings.vips[vip].name): address is gone (\(cause.rawValue))")
      give(.address(vip: vip, .vanished(generation: generation)), at: now)
    case .putBack(let vip, let generation, _):
      give(.address(vip: vip, .putBack(generation: generation)), at: now)
    case .interface(let interface): linkChanged(interface, at: now)
    case .strayRemoved(let vip, let address):
      parts.log.write(
        .warning, "vip \(settings.vips[vip].name): \(address) was on the interface though another node owns it; removed"
      )
    case .swept(let removal): parts.log.write(.notice, "removed what an earlier life left behind: \(removal)")
    case .foreign(let vip, let address, let length, let interface):
      let stray = Stray(address: address, prefixLength: length, interface: interface)
      strays.insert(stray)
      parts.log.write(.warning, "vip \(settings.vips[vip].name): \(stray.words); \(stray.advice)")
    case .foreignGone(let vip, let address, let length, let interface):
      let stray = Stray(address: address, prefixLength: length, interface: interface)
      guard strays.remove(stray) != nil else { break }
      parts.log.write(
        .notice, "vip \(settings.vips[vip].name): \(address)/\(length) of another program is gone from \(interface)")
    case .duplicate(let vip, let address): give(.address(vip: vip, .duplicate(address)), at: now)
    case .claimed(let vip, let address, let mac): give(.address(vip: vip, .claimed(address, by: mac)), at: now)
    case .journal(let trouble): parts.log.write(.warning, trouble)
    case .notSilenced(let device, let error):
      parts.log.write(
        .warning,
        "\(device) may send by itself, so switches may take a dead node for the owner: \(error). The kernel needs clsact and cls_bpf"
      )
    case .notListening(let error):
      parts.log.write(.warning, "behind a switch with MLD snooping a VIP on a virtual MAC may not be found: \(error)")
    case .journalState(let trouble):
      journalTrouble = trouble
      if let trouble {
        parts.log.write(.warning, "\(trouble); it is tried again")
      } else {
        parts.log.write(.notice, "the journal is written now")
      }
    case .device(let vip, let family, let index): fence.learn(device: index, of: vip, family)
    case .firewallRestored:
      parts.log.write(.warning, "another program removed the firewall table of VIPs that accept nothing; loaded again")
    case .firewall(let error): parts.log.write(.error, "VIPs that accept nothing can't be had here: \(error)")
    case .announcementFailed(let vip, let error):
      parts.log.write(.warning, "vip \(settings.vips[vip].name): can't announce: \(error)")
    case .blind(let error): parts.log.write(.error, "the kernel's addresses can't be read: \(error)")
    case .ended(let error?): addressThreadDied(error)
    case .ended(nil): break
    }
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

  /// Without it nothing can be taken or let go, so the process ends; its leases remove what it held.
  private func addressThreadDied(_ error: SystemError) {
    parts.log.write(.error, "the address thread ended: \(error)")
    failure = error
    reactor.stop()
  }

  private func linkChanged(_ interface: InterfaceState, at now: Instant) {
    interfaces[interface.name] = interface
    troubles[interface.name] = nil
    follow(interface, at: now)
    // The node begins when it has seen all its interfaces once, so that none is taken for missing.
    if unseen.remove(interface.name) != nil, unseen.isEmpty { begin(at: now) }
  }

  /// Has the sockets follow the interface, and tells the node of both.
  func follow(_ interface: InterfaceState, at now: Instant) {
    let state = LinkState(interface, node: plan.configuration.member(plan.name))
    let refusal = elections.follow(interface, state, reactor, onReadable: { [unowned self] in drain($0) })
    if let refusal {
      trouble(on: interface.name, because: refusal, at: now)
    } else {
      give(.link(interface: interface.name, state), at: now)
    }
    for vip in settings.vips.indices where settings.vips[vip].interface == interface.name { fence.recharge(vip) }
  }

  /// Adverts can't be sent or heard on an interface: its elections are left, and tried again later and later.
  func trouble(on name: String, because error: SystemError, at now: Instant) {
    guard let interface = interfaces[name] else { return }
    let pause = min((troubles[name]?.pause ?? Trouble.firstPause / 2) * 2, Trouble.longestPause)
    troubles[name] = Trouble(pause: pause, until: now + pause)
    parts.log.write(
      .error,
      "adverts can't be sent or heard on \(name): \(error); trying again in \(pause.words) (does a firewall drop IP protocol 112?)"
    )
    var state = LinkState(interface, node: plan.configuration.member(plan.name))
    state.canAdvertise = false
    give(.link(interface: name, state), at: now)
  }

  /// Where adverts come in bursts: half of a millisecond later at most, and a third of the wake-ups.
  private static let gathering = Duration.microseconds(500)

  private func drain(_ socket: VRRPSocket) {
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
private struct Trouble {
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
