import Basis
import Health
import Node
import VRRP
import Wire

// A node's life, and what becomes of its effects.

extension World {
  // MARK: Processes

  mutating func start(_ node: Int, after pause: Int64) {
    guard daemons[node].state == .absent else { return }
    daemons[node].state = .starting
    daemons[node].life &+= 1
    queue.add(.started, at: now + pause, node: node, life: daemons[node].life)
  }

  /// The process is up: it removes what an earlier life left, looks at its links and begins.
  mutating func started(_ node: Int) {
    guard daemons[node].state == .starting else { return }
    let old = daemons[node]
    // A process is not gone, nor its name free, before the kernel has done what its last thread asked for.
    if old.messageUntil > now {
      queue.add(.started, at: old.messageUntil + 1, node: node, life: old.life)
      return
    }
    daemons[node] = Daemon()
    daemons[node].state = .running
    daemons[node].life = old.life
    daemons[node].workersAreWell = old.workersAreWell
    let sweeps = !plan.without.contains(.sweep)
    kernels[node].begin(sweeps: sweeps)
    for vip in 0..<vips {
      setHolds(node, vip, kernels[node].places[vip].isPresent)
      if picture.holds(node, vip) { found(leftovers.unswept(node, vip)) }
    }
    beginGuardian(node)
    let settings = files.current(node)
    files.running[node] = settings
    for vip in 0..<vips {
      picture.configure(node, vip, settings.vips.indices.contains(vip) && !settings.vips[vip].isVacant)
      picture.removedSince[node * vips + vip] = nil
    }
    adverts.begin(node)
    let seed = random.next()
    planes[node] = Plane(settings, seed: seed)
    recorder?.begin(node, settings, seed: seed)
    serves(node, true)
    tellLink(node)
    if !old.workersAreWell { deliver(.workers(healthy: false), to: node) }
    deliver(.start, to: node)
    reviewPeers()
  }

  /// Gone without a word. What it told the kernel stays; what it had still to tell is lost.
  mutating func kill(_ node: Int) {
    guard daemons[node].state != .absent else { return }
    let wasAlive = daemons[node].state != .starting
    for inbound in daemons[node].takeInbox() { if case .packet(let slot) = inbound { packets.drop(slot) } }
    for entry in daemons[node].heldSteps where entry.kind != .compare { _ = jobs.take(Int(entry.slot)) }
    daemons[node].heldSteps = []
    daemons[node].state = .absent
    daemons[node].life &+= 1
    daemons[node].wakeAt = .max
    daemons[node].stalls = 0
    daemons[node].isStopped = false
    daemons[node].mustLook = false
    daemons[node].stallsAtMessage = nil
    daemons[node].isOnStandby = false
    picture.stopAsked[node] = nil
    picture.standbySince[node] = nil
    for vip in 0..<vips { picture.robbedSince[node * vips + vip] = nil }
    movements.ended(node)
    serves(node, false)
    if wasAlive {
      noteClaims(node)
      picture.grace[node] = bounds.death ?? 0
      // What stood still before dies now: the guardian has learnt nothing yet.
      picture.servesSince[node] = now
      peers.forget(node)
      guardianHears(ofDeath: node)
    }
    reviewPeers()
  }

  mutating func stop(_ node: Int) {
    guard daemons[node].state == .running || daemons[node].state == .stalled else { return kill(node) }
    picture.stopAsked[node] = picture.stopAsked[node] ?? now
    picture.isWilling[node] = false
    changed()
    deliver(.stop, to: node)
  }

  /// A fault stops it from being run. `byHand`: SIGSTOP, which any SIGCONT ends; otherwise as many ends as beginnings do.
  mutating func stall(_ node: Int, byHand: Bool = false) {
    guard daemons[node].state == .running || daemons[node].state == .stalled else { return }
    if byHand { daemons[node].isStopped = true } else { daemons[node].stalls += 1 }
    guard daemons[node].state == .running else { return }
    daemons[node].state = .stalled
    noteClaims(node)
    serves(node, false)
    picture.grace[node] = bounds.stall ?? 0
    guardianCounts(node)
  }

