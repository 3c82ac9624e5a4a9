import Basis
import Health
import Node
import Scenario
import VRRP
import Wire

/// The cluster on virtual time: nodes, their kernels, the network between them, and one queue of what happens next.
///
/// Nothing in it depends on anything but the plan and the seed: no clock, no address, no order of a hash table.
/// It is a value that isn't copied, and no class: the checks of exclusive access that classes need took a quarter of a run.
struct World<Plane: ControlPlane>: ~Copyable {
  let plan: Plan
  let seed: UInt64
  private(set) var end: Int64
  /// Time zero of a scenario's story, in the run's time.
  var storyBegan: Int64 = 0
  var random: SplitMix64

  var queue = EventQueue()
  var planes: [Plane]
  var daemons: [Daemon]
  var guardians: [Guardian]
  var kernels: [Kernel]
  var peers: PeerLinks
  var adverts: Adverts
  var files: ConfigurationFiles
  var picture: Picture
  var backendsAlive: [Bool]
  var packets = Packets()
  var jobs = Slots<Job>()
  /// How many faults keep the kernels' lock busy, and the processors.
  var locks = 0
  var hogs = 0

  var owners: OwnersChecker
  var vacancies: VacancyChecker
  var leftovers: LeftoverChecker
  var neighbours: NeighboursChecker
  var winners: WinnerChecker
  var movements: Movements
  var progress: ProgressChecker
  var clients: [Client]
  private var lookAt = Int64.max
  private var needsLook = true

  var witness = Witness()
  var trace = Trace()
  var violation: Violation?
  /// Asked after every event: cheaper than the question whether there is a violation.
  private var isBroken = false
  /// Told of everything, for people; nil in all runs but those that are run again to be looked at.
  var narrate: ((_ at: Int64, _ text: String) -> Void)?
  /// Writes down the lives of one node; nil in all other runs.
  var recorder: Recorder?

  private var scratch: [Effect] = []
  let bounds: Bounds
  /// Looked up once: they are asked at every step.
  let isFenced: Bool
  let announcesAgain: Bool

  var nodes: Int { plan.settings.count }
  /// With those that a reload may add.
  let vips: Int
  var now: Int64 { picture.now }

  init(_ plan: Plan, seed: UInt64) {
    self.plan = plan
    self.seed = seed
    random = SplitMix64(seed: seed)
    end = 0
    let nodes = plan.settings.count
    vips = (plan.settings.first?.vips.count ?? 0) + (plan.mayAddVIP ? 1 : 0)
    let backends = plan.settings.first?.services.map(\.backends.count).max() ?? 0
    let weather = Network.Weather(
      latency: plan.latency.nanoseconds, jitter: plan.jitter.nanoseconds, loss: plan.loss, duplication: plan.duplication
    )
    planes = []
    for settings in plan.settings { planes.append(Plane(settings, seed: random.next())) }
    daemons = Array(repeating: Daemon(), count: nodes)
    guardians = Array(repeating: Guardian(), count: nodes)
    kernels = Array(repeating: Kernel(vips: vips), count: nodes)
    peers = PeerLinks(nodes: nodes, isOn: plan.hasPeerLink)
    adverts = Adverts(plan, vips: vips)
    files = ConfigurationFiles(plan)
    picture = Picture(nodes: nodes, vips: vips, network: Network(nodes: nodes, weather: weather))
    backendsAlive = Array(repeating: true, count: backends)
    bounds = plan.bounds
    isFenced = !plan.without.contains(.fence)
    announcesAgain = !plan.without.contains(.reannouncement)
    owners = OwnersChecker(picture, bounds: bounds)
    vacancies = VacancyChecker(picture, bounds: bounds)
    leftovers = LeftoverChecker(bounds: bounds)
    neighbours = NeighboursChecker(picture, bounds: bounds)
    winners = WinnerChecker(plan, vips: vips)
    movements = Movements(bounds: bounds)
    progress = ProgressChecker(
      nodes: nodes, vips: vips, backends: plan.settings.first?.services.reduce(0) { $0 + $1.backends.count } ?? 0)
    var isScenario = false
    if case .scenario = plan.story { isScenario = true }
    clients = (0..<(plan.settings.first?.vips.count ?? 0)).map { Client(vip: $0, keepsGaps: isScenario && $0 == 0) }
  }

  /// From the first daemon's start to the end, or to the first broken promise.
  mutating func run() {
    for node in 0..<nodes { start(node, after: Int64(random.next(below: 1_000_000_000))) }
    beginStory()
    end = storyBegan + plan.duration.nanoseconds
    while let entry = queue.next(), entry.time < end {
      picture.now = entry.time
      happen(entry)
      if needsLook { look() }
      if isBroken { return }
    }
    picture.now = end
    for vip in clients.indices { clients[vip].finish(at: end) }
    look()
  }

