import Basis
import Health
import VRRP

// Another process goes on in this one's place, or this one in another's: who owns what stays as it is, and no peer can tell.

extension Node {
  /// Why nobody can go on in this node's place at this moment; nil where somebody can. What is under way is over in seconds.
  public var obstacleToResumption: String? {
    guard phase == .running else { return "the node is \(phase == .idle ? "starting" : "stopping")" }
    if !coordination.handOvers.isEmpty || !coordination.promises.isEmpty { return "a VIP is being handed over" }
    if case .leaving = coordination.standby { return "the node is going to standby" }
    for vip in vips.indices {
      if vips[vip].pending != nil { return "VIP \(vips[vip].settings.name) is being changed" }
      switch vips[vip].holding {
      case .closing, .releasing: return "VIP \(vips[vip].settings.name) is being let go"
      case .held where vips[vip].preparing != nil: return "VIP \(vips[vip].settings.name) is being taken"
      case .held, .nothing: continue
      }
    }
    return nil
  }

  /// What another process has to know to go on in this one's place.
  public var resumption: Resumption {
    var all = Resumption()
    all.isStandby = coordination.standby != .no
    for (index, vip) in vips.enumerated() where !vip.settings.isVacant {
      var (isHeld, until) = (false, Instant?.none)
      if case .held(_, let end) = vip.holding { (isHeld, until) = (true, end) }
      all.vips.append(
        .init(
          name: vip.settings.name, generation: vip.generation, isHeld: isHeld, until: until,
          router: vip.router?.resumption, announced: vip.announced, announcement: vip.announcement, since: vip.since,
          reason: vip.reason, arrivedBy: coordination.standings[index].arrivedBy,
          leftAlone: coordination.standings[index].leftAlone.map { coordination.peers[$0.peer].name }))
    }
    for service in services where !service.settings.isVacant {
      for (index, backend) in service.backends.enumerated() where backend.monitor != nil && backend.state != .unknown {
        all.backends.append(
          .init(service: service.settings.name, name: service.settings.backends[index], isUp: backend.state == .up))
      }
    }
    for tracker in coordination.trackers where tracker.verdict != .unknown {
      all.trackers.append(
        .init(name: tracker.settings.name, isBad: tracker.verdict == .bad, message: tracker.message))
    }
    return all
  }

  /// `Event.resume`: begins in another process's place. What is not in the resumption begins as ever.
  mutating func resume(_ resumption: Resumption, at now: Instant, _ emit: (Effect) -> Void) {
    guard phase == .idle else { return }
    if resumption.isStandby { coordination.standby = .yes }
    for known in resumption.vips {
      guard let vip = settings.vip(named: known.name) else { continue }
      resume(vip: vip, known, at: now)
    }
    for known in resumption.trackers {
      for index in coordination.trackers.indices where coordination.trackers[index].settings.name == known.name {
        coordination.trackers[index].assume(known)
      }
    }
    for known in resumption.backends { resume(known, at: now, emit) }
    start(at: now, emit)
    for vip in vips.indices { rearm(vip) }
  }

  private mutating func resume(vip: Int, _ known: Resumption.VIP, at now: Instant) {
    vips[vip].generation = max(vips[vip].generation, known.generation)
    if let router = known.router, let local = vips[vip].local, vips[vip].hasElection {
      vips[vip].machine.resume(router, local: local, at: now)
    }
    let routerState = vips[vip].router?.state ?? .initialize
    coordination.standings[vip].routerState = routerState
    let isOwner = vips[vip].router == nil || routerState == .active
    if known.isHeld, isOwner {
      vips[vip].holding = .held(generation: known.generation, until: known.until)
      // At once: the other process may have been about to.
      vips[vip].renewal = vips[vip].settings.lease.map { _ in now }
      vips[vip].announced = min(known.announced, Self.announcementBurst.count)
      vips[vip].announcement = known.announcement.map { max($0, now) }
      vips[vip].state = .active
    } else if routerState == .backup {
      vips[vip].state = .backup
    } else {
      return
    }
    coordination.standings[vip].arrivedBy = known.arrivedBy
    if let peer = known.leftAlone.flatMap({ settings.peer(named: $0) }) {
      coordination.standings[vip].leftAlone = LeftAlone(peer: peer, owner: nil, previous: nil)
    }
    vips[vip].since = known.since
    vips[vip].reason = known.reason
  }

  private mutating func resume(_ known: Resumption.Backend, at now: Instant, _ emit: (Effect) -> Void) {
    guard let service = services.firstIndex(where: { $0.settings.name == known.service }),
      let backend = services[service].settings.backends.firstIndex(of: known.name),
      services[service].backends[backend].monitor != nil
    else { return }
    services[service].backends[backend].monitor?.assume(known.isUp ? .up : .down, at: now)
    services[service].backends[backend].state = known.isUp ? .up : .down
    emit(.backend(service: service, backend: backend, known.isUp ? .up : .down))
  }
}
