import Basis
import VRRP

// A node's guardian at work: see `Guardian`.

extension World {
  // MARK: Its life

  /// The daemon starts it before anything else.
  mutating func beginGuardian(_ node: Int) {
    guardians[node].life &+= 1
    guardians[node].state = .watching
    guardians[node].stalls = 0
    guardians[node].holdsDaemon = false
    guardians[node].held = []
    guardians[node].since = now
    picture.guardedSince[node] = now
  }

  /// The daemon ends in order, and there is nothing to guard.
  mutating func endGuardian(_ node: Int) {
    guardians[node].life &+= 1
    guardians[node].state = .absent
    guardians[node].holdsDaemon = false
    guardians[node].held = []
    picture.guardedSince[node] = nil
  }

  mutating func killGuardian(_ node: Int) {
    guard guardians[node].state != .absent else { return }
    let heldDaemon = guardians[node].holdsDaemon
    endGuardian(node)
    changed()
    if daemons[node].state == .running { respawnGuardian(node) }
    // It was about to continue the daemon. The service manager's watchdog ends what stands still.
    if heldDaemon { add(.abandoned, node, after: 3_000_000_000) }
  }

  mutating func respawnGuardian(_ node: Int) {
    add(.spawned, node, after: 5_000_000 + Int64(random.next(below: 45_000_000)))
  }

  mutating func stallGuardian(_ node: Int) {
    guard guardians[node].state != .absent else { return }
    guardians[node].stalls += 1
    guardians[node].state = .stalled
    picture.guardedSince[node] = nil
    changed()
  }

  mutating func guardianGoesOn(_ node: Int) {
    guard guardians[node].state == .stalled else { return }
    guardians[node].stalls -= 1
    guard guardians[node].stalls <= 0 else { return }
    guardians[node].stalls = 0
    guardians[node].state = .watching
    guardians[node].since = now
    picture.guardedSince[node] = now
    let steps = guardians[node].held
    guardians[node].held = []
    for step in steps { queue.add(.guardian, at: now + 10_000, node: node, life: step.life, slot: Int(step.slot)) }
    if daemons[node].state == .absent || daemons[node].state == .starting {
      guardianHears(ofDeath: node)
    } else if daemons[node].state == .stalled {
      guardianCounts(node)
    }
    changed()
  }

  // MARK: What it learns

  /// The lock that the loop held is its own now.
  mutating func guardianHears(ofDeath node: Int) {
    guard guardians[node].state == .watching else { return }
    add(.look, node, after: 100_000 + Int64(random.next(below: 1_500_000)) + lateness())
  }

  /// No beat from now on.
  mutating func guardianCounts(_ node: Int) {
    guard guardians[node].state == .watching else { return }
    add(.look, node, after: Guardian.threshold(interval: bounds.interval) + lateness())
  }

  /// A daemon that goes on looks after its guardian, too.
  mutating func daemonGoesOn(_ node: Int) {
    if guardians[node].state == .absent { respawnGuardian(node) }
  }

  /// The kernel tells it of every address that is added.
  mutating func guardianSees(_ node: Int, _ vip: Int) {
    guard isFenced, guardians[node].state == .watching, plan.hasGuardian else { return }
    let place = kernels[node].places[vip]
    guard place.isPresent, isLeft(node, vip) else { return }
    add(.removeAgain, node, vip: vip, after: 100_000 + Int64(random.next(below: 900_000)) + lateness())
  }

  /// It has SCHED_FIFO where that is allowed, and is late all the same now and then.
  private mutating func lateness() -> Int64 { Int64(random.next(below: hogs > 0 ? 20_000_000 : 2_000_000)) }

  private mutating func add(_ step: Guardian.Step, _ node: Int, vip: Int = 0, after pause: Int64) {
    queue.add(
      .guardian, at: now + pause, node: node, life: guardians[node].life, slot: vip << 8 | Int(step.rawValue))
  }

  // MARK: What it does