  @inline(__always)
  private mutating func happen(_ entry: Entry) {
    let node = Int(entry.node)
    switch entry.kind {
    case .packet: packetArrives(Int(entry.slot), at: node)
    case .wake: wake(node, entry)
    case .address: addressThreadReads(node, entry)
    case .message: messageIsDone(node, entry)
    case .compare: compare(node, entry)
    case .expiry: leaseEnds(node, vip: Int(entry.slot))
    case .guardian: guardianActs(node, entry)
    case .said: said(node, entry)
    case .peers: reviewPair(Int(entry.slot))
    case .rogue: rogueSpeaks(Int(entry.slot))
    case .answer: answer(node, entry)
    case .link: if daemons[node].life == entry.life { tellLink(node) }
    case .started: if daemons[node].life == entry.life { started(node) }
    case .resume: resume(node, entry)
    case .succeed: succeed(node, entry)
    case .step: step(Int(entry.slot))
    case .undo: if let job = jobs.take(Int(entry.slot)), case .undo(let fault) = job { undo(fault) }
    case .look:
      lookAt = .max
      needsLook = true
    }
  }

  // MARK: Checkers

  /// Something that checkers care about has changed.
  mutating func changed() { needsLook = true }

  private mutating func look() {
    needsLook = false
    if let finding = owners.look(picture) { found(finding) }
    if let finding = vacancies.look(picture) { found(finding) }
    if let finding = leftovers.look(picture) { found(finding) }
    if let finding = neighbours.look(&picture) { found(finding) }
    if let finding = movements.look(picture) { found(finding) }
    var next = earliest(owners.deadline, earliest(vacancies.deadline, leftovers.deadline))
    next = earliest(next, earliest(neighbours.deadline, movements.deadline))
    for vip in clients.indices {
      clients[vip].look(picture)
      next = earliest(next, clients[vip].deadline)
    }
    if case .scenario = plan.story { witness.look(picture) }
    // An earlier look is already on its way, or this one goes before it.
    if let next, next < lookAt {
      lookAt = next
      queue.add(.look, at: next)
    }
  }

  mutating func found(_ finding: Finding) {
    guard violation == nil else { return }
    isBroken = true
    violation = Violation(
      promise: finding.promise, seed: seed, at: .nanoseconds(now), message: finding.message)
  }

  // MARK: Events into nodes, effects out

  /// An event for a daemon: at once, or when a stalled one goes on.
  mutating func deliver(_ event: Event, to node: Int) {
    switch daemons[node].state {
    case .running: handle(event, node)
    case .stalled: daemons[node].keep(.event(event))
    case .absent, .starting: break
    }
  }

  mutating func handle(_ event: Event, _ node: Int) {
    if daemons[node].mustLook { readRecord(node) }
    if case .settings(let new) = event { return reload(new, node) }
    give(event, node)
  }

  /// The loop's first look at each wake-up: what the guardian ended while it could not.
  private mutating func readRecord(_ node: Int) {
    daemons[node].mustLook = false
    for vip in 0..<vips {
      guard let generation = kernels[node].places[vip].unacknowledged else { continue }
      kernels[node].with(vip) { $0.acknowledged = generation }
      give(.address(vip: vip, .revoked(generation: generation)), node)
    }
  }

  private mutating func give(_ event: Event, _ node: Int) {
    let instant = Instant(nanoseconds: now)
    recorder?.event(event, node, at: instant)
    narrate?(now, "lb\(node + 1) ◀ \(describe(event))")
    var effects = scratch
    scratch = []
    planes[node].handle(event, at: instant) { effects.append($0) }
    finish(node, &effects)
  }

