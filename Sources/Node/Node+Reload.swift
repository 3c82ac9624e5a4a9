import Basis
import VRRP
import Wire

// Other settings, by difference: what did not change sees not one effect.
//
// A VIP or service keeps its place. What is removed leaves it politely and empties it; what is new takes an empty one; what changes goes on
// in place, but for what makes it another virtual router for its peers: that leaves politely and joins anew. Until the VIP that leaves
// is gone, its place is its own, and what follows waits in `VirtualAddress.pending`.

extension Node {
  mutating func reload(_ new: NodeSettings, at now: Instant, _ emit: (Effect) -> Void) {
    guard phase == .idle || phase == .running, new != settings else { return }
    let old = settings
    settings = new
    // A place may be empty, but it is never taken away: somebody may still leave it, or report on it.
    while settings.vips.count < vips.count { settings.vips.append(.vacant) }
    while settings.services.count < services.count { settings.services.append(.vacant) }
    while vips.count < settings.vips.count { vips.append(VirtualAddress(.vacant, hasServices: false)) }
    if old.peers != settings.peers { hearsay.change(from: old.peers, to: settings.peers) }
    layOutSegments()
    let changed = changeServices()
    layOutDeadlines()
    coordinationReloaded(from: old, at: now, emit)
    for service in changed { serviceWasChanged(service, at: now, emit) }
    for vip in vips.indices { reload(vip: vip, at: now, emit) }
    if old.hasWitnesses != settings.hasWitnesses {
      for vip in vips.indices {
        vips[vip].listening.ask = nil
        askLater(vip: vip, at: now)
        rearm(vip)
      }
    }
  }

  private mutating func layOutSegments() {
    let before = segments
    segments = Segment.all(of: settings.vips + vips.map(\.settings))
    for index in segments.indices {
      guard let old = Segment.index(of: segments[index].interface, in: before) else { continue }
      segments[index] = before[old]
    }
    for vip in vips.indices {
      vips[vip].segment = Segment.index(of: vips[vip].settings.interface, in: segments)
    }
  }

  private mutating func layOutDeadlines() {
    var part = vips.count
    checkedServices.removeAll(keepingCapacity: true)
    for service in services.indices {
      for _ in services[service].backends { checkedServices.append(service) }
      services[service].firstPart = part
      part += services[service].backends.count
    }
    coordinationPart = part
    stopPart = part + 1
    deadlines = DeadlineHeap(count: part + 2)
    leases = DeadlineHeap(count: vips.count)
    routes.areStale = true
    for vip in vips.indices { rearm(vip) }
    for service in services.indices {
      for backend in services[service].backends.indices {
        let deadline = services[service].backends[backend].monitor?.deadline
        deadlines.set(services[service].firstPart + backend, to: deadline)
      }
    }
    deadlines.set(coordinationPart, to: coordination.deadline)
  }
}

// MARK: - VIPs

extension Node {
  private mutating func reload(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    let new = settings.vips[vip]
    let current = vips[vip].settings
    defer { rearm(vip) }
    if vips[vip].pending != nil {
      vips[vip].pending = new
      replaceIfGone(vip: vip, at: now, emit)
    } else if current == new {
      let hasServices = settings.hasServices(vip: vip)
      guard hasServices != vips[vip].hasServices else { return }
      vips[vip].hasServices = hasServices
      reconsider(vip: vip, at: now, emit)
    } else if current.isVacant || phase == .idle {
      place(new, in: vip, at: now, emit)
    } else if new.isVacant || current.isAnother(than: new) {
      vips[vip].pending = new
      leave(vip: vip, at: now, emit)
      replaceIfGone(vip: vip, at: now, emit)
    } else {
      change(vip: vip, to: new, at: now, emit)
    }
  }

  /// What waits for the place of a VIP takes it as soon as nothing of that is left.
  mutating func replaceIfGone(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    guard phase == .running, let new = vips[vip].pending, vips[vip].isGone,
      !vips[vip].hasElection || vips[vip].machine.state == .initialize
    else { return }
    place(new, in: vip, at: now, emit)
  }