  mutating func guardianActs(_ node: Int, _ entry: Entry) {
    guard guardians[node].life == entry.life, let step = Guardian.Step(rawValue: entry.slot & 0xFF) else { return }
    if guardians[node].state == .stalled { return guardians[node].held.append(entry) }
    switch step {
    case .spawned:
      if guardians[node].state == .absent, daemons[node].state == .running || daemons[node].state == .stalled {
        guardians[node].state = .watching
        guardians[node].since = now
        picture.guardedSince[node] = now
        if daemons[node].state == .stalled { guardianCounts(node) }
        changed()
      }
      return
    case .abandoned:
      guard daemons[node].state == .stalled, daemons[node].isStopped else { return }
      kill(node)
      return start(node, after: 100_000_000)
    default: break
    }
    guard guardians[node].state == .watching, plan.hasGuardian else { return }
    act(step, node, vip: Int(entry.slot >> 8))
  }

  private mutating func act(_ step: Guardian.Step, _ node: Int, vip: Int) {
    let moment = 1000 + Int64(random.next(below: 50_000))
    let isDead = daemons[node].state == .absent || daemons[node].state == .starting
    switch step {
    case .look:
      if isDead { return add(.depose, node, after: moment) }
      guard daemons[node].state == .stalled, !guardians[node].holdsDaemon else { return }
      let silence = now - max(picture.servesSince[node], guardians[node].since)
      let missing = Guardian.threshold(interval: bounds.interval) - silence
      add(missing > 0 ? .look : .hold, node, after: missing > 0 ? missing : moment)
    case .hold:
      // It looks once more, now that nothing can change: a loop that turned meanwhile is none of its business.
      guard daemons[node].state == .stalled else { return }
      narrate?(now, "lb\(node + 1)'s guardian stops the daemon")
      // What somebody else stopped stays stopped.
      guardians[node].holdsDaemon = !daemons[node].isStopped
      stall(node, byHand: true)
      add(.depose, node, after: moment)
    case .depose:
      var any = false
      for vip in 0..<vips {
        if kernels[node].with(vip, { $0.depose() }) || isLeft(node, vip) { any = true }
      }
      narrate?(now, "lb\(node + 1)'s guardian ends what the daemon owned")
      if any { daemons[node].mustLook = !isDead }
      add(any ? .release : .go, node, after: moment)
    case .release:
      for vip in 0..<vips where kernels[node].places[vip].unacknowledged != nil { sayFarewell(node, vip) }
      add(.remove, node, after: lockWait())
    case .remove:
      for vip in 0..<vips where isLeft(node, vip) { takeAway(node, vip) }
      add(.go, node, after: moment)
    case .removeAgain: if isLeft(node, vip) { takeAway(node, vip) }
    case .go:
      guard guardians[node].holdsDaemon else { return }
      guardians[node].holdsDaemon = false
      narrate?(now, "lb\(node + 1)'s guardian lets the daemon go on")
      unstall(node, byHand: true)
    case .spawned, .abandoned: break
    }
  }

  /// Nobody owns it, and the loop has not heard of that; or it ended the ownership itself, and fell silent before its thread had
  /// removed the address.
  private func isLeft(_ node: Int, _ vip: Int) -> Bool {
    let place = kernels[node].places[vip]
    guard !place.isOwner(place.granted) else { return false }
    return place.unacknowledged != nil || place.isPresent && daemons[node].state != .running
  }

  private mutating func sayFarewell(_ node: Int, _ vip: Int) {
    guard let (message, destination) = adverts.farewell(of: vip, by: node) else { return }
    narrate?(now, "lb\(node + 1)'s guardian says priority 0 for VIP \(vip + 1)")
    transmit(message, vip: vip, to: destination, from: node)
  }

  private mutating func takeAway(_ node: Int, _ vip: Int) {
    guard kernels[node].places[vip].isPresent else { return }
    narrate?(now, "lb\(node + 1)'s guardian removes VIP \(vip + 1)")
    kernels[node].with(vip) { $0.removeFromOutside() }
    setHolds(node, vip, false)
    lookSoon(node, vip)
  }
}