  /// Another configuration, or the same once more: what it doesn't change must not notice.
  private mutating func reload(_ new: NodeSettings, _ node: Int) {
    let old = files.running[node]
    files.running[node] = new
    for vip in 0..<vips { picture.configure(node, vip, new.vips.indices.contains(vip) && !new.vips[vip].isVacant) }
    changed()
    let instant = Instant(nanoseconds: now)
    // What is due at this moment comes out of any event.
    let isDue = planes[node].deadline.map { $0 <= instant } ?? false
    let before = planes[node].deadline
    recorder?.event(.settings(new), node, at: instant)
    narrate?(now, "lb\(node + 1) ◀ \(old == new ? "the same settings" : "new settings")")
    var effects = scratch
    scratch = []
    planes[node].handle(.settings(new), at: instant) { effects.append($0) }
    if !isDue {
      for effect in effects {
        guard let vip = effect.vipSpokenOf, old.vips.indices.contains(vip), new.vips.indices.contains(vip),
          old.vips[vip] == new.vips[vip]
        else { continue }
        if vip == 0 { witness.sentOutOfTurn(at: now) }
        found(Finding(promise: .quiet, message: "a reload made lb\(node + 1) do \(describe(effect))"))
      }
      if old == new, planes[node].deadline != before {
        found(Finding(promise: .quiet, message: "a reload without a change moved a deadline of lb\(node + 1)"))
      }
    }
    finish(node, &effects)
  }

  mutating func receive(_ packet: Int, _ node: Int) {
    if daemons[node].mustLook { readRecord(node) }
    // That may have been the end of it.
    guard daemons[node].state == .running else { return }
    let source = packets.source(packet)
    let envelope = Envelope(
      interface: packets.interface(packet), source: source, destination: packets.destination(packet), hopLimit: 255)
    let signed = packets.message(packet)
    guard let message = adverts.admit(signed, in: envelope, by: node, at: now) else {
      narrate?(now, "lb\(node + 1) drops an advert from \(source): \(adverts.lastDiscard.map { "\($0)" } ?? "")")
      return
    }
    let instant = Instant(nanoseconds: now)
    if recorder != nil || narrate != nil {
      let event = Event.advert(envelope, message)
      recorder?.event(event, node, at: instant)
      narrate?(now, "lb\(node + 1) ◀ \(describe(event))")
    }
    var effects = scratch
    scratch = []
    planes[node].receive(message.span.bytes, in: envelope, at: instant) { effects.append($0) }
    if source == Rogue.source, adverts.isPromised, let effect = effects.first(where: \.changesOwner) {
      found(Finding(promise: .stranger, message: "a stranger's advert made lb\(node + 1) do \(describe(effect))"))
    }
    finish(node, &effects)
  }

  @inline(__always)
  private mutating func finish(_ node: Int, _ effects: inout [Effect]) {
    trace.add(now, node: node, effects: effects.count)
    if let finding = progress.handled(node, effects: effects.count) { found(finding) }
    let life = daemons[node].life
    for effect in effects {
      recorder?.effect(effect, node)
      narrate?(now, "lb\(node + 1) ▶ \(describe(effect))")
      perform(effect, node)
    }
    effects.removeAll(keepingCapacity: true)
    scratch = effects
    // It may have ended meanwhile.
    if daemons[node].life == life { arm(node) }
  }

  // MARK: Deadlines

  /// Makes sure that the node is woken at its deadline. A wake that is too early costs less than one taken back.
  @inline(__always)
  mutating func arm(_ node: Int) {
    guard daemons[node].state == .running, let deadline = planes[node].deadline?.nanoseconds,
      deadline < daemons[node].wakeAt
    else { return }
    daemons[node].wakeAt = deadline
    // The loop is a little late, as loops are.
    let time =
      max(deadline, now, daemons[node].silentUntil) + Int64(random.next(below: hogs > 0 ? 3_000_000 : 100_000))
    daemons[node].wakeOrder = queue.add(.wake, at: time, node: node, life: daemons[node].life)
  }

  private mutating func wake(_ node: Int, _ entry: Entry) {
    guard daemons[node].life == entry.life, daemons[node].wakeOrder == entry.order else { return }
    daemons[node].wakeAt = .max
    guard daemons[node].state == .running, let deadline = planes[node].deadline?.nanoseconds else { return }
    if deadline > now { return arm(node) }
    handle(.timer, node)
    guard daemons[node].life == entry.life, daemons[node].state == .running else { return }
    let next = planes[node].deadline?.nanoseconds
    if let finding = progress.timer(node, at: now, next: next) { found(finding) }
  }
}

extension Effect {
  /// The VIP of which something is said to the world, or done on the interface.
  fileprivate var vipSpokenOf: Int? {
    switch self {
    case .transmit(let vip, _, _), .take(let vip, _, _, _), .renew(let vip, _, _), .release(let vip, _),
      .announce(let vip, _), .closeConnections(let vip, _, _):
      vip
    default: nil
    }
  }

  fileprivate var changesOwner: Bool {
    switch self {
    case .take, .release, .closeConnections: true
    default: false
    }
  }
}

func earliest(_ first: Int64?, _ second: Int64?) -> Int64? {
  guard let first else { return second }
  guard let second else { return first }
  return min(first, second)
}
