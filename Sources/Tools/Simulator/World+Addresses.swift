import Basis
import Node
import Wire

// A node's address thread and its kernel, step by step.

extension World {
  mutating func order(
    _ kind: Order.Kind, _ vip: Int, _ generation: UInt64, _ lease: Duration?, _ node: Int,
    announcing: Bool = true
  ) {
    trace.add(UInt64(truncatingIfNeeded: 2 << 32 | vip))
    trace.add(generation)
    let work = lockWait()
    let slot = jobs.put(
      .order(
        Order(
          kind: kind, vip: vip, generation: generation, lease: lease?.nanoseconds, announces: announcing, work: work)))
    let time = kernels[node].queue(now: now, pause: 5000 + Int64(random.next(below: 15_000)), work: work)
    queue.add(.address, at: time, node: node, life: daemons[node].life, slot: slot)
  }

  /// Other addresses of a VIP that is owned: those that are new are added, and the loop hears of it.
  mutating func configure(_ vip: Int, _ node: Int) {
    guard kernels[node].places.indices.contains(vip) else { return }
    let place = kernels[node].places[vip]
    guard place.isPresent, place.isOwner(place.held) else { return }
    let until = place.until.map { Instant(nanoseconds: $0) }
    later(.address(vip: vip, .added(generation: place.held, until: until)), after: lockWait(), node)
  }

  /// How long a message to the kernel takes: somebody else may hold its lock for up to 20 ms.
  mutating func lockWait() -> Int64 {
    let isLocked = locks > 0 || plan.lockedShare > 0 && random.nextFraction() < plan.lockedShare
    return Int64(25_000 + random.next(below: isLocked ? 20_000_000 : 300_000))
  }

  /// The last thing before the message: the thread reads the record and the clock.
  mutating func addressThreadReads(_ node: Int, _ entry: Entry) {
    let slot = Int(entry.slot)
    guard daemons[node].life == entry.life, daemons[node].state != .absent else {
      _ = jobs.take(slot)
      return
    }
    if daemons[node].state == .stalled { return daemons[node].heldSteps.append(entry) }
    guard let job = jobs.take(slot), case .order(var order) = job else { return }
    guard kernels[node].places[order.vip].allows(order, at: now, isFenced: isFenced) else {
      if order.kind == .renew { lookSoon(node, order.vip) }
      return
    }
    order.read = now
    var message = entry
    message.kind = .message
    message.slot = UInt32(truncatingIfNeeded: jobs.put(.order(order)))
    if let length = daemons[node].stallsAtMessage, order.kind != .announce {
      // Here, between reading and telling, is where it must not hurt.
      daemons[node].stallsAtMessage = nil
      narrate?(now, "lb\(node + 1) stalls before it tells the kernel to \(order.kind) VIP \(order.vip + 1)")
      stall(node)
      queue.add(.resume, at: now + length, node: node, life: entry.life, slot: Int(Resume.frozen.rawValue))
      return daemons[node].heldSteps.append(message)
    }
    send(message, order, node)
  }

  /// From here on no signal keeps it from being done.
  private mutating func send(_ message: Entry, _ order: Order, _ node: Int) {
    let done = now + order.work
    daemons[node].messageUntil = max(daemons[node].messageUntil, done)
    var order = order
    order.isSent = true
    jobs.replace(Int(message.slot), .order(order))
    queue.add(.message, at: done, node: node, life: message.life, slot: Int(message.slot))
  }

  mutating func messageIsDone(_ node: Int, _ entry: Entry) {
    guard let job = jobs.take(Int(entry.slot)), case .order(let order) = job else { return }
    if !order.isSent {
      // It was stopped before it could send, and goes on.
      if daemons[node].life != entry.life || daemons[node].state == .absent { return }
      var message = entry
      message.slot = UInt32(truncatingIfNeeded: jobs.put(.order(order)))
      if daemons[node].state == .stalled { return daemons[node].heldSteps.append(message) }
      return send(message, order, node)
    }
    // A link that is gone takes no address.
    if !picture.network.hasInterface(node), order.kind == .take || order.kind == .renew || order.kind == .putBack {
      if daemons[node].life == entry.life {
        deliver(.address(vip: order.vip, .failed(generation: order.generation, code: 19)), to: node)
      }
      return
    }
    let late = Int64(random.next(below: UInt64(Bounds.lateExpiry) / 2))
    let time = now
    let outcome = kernels[node].with(order.vip) { $0.perform(order, at: time, late: late) }
    setHolds(node, order.vip, kernels[node].places[order.vip].isPresent)
    if order.kind == .take || order.kind == .renew || order.kind == .putBack {
      scheduleExpiry(node, order.vip)
      guardianSees(node, order.vip)
    }
    guard daemons[node].life == entry.life else { return }
    report(outcome, of: order, node)
    if kernels[node].places[order.vip].discrepancy(at: now, isFenced: isFenced) != nil { lookSoon(node, order.vip) }
  }