  /// It has said that it takes over, and falls silent before it has: everybody waits for it once more.
  private mutating func noteClaims(_ node: Int) {
    for vip in 0..<vips {
      let place = kernels[node].places[vip]
      if !place.isPresent, place.isOwner(place.granted) { picture.claimedUntil[vip] = now }
    }
  }

  mutating func unstall(_ node: Int, byHand: Bool = false) {
    guard daemons[node].state == .stalled else { return }
    if byHand { daemons[node].isStopped = false } else { daemons[node].stalls = max(0, daemons[node].stalls - 1) }
    wakeUp(node)
  }

  mutating func resume(_ node: Int, _ entry: Entry) {
    switch entry.slot {
    case Resume.daemon.rawValue where daemons[node].life == entry.life: unstall(node, byHand: true)
    case Resume.frozen.rawValue where daemons[node].life == entry.life: unstall(node)
    case Resume.guardian.rawValue: guardianGoesOn(node)
    default: break
    }
  }

  enum Resume: UInt32 { case daemon, frozen, guardian }

  /// The daemon goes on, if nothing keeps it: its address thread and its loop both find what has waited. The loop reads before
  /// it acts.
  mutating func wakeUp(_ node: Int) {
    guard daemons[node].state == .stalled, daemons[node].stalls == 0, !daemons[node].isStopped else { return }
    daemons[node].state = .running
    daemons[node].wakeAt = .max
    serves(node, true)
    daemonGoesOn(node)
    let life = daemons[node].life
    let steps = daemons[node].heldSteps
    daemons[node].heldSteps = []
    // Its threads wake up in any order. The address thread goes on where it was, and what the loop asks for now comes behind.
    var time = now
    for step in steps {
      time += Int64(random.next(below: 50_000))
      queue.add(step.kind, at: time, node: node, life: step.life, slot: Int(step.slot))
      if step.kind != .compare, case .order(let order) = jobs.peek(Int(step.slot)) { time += order.work }
    }
    kernels[node].isBusy(until: time)
    for inbound in daemons[node].takeInbox() {
      let isAlive = daemons[node].life == life && daemons[node].state == .running
      switch inbound {
      case .event(let event): if isAlive { handle(event, node) }
      case .packet(let slot):
        if isAlive { receive(slot, node) }
        packets.drop(slot)
      }
    }
    guard daemons[node].life == life else { return }
    // What the kernel did meanwhile waits in the thread's socket.
    for vip in 0..<vips where kernels[node].places[vip].discrepancy(at: now, isFenced: isFenced) != nil {
      lookSoon(node, vip)
    }
    arm(node)
    reviewPeers()
  }

  private mutating func serves(_ node: Int, _ serves: Bool) {
    if picture.serves[node] != serves {
      picture.serves[node] = serves
      picture.servesSince[node] = now
    }
    judgeWillingness(node)
  }

  func isWilling(_ node: Int) -> Bool {
    picture.serves[node] && daemons[node].workersAreWell && picture.stopAsked[node] == nil
      && picture.standbySince[node] == nil
  }

  mutating func judgeWillingness(_ node: Int) {
    picture.isWilling[node] = isWilling(node)
    changed()
  }

  mutating func workers(_ node: Int, healthy: Bool) {
    daemons[node].workersAreWell = healthy
    deliver(.workers(healthy: healthy), to: node)
    judgeWillingness(node)
  }

  // MARK: Links

  mutating func linkChanged(_ node: Int) {
    changed()
    // Netlink tells within a millisecond or so.
    queue.add(.link, at: now + 200_000 + Int64(random.next(below: 1_000_000)), node: node, life: daemons[node].life)
  }

