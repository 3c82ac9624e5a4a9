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
  var kernels: [Kernel]
  var picture: Picture
  var backendsAlive: [Bool]
  var packets = Packets()
  var jobs = Slots<Job>()

  var owners: OwnersChecker
  var vacancies: VacancyChecker
  var leftovers: LeftoverChecker
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
  let interfaces: [[String]]

  var nodes: Int { plan.settings.count }
  var vips: Int { plan.settings.first?.vips.count ?? 0 }
  var now: Int64 { picture.now }

  init(_ plan: Plan, seed: UInt64) {
    self.plan = plan
    self.seed = seed
    random = SplitMix64(seed: seed)
    end = 0
    let nodes = plan.settings.count
    let vips = plan.settings.first?.vips.count ?? 0
    let backends = plan.settings.first?.services.map(\.backends.count).max() ?? 0
    let weather = Network.Weather(
      latency: plan.latency.nanoseconds, jitter: plan.jitter.nanoseconds, loss: plan.loss, duplication: plan.duplication
    )
    planes = []
    for settings in plan.settings { planes.append(Plane(settings, seed: random.next())) }
    daemons = Array(repeating: Daemon(), count: nodes)
    kernels = Array(repeating: Kernel(vips: vips), count: nodes)
    picture = Picture(nodes: nodes, vips: vips, network: Network(nodes: nodes, weather: weather))
    backendsAlive = Array(repeating: true, count: backends)
    let bounds = plan.bounds
    owners = OwnersChecker(picture, bounds: bounds)
    vacancies = VacancyChecker(picture, bounds: bounds)
    leftovers = LeftoverChecker(bounds: bounds)
    progress = ProgressChecker(
      nodes: nodes, vips: vips, backends: plan.settings.first?.services.reduce(0) { $0 + $1.backends.count } ?? 0)
    var isScenario = false
    if case .scenario = plan.story { isScenario = true }
    clients = (0..<vips).map { Client(vip: $0, keepsGaps: isScenario && $0 == 0) }
    // A name once, in the order of the VIPs.
    interfaces = plan.settings.map { settings in
      var names: [String] = []
      for vip in settings.vips where !names.contains(vip.interface) { names.append(vip.interface) }
      return names
    }
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
    case .address: addressThread(node, entry)
    case .expiry: leaseEnds(node, vip: Int(entry.slot))
    case .answer: answer(node, entry)
    case .link: if daemons[node].life == entry.life { tellLink(node) }
    case .started: if daemons[node].life == entry.life { started(node) }
    case .resume: resume(node)
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
    var next = earliest(owners.deadline, earliest(vacancies.deadline, leftovers.deadline))
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
    let instant = Instant(nanoseconds: now)
    recorder?.event(event, node, at: instant)
    narrate?(now, "lb\(node + 1) ◀ \(describe(event))")
    var effects = scratch
    scratch = []
    planes[node].handle(event, at: instant) { effects.append($0) }
    finish(node, &effects)
  }

  mutating func receive(_ packet: Int, _ node: Int) {
    let instant = Instant(nanoseconds: now)
    let from = packets.sender(packet)
    let envelope = Envelope(
      interface: packets.interface(packet), source: .v4(plan.sources[from]), destination: packets.destination(packet),
      hopLimit: 255)
    if recorder != nil || narrate != nil {
      let event = Event.advert(envelope, packets.message(packet))
      recorder?.event(event, node, at: instant)
      narrate?(now, "lb\(node + 1) ◀ \(describe(event))")
    }
    var effects = scratch
    scratch = []
    let message = packets.message(packet)
    planes[node].receive(message.span.bytes, in: envelope, at: instant) { effects.append($0) }
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
    let time = max(deadline, now) + Int64(random.next(below: 100_000))
    daemons[node].wakeOrder = queue.add(.wake, at: time, node: node, life: daemons[node].life)
  }

  private mutating func wake(_ node: Int, _ entry: Entry) {
    guard daemons[node].life == entry.life, daemons[node].wakeOrder == entry.order else { return }
    daemons[node].wakeAt = .max
    guard daemons[node].state == .running, let deadline = planes[node].deadline?.nanoseconds else { return }
    if deadline > now { return arm(node) }
    handle(.timer, node)
    guard daemons[node].life == entry.life else { return }
    let next = planes[node].deadline?.nanoseconds
    if let finding = progress.timer(node, at: now, next: next) { found(finding) }
  }
}

func earliest(_ first: Int64?, _ second: Int64?) -> Int64? {
  guard let first else { return second }
  guard let second else { return first }
  return min(first, second)
}