  private mutating func place(_ new: VIPSettings, in vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    let before = vips[vip]
    var address = VirtualAddress(new, hasServices: settings.hasServices(vip: vip))
    // Reports of the VIP that was here before may still come: their numbers are never used again.
    address.generation = before.generation
    address.listening.round = before.listening.round
    address.listening.firstRound = before.listening.round + 1
    address.segment = Segment.index(of: new.interface, in: segments)
    address.link = address.segment.flatMap { segments[$0].link }
    vips[vip] = address
    routes.areStale = true
    emit(.configure(vip: vip, new))
    guard !new.isVacant else {
      rearm(vip)
      return
    }
    if address.link?.isUp == true { beginListening(vip: vip, at: now) }
    configured(vip: vip, at: now, emit)
    reconsider(vip: vip, at: now, emit)
    rearm(vip)
  }

  /// The same VIP, with other settings: it stays what it is in its election, and an owner goes on owning it.
  private mutating func change(vip: Int, to new: VIPSettings, at now: Instant, _ emit: (Effect) -> Void) {
    let old = vips[vip].settings
    vips[vip].settings = new
    vips[vip].hasServices = settings.hasServices(vip: vip)
    emit(.configure(vip: vip, new))
    if case .vrrp(let router) = new.election, old.election != new.election {
      elect(vip: vip, .settings(router), at: now, emit)
    }
    if vips[vip].isHeld, old.lease != new.lease {
      vips[vip].renewal = new.lease.map { Self.renewal(of: $0, after: now) }
      emit(.renew(vip: vip, generation: vips[vip].generation, lease: new.lease))
    }
    if case .held = vips[vip].holding {
      if old.addresses != new.addresses {
        beginBurst(vip: vip, at: now)
      } else if old.refresh != new.refresh, vips[vip].announced >= Self.announcementBurst.count {
        vips[vip].announcement = new.refresh.map { now + max($0, Self.leastRefresh) }
      }
    }
    configured(vip: vip, at: now, emit)
    reconsider(vip: vip, at: now, emit)
  }
}

extension VIPSettings {
  /// Whether peers know it as another virtual router, or it is another VIP altogether: that can't be changed in place.
  func isAnother(than other: VIPSettings) -> Bool {
    guard name == other.name, interface == other.interface else { return true }
    switch (election, other.election) {
    case (.fixed(let one), .fixed(let two)): return one != two
    case (.vrrp(let one), .vrrp(let two)):
      return one.id != two.id || one.version != two.version || one.family != two.family
        || (one.peers == .multicast) != (two.peers == .multicast)
    default: return true
    }
  }
}

// MARK: - Services

extension Node {
  /// Backends keep their monitors by name. Gives the services that are not what they were.
  private mutating func changeServices() -> [(index: Int, wasDown: Bool)] {
    var changed: [(Int, Bool)] = []
    for index in settings.services.indices {
      let new = settings.services[index]
      guard index < services.count else {
        services.append(ServiceState(new, firstPart: 0, random: &random))
        changed.append((index, false))
        continue
      }
      let old = services[index]
      if old.settings == new { continue }
      var service = ServiceState(new, firstPart: 0, random: &random)
      service.numbering = old.numbering + 1
      let isSame = old.settings.name == new.name && !new.isVacant
      if isSame { service.keep(from: old) }
      services[index] = service
      changed.append((index, isSame && !old.backends.isEmpty && old.isDown))
    }
    return changed
  }

  private mutating func serviceWasChanged(
    _ change: (index: Int, wasDown: Bool), at now: Instant, _ emit: (Effect) -> Void
  ) {
    let index = change.index
    guard !services[index].settings.isVacant else { return }
    changedServices.append(index)
    for backend in services[index].backends.indices {
      // A probe in flight was asked for under another number. A new one is made rather than a failure assumed.
      check(service: index, backend: backend, .abandoned, at: now, emit)
      if phase == .running { check(service: index, backend: backend, .start, at: now, emit) }
      let state = services[index].backends[backend].state
      if state != .unknown { emit(.backend(service: index, backend: backend, state)) }
    }
    let isDown = services[index].isDown
    if isDown, !change.wasDown { emit(.report(.allBackendsDown(service: index))) }
    if change.wasDown, !isDown { emit(.report(.backendsAgain(service: index))) }
  }
}