  mutating func tellLink(_ node: Int) {
    let own = plan.sources[node]
    let isUp = picture.network.hasCarrier(node) && picture.network.hasName(node)
    var state = LinkState(isUp: isUp, ipv4: own, linkLocal: nil, unicastIPv4: own)
    if !picture.network.hasName(node) {
      state.ipv4 = nil
      state.unicastIPv4 = nil
    }
    for interface in files.interfaces(node) { deliver(.link(interface: interface, state), to: node) }
  }

  /// Who reaches nobody, and since when.
  mutating func reviewIsolation() {
    for node in 0..<nodes {
      if picture.network.canSpeak(node) {
        picture.isolatedSince[node] = nil
      } else if picture.isolatedSince[node] == nil {
        picture.isolatedSince[node] = now
      }
    }
  }

  // MARK: Packets

  mutating func packetArrives(_ slot: Int, at node: Int) {
    switch daemons[node].state {
    case .running:
      if picture.network.hasName(node), daemons[node].silentUntil <= now { receive(slot, node) }
      packets.drop(slot)
    case .stalled:
      if !picture.network.hasName(node) || !daemons[node].keep(.packet(slot)) { packets.drop(slot) }
    case .absent, .starting: packets.drop(slot)
    }
  }

  /// What a node says with its own address, signed at this moment.
  mutating func transmit(_ plain: [UInt8], vip: Int, to destination: Destination, from node: Int) {
    guard picture.network.canSpeak(node), files.running[node].vips.indices.contains(vip) else { return }
    let interface = files.running[node].vips[vip].interface
    let source = IPAddress.v4(plan.sources[node])
    switch destination {
    case .multicast:
      let message = adverts.sign(plain, of: vip, from: source, to: Self.group, by: node, at: now)
      let slot = packets.put(message, from: source, interface: interface, to: Self.group)
      packets.addCopy(slot)
      for other in 0..<nodes where other != node { send(slot, node, other) }
      packets.drop(slot)
    case .unicast(let address):
      guard let other = plan.sources.firstIndex(where: { .v4($0) == address }), other != node else { return }
      let message = adverts.sign(plain, of: vip, from: source, to: address, by: node, at: now)
      let slot = packets.put(message, from: source, interface: interface, to: address)
      packets.addCopy(slot)
      send(slot, node, other)
      packets.drop(slot)
    }
  }

  /// 224.0.0.18 (RFC 9568 §5.1.1.2)
  static var group: IPAddress { .v4(IPv4Address(224, 0, 0, 18)) }

  @inline(__always)
  private mutating func send(_ slot: Int, _ from: Int, _ to: Int) {
    guard let journey = picture.network.journey(from, to, &random) else { return }
    arrive(slot, at: to, after: journey.first)
    if let copy = journey.copy { arrive(slot, at: to, after: copy) }
  }

  @inline(__always)
  mutating func arrive(_ slot: Int, at node: Int, after travel: Int64) {
    packets.addCopy(slot)
    queue.add(.packet, at: now + travel, node: node, slot: slot)
    let weather = picture.network.weather
    if travel > weather.latency + 4 * weather.jitter {
      picture.slowPacketsUntil = max(picture.slowPacketsUntil, now + travel)
    }
  }

  // MARK: Effects

