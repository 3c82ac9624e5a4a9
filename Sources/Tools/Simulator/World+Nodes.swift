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
    daemons[node] = Daemon()
    daemons[node].state = .running
    daemons[node].life = old.life
    daemons[node].workersAreWell = old.workersAreWell
    kernels[node].sweep()
    for vip in 0..<vips { setHolds(node, vip, false) }
    let seed = random.next()
    planes[node] = Plane(plan.settings[node], seed: seed)
    recorder?.begin(node, plan.settings[node], seed: seed)
    serves(node, true)
    tellLink(node)
    if !old.workersAreWell { deliver(.workers(healthy: false), to: node) }
    deliver(.start, to: node)
  }

  /// Gone without a word. What it told the kernel stays; what it had still to tell is lost.
  mutating func kill(_ node: Int) {
    guard daemons[node].state != .absent else { return }
    for inbound in daemons[node].takeInbox() { if case .packet(let slot) = inbound { packets.drop(slot) } }
    for slot in daemons[node].heldOrders { _ = jobs.take(slot) }
    daemons[node].heldOrders = []
    daemons[node].state = .absent
    daemons[node].life &+= 1
    daemons[node].wakeAt = .max
    daemons[node].stalls = 0
    picture.stopAsked[node] = nil
    serves(node, false)
  }

  mutating func stop(_ node: Int) {
    guard daemons[node].state == .running || daemons[node].state == .stalled else { return kill(node) }
    picture.stopAsked[node] = picture.stopAsked[node] ?? now
    picture.isWilling[node] = false
    changed()
    deliver(.stop, to: node)
  }

  mutating func stall(_ node: Int) {
    guard daemons[node].state == .running || daemons[node].state == .stalled else { return }
    daemons[node].stalls += 1
    daemons[node].state = .stalled
    serves(node, false)
  }

  /// The daemon goes on: its address thread and its loop both find what has waited. The loop reads before it acts.
  mutating func resume(_ node: Int) {
    guard daemons[node].state == .stalled else { return }
    daemons[node].stalls -= 1
    guard daemons[node].stalls == 0 else { return }
    daemons[node].state = .running
    daemons[node].wakeAt = .max
    serves(node, true)
    let life = daemons[node].life
    let orders = daemons[node].heldOrders
    daemons[node].heldOrders = []
    for slot in orders where daemons[node].life == life { perform(order: slot, node) }
    for inbound in daemons[node].takeInbox() {
      let isAlive = daemons[node].life == life && daemons[node].state == .running
      switch inbound {
      case .event(let event): if isAlive { handle(event, node) }
      case .packet(let slot):
        if isAlive { receive(slot, node) }
        packets.drop(slot)
      }
    }
    if daemons[node].life == life { arm(node) }
  }

  private mutating func serves(_ node: Int, _ serves: Bool) {
    if picture.serves[node] != serves {
      picture.serves[node] = serves
      picture.servesSince[node] = now
    }
    picture.isWilling[node] = serves && daemons[node].workersAreWell && picture.stopAsked[node] == nil
    changed()
  }

  mutating func workers(_ node: Int, healthy: Bool) {
    daemons[node].workersAreWell = healthy
    deliver(.workers(healthy: healthy), to: node)
    serves(node, picture.serves[node])
  }

  // MARK: Links

  mutating func linkChanged(_ node: Int) {
    changed()
    // Netlink tells within a millisecond or so.
    queue.add(.link, at: now + 200_000 + Int64(random.next(below: 1_000_000)), node: node, life: daemons[node].life)
  }

  mutating func tellLink(_ node: Int) {
    let own = plan.sources[node]
    let state = LinkState(isUp: picture.network.hasCarrier(node), ipv4: own, linkLocal: nil, unicastIPv4: own)
    for interface in interfaces[node] { deliver(.link(interface: interface, state), to: node) }
  }

  // MARK: Packets

  mutating func packetArrives(_ slot: Int, at node: Int) {
    switch daemons[node].state {
    case .running:
      receive(slot, node)
      packets.drop(slot)
    case .stalled:
      if !daemons[node].keep(.packet(slot)) { packets.drop(slot) }
    case .absent, .starting: packets.drop(slot)
    }
  }

  private mutating func transmit(_ message: [UInt8], vip: Int, to destination: Destination, from node: Int) {
    guard picture.network.isConnected(node) else { return }
    let settings = plan.settings[node].vips[vip]
    switch destination {
    case .multicast:
      // 224.0.0.18 (RFC 9568 §5.1.1.2)
      let group = IPAddress.v4(IPv4Address(224, 0, 0, 18))
      let slot = packets.put(message, from: node, interface: settings.interface, to: group)
      packets.addCopy(slot)
      for other in 0..<nodes where other != node { send(slot, node, other) }
      packets.drop(slot)
    case .unicast(let address):
      guard let other = plan.sources.firstIndex(where: { .v4($0) == address }), other != node else { return }
      let slot = packets.put(message, from: node, interface: settings.interface, to: address)
      packets.addCopy(slot)
      send(slot, node, other)
      packets.drop(slot)
    }
  }

  @inline(__always)
  private mutating func send(_ slot: Int, _ from: Int, _ to: Int) {
    guard let journey = picture.network.journey(from, to, &random) else { return }
    arrive(slot, at: to, after: journey.first)
    if let copy = journey.copy { arrive(slot, at: to, after: copy) }
  }

  @inline(__always)
  private mutating func arrive(_ slot: Int, at node: Int, after travel: Int64) {
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
      transmit(message, vip: vip, to: destination, from: node)
    case .take(let vip, let generation, let lease, _): order(.take, vip, generation, lease, node)
    case .renew(let vip, let generation, let lease): order(.renew, vip, generation, lease, node)
    case .release(let vip, let generation):
      kernels[node].end(generation, of: vip)
      order(.release, vip, generation, nil, node)
    case .announce(let vip, let generation): order(.announce, vip, generation, nil, node)
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
    case .askWitnesses, .tell, .prepare, .configure, .answer: break
    case .stopped: stopped(node)
    }
  }

  private mutating func stopped(_ node: Int) {
    trace.add(9 << 32)
    if let finding = leftovers.stopped(node, picture) { found(finding) }
    let again = daemons[node].startsAgain
    kill(node)
    if again { start(node, after: 10_000_000) }
  }

  private mutating func later(_ event: Event, after time: Int64, _ node: Int) {
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
    guard let settings = plan.settings[node].services[service].check else { return }
    let result: CheckResult
    if !picture.network.isConnected(node) {
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

  // MARK: The address thread

  private mutating func order(
    _ kind: Kernel.Order.Kind, _ vip: Int, _ generation: UInt64, _ lease: Duration?, _ node: Int
  ) {
    trace.add(UInt64(truncatingIfNeeded: 2 << 32 | vip))
    trace.add(generation)
    let slot = jobs.put(
      .order(Kernel.Order(kind: kind, vip: vip, generation: generation, lease: lease?.nanoseconds)))
    // Somebody else holds the kernel's lock for up to 20 ms now and then.
    let work = Int64(30_000 + random.next(below: random.next(below: 100) == 0 ? 20_000_000 : 300_000))
    let time = kernels[node].queue(now: now, work: work)
    queue.add(.address, at: time, node: node, life: daemons[node].life, slot: slot)
  }

  mutating func addressThread(_ node: Int, _ entry: Entry) {
    let slot = Int(entry.slot)
    guard daemons[node].life == entry.life, daemons[node].state != .absent else {
      _ = jobs.take(slot)
      return
    }
    if daemons[node].state == .stalled {
      daemons[node].heldOrders.append(slot)
    } else {
      perform(order: slot, node)
    }
  }

  mutating func perform(order slot: Int, _ node: Int) {
    guard let job = jobs.take(slot), case .order(let order) = job else { return }
    let late = Int64(random.next(below: UInt64(Bounds.lateExpiry) / 2))
    let outcome = kernels[node].perform(order, now: now, lateExpiry: late)
    func instant(_ time: Int64?) -> Instant? { time.map { Instant(nanoseconds: $0) } }
    switch outcome {
    case .added(let until):
      setHolds(node, order.vip, true)
      scheduleExpiry(node, order.vip)
      clients[order.vip].heard(announcementOf: node, picture)
      deliver(.address(vip: order.vip, .added(generation: order.generation, until: instant(until))), to: node)
    case .renewed(let until):
      scheduleExpiry(node, order.vip)
      deliver(.address(vip: order.vip, .renewed(generation: order.generation, until: instant(until))), to: node)
    case .removed:
      setHolds(node, order.vip, false)
      deliver(.address(vip: order.vip, .removed(generation: order.generation)), to: node)
    case .announced: clients[order.vip].heard(announcementOf: node, picture)
    case .fenced: break
    }
  }

  private mutating func scheduleExpiry(_ node: Int, _ vip: Int) {
    guard let expiry = kernels[node].addresses[vip].expiry else { return }
    queue.add(.expiry, at: expiry, node: node, slot: vip)
  }

  mutating func leaseEnds(_ node: Int, vip: Int) {
    guard kernels[node].expire(vip, now: now) else { return }
    let generation = kernels[node].addresses[vip].generation
    trace.add(UInt64(truncatingIfNeeded: 3 << 32 | vip))
    narrate?(now, "lb\(node + 1)'s kernel removes VIP \(vip + 1): its lease ended")
    setHolds(node, vip, false)
    deliver(.address(vip: vip, .vanished(generation: generation)), to: node)
  }

  mutating func setHolds(_ node: Int, _ vip: Int, _ holds: Bool) {
    guard picture.holds(node, vip) != holds else { return }
    picture.holds[node * vips + vip] = holds
    trace.add(UInt64(truncatingIfNeeded: 4 << 32 | node << 8 | vip))
    changed()
  }
}