  private mutating func report(_ outcome: MessageOutcome, of order: Order, _ node: Int) {
    func instant(_ time: Int64?) -> Instant? { time.map { Instant(nanoseconds: $0) } }
    let generation = order.generation
    switch outcome {
    case .added(let until):
      if order.announces { announced(order.vip, by: node) }
      deliver(.address(vip: order.vip, .added(generation: generation, until: instant(until))), to: node)
    case .renewed(let until):
      deliver(.address(vip: order.vip, .renewed(generation: generation, until: instant(until))), to: node)
    case .removed: deliver(.address(vip: order.vip, .removed(generation: generation)), to: node)
    case .announced: announced(order.vip, by: node)
    case .putBack:
      announced(order.vip, by: node)
      deliver(.address(vip: order.vip, .putBack(generation: generation)), to: node)
    case .ignored: break
    }
  }

  /// Gratuitous ARP: the client believes it, and another owner hears it. A stranger is node -1.
  mutating func announced(_ vip: Int, by node: Int) {
    if node >= 0, !picture.network.canSpeak(node) { return }
    picture.announcer[vip] = node
    picture.hasMet[vip] = false
    if clients.indices.contains(vip) { clients[vip].heard(announcementOf: node, picture) }
    for other in 0..<nodes where other != node && picture.holds(other, vip) {
      guard node < 0 ? picture.network.canSpeak(other) : picture.network.reaches(node, other) else { continue }
      // Where the announcement reaches the owner it has the chance to know.
      if node < 0, picture.serves[other] { picture.hasMet[vip] = true }
      let mac = MACAddress(rawValue: 0x0200_0000_0000 | UInt64(node + 1))
      let slot = jobs.put(.answer(.address(vip: vip, .claimed(Plan.address(of: vip), by: mac))))
      let time = now + 200_000 + Int64(random.next(below: 800_000))
      queue.add(.answer, at: time, node: other, life: daemons[other].life, slot: slot)
    }
    changed()
  }

  // MARK: What happens without the thread

  /// The kernel's notification is on its way to the thread, which then looks.
  mutating func lookSoon(_ node: Int, _ vip: Int, after pause: Int64 = 200_000) {
    let time = now + pause + Int64(random.next(below: 800_000))
    queue.add(.compare, at: time, node: node, life: daemons[node].life, slot: vip)
  }

  /// Marks a look that was put off once, in an entry's slot.
  private static var second: UInt32 { 1 << 16 }

  mutating func compare(_ node: Int, _ entry: Entry) {
    let vip = Int(entry.slot & 0xFFFF)
    guard daemons[node].life == entry.life else { return }
    if daemons[node].state == .stalled { return daemons[node].heldSteps.append(entry) }
    guard daemons[node].state == .running else { return }
    let place = kernels[node].places[vip]
    switch place.discrepancy(at: now, isFenced: isFenced) {
    case nil: break
    case .stray: remove(node, vip)
    case .revoked:
      // If the loop ended it, its order is on the way: the thread waits for it, once.
      let isDeposed = place.deposed == place.held
      guard isDeposed || entry.slot & Self.second != 0 else {
        queue.add(
          .compare, at: now + 10_000_000, node: node, life: entry.life, slot: vip | Int(Self.second))
        break
      }
      remove(node, vip)
      if isDeposed { deliver(.address(vip: vip, .revoked(generation: place.held)), to: node) }
    case .expired:
      remove(node, vip)
      deliver(.address(vip: vip, .vanished(generation: place.held)), to: node)
    case .missing:
      if plan.without.contains(.putBack) { break }
      if picture.network.hasInterface(node), kernels[node].isPatient(vip, now: now) {
        order(.putBack, vip, place.held, nil, node)
      } else {
        remove(node, vip)
        deliver(.address(vip: vip, .vanished(generation: place.held)), to: node)
      }
    }
  }

  private mutating func remove(_ node: Int, _ vip: Int) {
    kernels[node].with(vip) { $0.forget() }
    setHolds(node, vip, false)
  }

  private mutating func scheduleExpiry(_ node: Int, _ vip: Int) {
    guard let expiry = kernels[node].places[vip].expiry else { return }
    queue.add(.expiry, at: expiry, node: node, slot: vip)
  }

  mutating func leaseEnds(_ node: Int, vip: Int) {
    let time = now
    guard kernels[node].with(vip, { $0.expire(at: time) }) else { return }
    trace.add(UInt64(truncatingIfNeeded: 3 << 32 | vip))
    narrate?(now, "lb\(node + 1)'s kernel removes VIP \(vip + 1): its lease ended")
    setHolds(node, vip, false)
    lookSoon(node, vip)
  }

  /// Another program removes an address.
  mutating func rob(_ node: Int, _ vip: Int) {
    guard kernels[node].places[vip].isPresent else { return }
    kernels[node].with(vip) { $0.removeFromOutside() }
    setHolds(node, vip, false)
    let place = kernels[node].places[vip]
    if place.isOwner(place.held), picture.serves[node] { picture.robbedSince[node * vips + vip] = now }
    lookSoon(node, vip)
  }

  mutating func setHolds(_ node: Int, _ vip: Int, _ holds: Bool) {
    guard picture.holds(node, vip) != holds else { return }
    picture.holds[node * vips + vip] = holds
    trace.add(UInt64(truncatingIfNeeded: 4 << 32 | node << 8 | vip))
    if holds {
      movements.held(node, vip)
      picture.robbedSince[node * vips + vip] = nil
    }
    if let finding = winners.changed(node, vip, holds: holds, picture) { found(finding) }
    changed()
  }
}