  mutating func perform(_ effect: Effect, _ node: Int) {
    switch effect {
    case .transmit(let vip, let message, let destination):
      trace.add(UInt64(truncatingIfNeeded: 1 << 32 | vip << 16 | message.count))
      adverts.said(message, of: vip, to: destination, by: node)
      transmit(message, vip: vip, to: destination, from: node)
    case .take(let vip, let generation, let lease, let announcing):
      kernels[node].with(vip) { $0.grant(generation) }
      checkIsolation(node, vip)
      order(.take, vip, generation, lease, node, announcing: announcing)
    case .renew(let vip, let generation, let lease): order(.renew, vip, generation, lease, node)
    case .release(let vip, let generation):
      // From this moment the generation is over.
      kernels[node].with(vip) { $0.revoke(generation) }
      picture.robbedSince[node * vips + vip] = nil
      order(.release, vip, generation, nil, node)
    case .announce(let vip, let generation): if announcesAgain { order(.announce, vip, generation, nil, node) }
    case .closeConnections(let vip, let generation, let within):
      trace.add(UInt64(truncatingIfNeeded: 6 << 32 | vip))
      // Clients finish at some time within, or are reset then; a reset takes a moment too.
      let time = 50_000 + Int64(random.next(below: UInt64(max(0, within.nanoseconds)) + 1))
      later(.connectionsClosed(vip: vip, generation: generation), after: time, node)
    case .probe(let service, let backend, let probe): check(service, backend, probe, node)
    case .backend(_, let backend, let state):
      trace.add(UInt64(truncatingIfNeeded: 8 << 32 | backend << 8 | (state == .up ? 1 : 0)))
      if picture.holds(node, 0) { witness.backend(backend, isUp: state == .up, at: now) }
    case .report: break
    case .askWitnesses(let vip, let round):
      guard picture.network.canSpeak(node) else { break }
      later(.witness(vip: vip, round: round), after: 200_000 + Int64(random.next(below: 2_000_000)), node)
    case .tell(let peer, let message): tell(message, to: peer < node ? peer : peer + 1, from: node)
    case .configure(let vip, _): configure(vip, node)
    case .prepare(let vip, let generation):
      let time = 1_000_000 + Int64(random.next(below: 20_000_000))
      later(.prepared(vip: vip, generation: generation, succeeded: true), after: time, node)
    case .answer(let ticket, let answer):
      if let finding = movements.answered(ticket, answer, names: plan.settings.map(\.name)) { found(finding) }
    case .stopped: stopped(node)
    }
  }

  /// With witnesses to ask, a node that reaches nobody claims nothing: it may go by a proof that is five quarters of an interval old, and
  /// by packets that were on their way, or waited for it to be run, when it was cut off.
  private mutating func checkIsolation(_ node: Int, _ vip: Int) {
    guard plan.promisesIsolation, let since = picture.isolatedSince[node],
      now - max(since, picture.slowPacketsUntil, picture.servesSince[node]) > bounds.interval * 5 / 4 + 5_000_000
    else { return }
    found(
      Finding(
        promise: .isolation,
        message:
          "lb\(node + 1) takes VIP \(vip + 1), \((now - since) / 1_000_000) ms after it was cut off from everybody"))
  }

  private mutating func stopped(_ node: Int) {
    trace.add(9 << 32)
    if let finding = leftovers.stopped(node, picture) { found(finding) }
    let again = daemons[node].startsAgain
    // Nothing is left to guard.
    endGuardian(node)
    kill(node)
    if again { start(node, after: 10_000_000) }
  }

  mutating func later(_ event: Event, after time: Int64, _ node: Int) {
    let slot = jobs.put(.answer(event))
    queue.add(.answer, at: now + time, node: node, life: daemons[node].life, slot: slot)
  }

  mutating func answer(_ node: Int, _ entry: Entry) {
    guard let job = jobs.take(Int(entry.slot)), case .answer(let event) = job, daemons[node].life == entry.life else {
      return
    }
    deliver(event, to: node)
  }

  /// A backend answers at once, refuses at once, or isn't reached.
  private mutating func check(_ service: Int, _ backend: Int, _ probe: UInt64, _ node: Int) {
    guard let settings = files.running[node].services[service].check else { return }
    let result: CheckResult
    if !picture.network.isConnected(node) || !backendsAlive.indices.contains(backend) {
      result = CheckResult(.failed, latency: settings.timeout, message: "timed out")
    } else {
      let latency = Duration.nanoseconds(200_000 + Int64(random.next(below: 800_000)))
      result =
        backendsAlive[backend]
        ? CheckResult(.passed, latency: latency, message: "connected")
        : CheckResult(.failed, latency: latency, message: "connection refused")
    }
    later(
      .check(service: service, backend: backend, probe: probe, result), after: result.latency.nanoseconds, node)
  }
}
