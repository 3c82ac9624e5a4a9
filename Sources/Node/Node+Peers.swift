import Basis
import Peering
import VRRP
import Wire

// What nodes tell each other over the peer link. VRRP decides alone where there is none; what is said here makes a planned move, or
// the one behind a polite stop, quicker. Everything is distrusted: a peer may have another configuration, be of another version,
// late, or wrong.

extension Node {
  /// From one report of all VIPs to the next.
  static let reportPause = Duration.milliseconds(20)

  /// Why trackers, groups or standby keep this node from owning the VIP.
  func furtherObstacle(_ vip: Int, at now: Instant) -> String? { trackedObstacle(vip) ?? groupObstacle(vip, at: now) }

  /// The end of every event: what follows from what has changed, for groups, trackers, hand-overs and peers.
  mutating func settle(at now: Instant, _ emit: (Effect) -> Void) {
    guard coordination.isDirty || !changedVIPs.isEmpty || !changedServices.isEmpty, phase != .stopped else { return }
    // A chain of VIPs that wait for each other ends, for circles are cut (`NodeSettings.waits`). This ends it, too, were that wrong.
    var passes = 4 + 2 * vips.count
    while coordination.isDirty || !changedVIPs.isEmpty || !changedServices.isEmpty, passes > 0 {
      passes -= 1
      coordination.isDirty = false
      for vip in changedVIPs { ownersChanged(of: vip, at: now, emit) }
      changedVIPs.removeAll(keepingCapacity: true)
      changedServices.removeAll(keepingCapacity: true)
      settleOnce(at: now, emit)
    }
    changedVIPs.removeAll(keepingCapacity: true)
    changedServices.removeAll(keepingCapacity: true)
    tellPeers(at: now, emit)
    rearmCoordination()
    stopIfNothingIsLeft(emit)
  }

  private mutating func settleOnce(at now: Instant, _ emit: (Effect) -> Void) {
    trackOwn(at: now, emit)
    if coordination.fitnessChanged {
      coordination.fitnessChanged = false
      settlePriorities(at: now, emit)
      for vip in vips.indices where !coordination.standings[vip].tracks.isEmpty { reconsider(vip: vip, at: now, emit) }
    }
    settleGroups(at: now, emit)
    settleNaming(at: now, emit)
    settleHandOvers(at: now, emit)
    settleRivals(at: now, emit)
    settleStandby(emit)
  }

  private mutating func rearmCoordination() {
    guard phase != .stopped else { return }
    deadlines.set(coordinationPart, to: coordination.deadline)
  }

  /// Other settings: what kept its name keeps what is known of it.
  mutating func coordinationReloaded(from old: NodeSettings, at now: Instant, _ emit: (Effect) -> Void) {
    for peer in old.peers.indices
    where !settings.peers.indices.contains(peer) || settings.peers[peer] != old.peers[peer] {
      forgetPeer(peer, at: now, emit)
    }
    coordination.replace(old, by: settings)
    coordination.fitnessChanged = true
  }

  /// A VIP's router has its configured priority again.
  mutating func configured(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    coordination.isDirty = true
    coordination.fitnessChanged = true
  }

  /// Everything of the coordination that is due.
  mutating func coordinationTimer(at now: Instant, _ emit: (Effect) -> Void) {
    calmTrackers(at: now, emit)
    dropOldPromises(at: now, emit)
    handOversDue(at: now, emit)
    requestsDue(at: now, emit)
    standbyDue(at: now, emit)
    contestsDue(at: now, emit)
    coordination.isDirty = true
  }

  // MARK: Telling

  /// The first change is told at once. What follows within `reportPause` is told together: 255 VIPs that change one after the other are
  /// told in a few snapshots, not in 255. A peer that is new is told at once.
  private mutating func tellPeers(at now: Instant, _ emit: (Effect) -> Void) {
    var isNeeded = false
    var greets = false
    for peer in coordination.peers.indices where coordination.peers[peer].isUp {
      isNeeded = true
      if !coordination.peers[peer].isGreeted { greets = true }
    }
    guard isNeeded else {
      coordination.tellAt = nil
      return
    }
    if !greets, let last = coordination.toldAt, now < last.later(by: Self.reportPause) {
      coordination.tellAt = last.later(by: Self.reportPause)
    } else {
      tellPeersNow(at: now, emit)
    }
  }

  /// Of this node's VIPs, and of whom it names; before anything else is said that a peer judges by that.
  mutating func tellPeersNow(at now: Instant, _ emit: (Effect) -> Void) {
    coordination.tellAt = nil
    let isNew = takeReports()
    if isNew { coordination.toldAt = now }
    for peer in coordination.peers.indices where coordination.peers[peer].isUp {
      if isNew || !coordination.peers[peer].isGreeted { emit(.tell(peer: peer, .vips(coordination.told))) }
    }
    for vip in vips.indices { tellSuccessor(of: vip, emit) }
    for peer in coordination.peers.indices where coordination.peers[peer].isUp {
      coordination.peers[peer].isGreeted = true
    }
  }

  /// Brings `told` up to date. Gives whether that changed it.
  private mutating func takeReports() -> Bool {
    var isNew = false
    var count = 0
    for vip in vips.indices {
      guard let report = reportOfVIP(vip) else { continue }
      if count == coordination.told.count {
        coordination.told.append(report)
        isNew = true
      } else if coordination.told[count] != report {
        coordination.told[count] = report
        isNew = true
      }
      count += 1
    }
    if count < coordination.told.count {
      coordination.told.removeLast(coordination.told.count - count)
      isNew = true
    }
    return isNew
  }

  private func reportOfVIP(_ vip: Int) -> PeerMessage.VIPReport? {
    guard !vips[vip].settings.isVacant else { return nil }
    let state: PeerMessage.VIPReport.State =
      switch vips[vip].state {
      case .initialize: .initialize
      case .backup: .backup
      case .active: .active
      case .fault: .fault
      }
    let isEligible =
      phase == .running && coordination.standby == .no && vips[vip].machine.state != .initialize
    return .init(
      name: vips[vip].settings.name, state: state, priority: vips[vip].hasElection ? vips[vip].machine.priority : 0,
      isEligible: isEligible, router: router(of: vip), linkLocal: linkLocal(of: vip))
  }

  /// Where this node's adverts come from, if that is an address that nobody can know.
  private func linkLocal(of vip: Int) -> UInt128? {
    guard vips[vip].hasElection, vips[vip].machine.settings.peers == .multicast,
      case .v6(let address)? = vips[vip].local
    else { return nil }
    return address.rawValue
  }

  /// The peer whose adverts for a VIP come from that link-local address, by its own word.
  public func peer(advertisingFrom address: IPAddress, ofVIP vip: Int) -> String? {
    guard case .v6(let address) = address else { return nil }
    return coordination.peers.first {
      $0.linkLocals.indices.contains(vip) && $0.linkLocals[vip] == address.rawValue && !$0.name.isEmpty
    }?.name
  }

  /// A source of adverts for people: "lb2 (fe80::12)".
  func named(_ address: IPAddress, ofVIP vip: Int) -> String {
    peer(advertisingFrom: address, ofVIP: vip).map { "\($0) (\(address))" } ?? address.description
  }

  /// The owner names who should follow it, to all: to each that is new, and to everybody when it changes.
  private mutating func tellSuccessor(of vip: Int, _ emit: (Effect) -> Void) {
    guard vips[vip].machine.state == .active, vips[vip].isHeld else {
      coordination.standings[vip].successor = nil
      coordination.standings[vip].arrivedBy = nil
      return
    }
    // Before a hand-over the target is named instead: its priority 0 must find no other that waits for nothing.
    let best = handOver(of: vip).map { coordination.handOvers[$0].target } ?? successor(of: CollectionOfOne(vip))
    let isNew = best != coordination.standings[vip].successor
    coordination.standings[vip].successor = best
    let name = vips[vip].settings.name
    for peer in coordination.peers.indices where coordination.peers[peer].isUp {
      if !isNew, coordination.peers[peer].isGreeted { continue }
      let isGreeted = coordination.peers[peer].isGreeted
      if !isGreeted, let move = coordination.standings[vip].arrivedBy {
        emit(.tell(peer: peer, .moved(vip: name, to: settings.name, move: move)))
      }
      if isNew || (!isGreeted && best != nil) {
        emit(.tell(peer: peer, .successor(vip: name, node: best.map { coordination.peers[$0].name })))
      }
    }
  }

  /// The peer that could take all of these VIPs and is preferred most: by the priority for the first, then by the order of the
  /// configuration.
  func successor(of wanted: some Collection<Int>) -> Int? {
    guard let first = wanted.first else { return nil }
    var best: (peer: Int, priority: UInt8)?
    for peer in coordination.peers.indices {
      guard wanted.allSatisfy({ isWilling(peer, for: $0) }),
        let priority = coordination.peers[peer].vips[first]?.priority
      else { continue }
      if best == nil || priority > best?.priority ?? 0 { best = (peer, priority) }
    }
    return best?.peer
  }

  /// Whether a peer can take a VIP, as far as this node knows.
  func isWilling(_ peer: Int, for vip: Int) -> Bool {
    guard coordination.peers[peer].isUp, coordination.peers[peer].vips.indices.contains(vip),
      let report = coordination.peers[peer].vips[vip], !isElectedElsewhere(report, vip)
    else { return false }
    return report.isEligible && report.state == .backup && report.priority > 0
  }

  /// The hand-over that a VIP is part of.
  func handOver(of vip: Int) -> Int? {
    for index in coordination.handOvers.indices where coordination.handOvers[index].vips.contains(vip) { return index }
    return nil
  }

  /// Why a peer can't take a VIP, as far as this node knows; nil where it may.
  func reluctance(of peer: Int, for vip: Int) -> String? {
    let status = coordination.peers[peer]
    let name = vips[vip].settings.name
    guard status.isUp else {
      return
        "there is no peer link to \(status.name), which has to say that it is ready: `roost status` says why it is down"
    }
    guard status.vips.indices.contains(vip), let report = status.vips[vip] else {
      return "\(status.name) does not know \(name): has it the same configuration? (`roost reload` there)"
    }
    guard !isElectedElsewhere(report, vip) else {
      return "\(status.name) knows \(name) as another virtual router: both need the same configuration"
    }
    if report.isEligible, report.state == .backup, report.priority > 0 { return nil }
    // A node without a priority holds no election for it.
    if report.priority == 0 { return "\(status.name) never owns \(name): it is not in its `prefer`" }
    return
      "\(status.name) can't own \(name) now (it is in state \(report.state)): `roost status` there says why"
  }

  /// Says something to every peer that can hear it.
  func tellAll(_ message: PeerMessage, _ emit: (Effect) -> Void) {
    for peer in coordination.peers.indices where coordination.peers[peer].isUp { emit(.tell(peer: peer, message)) }
  }

  // MARK: Hearing

  /// `Event.peer`.
  mutating func peerReported(_ peer: Int, _ report: PeerReport, at now: Instant, _ emit: (Effect) -> Void) {
    guard coordination.peers.indices.contains(peer) else { return }
    switch report {
    case .up: peerCame(peer, emit)
    case .down: peerWent(peer, at: now, emit)
    case .said(let message):
      guard coordination.peers[peer].isUp else { return coordination.counters.ignored &+= 1 }
      heard(message, from: peer, at: now, emit)
    }
    coordination.isDirty = true
  }

  private mutating func peerCame(_ peer: Int, _ emit: (Effect) -> Void) {
    if !coordination.peers[peer].isUp { emit(.report(.peer(peer, isUp: true))) }
    coordination.peers[peer].isUp = true
    coordination.peers[peer].isGreeted = false
    for vip in vips.indices {
      coordination.peers[peer].vips[vip] = nil
      // It may have been an owner while nothing was heard of it, and have told the neighbours so.
      if vips[vip].machine.state == .active { announce(vip: vip, emit) }
    }
  }

  private mutating func peerWent(_ peer: Int, at now: Instant, _ emit: (Effect) -> Void) {
    guard coordination.peers[peer].isUp else { return }
    coordination.peers[peer].isUp = false
    emit(.report(.peer(peer, isUp: false)))
    forgetPeer(peer, at: now, emit)
  }

  /// Nothing is known of it any longer. An owner that was left alone stays that, as long as its adverts come.
  private mutating func forgetPeer(_ peer: Int, at now: Instant, _ emit: (Effect) -> Void) {
    for vip in vips.indices {
      coordination.peers[peer].vips[vip] = nil
      if coordination.standings[vip].namedBy == peer { forgetNaming(vip, at: now, emit) }
      if coordination.standings[vip].comingMove?.owner == peer { coordination.standings[vip].comingMove = nil }
      ownersChanged(of: vip, at: now, emit)
    }
    handOversLost(with: peer, at: now, emit)
  }

  private mutating func heard(_ message: PeerMessage, from peer: Int, at now: Instant, _ emit: (Effect) -> Void) {
    switch message {
    case .vips(let reports): heard(reports, from: peer, at: now, emit)
    case .successor(let name, let node):
      guard let vip = settings.vip(named: name) else { return coordination.counters.ignored &+= 1 }
      named(node, for: vip, by: peer, at: now, emit)
    case .prepare(let name, let move): asked(toTake: name, move: move, by: peer, at: now, emit)
    case .ready(let name, let move): targetReady(name, move: move, peer, at: now, emit)
    case .refused(let name, let move, let reason): moveRefused(name, move: move, by: peer, reason, at: now, emit)
    case .leave(let name, let to, let move): told(toLeave: name, to: to, move: move, by: peer, at: now, emit)
    case .moved(let name, let to, let move, let freshness):
      moved(name, to: to, move: move, freshness, by: peer, at: now, emit)
    case .taken(let name, let move): targetTook(name, move: move, peer, at: now, emit)
    case .moveRequest(let name, let to, let move): moveRequested(name, to: to, move: move, by: peer, at: now, emit)
    case .moveEnded(let move, let error, let vacant):
      moveEnded(move: move, error: error, vacant: vacant, by: peer, emit)
    }
  }

  /// What a peer says of all its VIPs takes the place of what it said before. Of two that have one name the first counts.
  private mutating func heard(
    _ reports: [PeerMessage.VIPReport], from peer: Int, at now: Instant, _ emit: (Effect) -> Void
  ) {
    let before = coordination.peers[peer].vips.map { $0?.state }
    for vip in vips.indices { coordination.peers[peer].vips[vip] = nil }
    var next = 0
    for report in reports {
      // Both configurations are the same nearly always, so the next one is nearly always it.
      let found = settings.vips.indices.contains(next) && settings.vips[next].name == report.name ? next : nil
      guard let vip = found ?? settings.vip(named: report.name), coordination.peers[peer].vips[vip] == nil else {
        coordination.counters.ignored &+= 1
        continue
      }
      coordination.peers[peer].vips[vip] = report
      if let linkLocal = report.linkLocal { coordination.peers[peer].linkLocals[vip] = linkLocal }
      next = vip + 1
    }
    for vip in vips.indices {
      let owns = coordination.peers[peer].vips[vip]?.state == .active
      let owned = before.indices.contains(vip) && before[vip] == .active
      // Another owner than the one that named this node.
      if owns, let namer = coordination.standings[vip].namedBy, namer != peer { forgetNaming(vip, at: now, emit) }
      // The node that this one leaves the VIP to has it no longer.
      if owned, !owns, coordination.standings[vip].leftAlone?.peer == peer { forgetLeftAlone(vip, at: now, emit) }
      if owns || owned { ownersChanged(of: vip, at: now, emit) }
      // It may have spoken to the neighbours last, and its last advert, which is answered so, may be lost.
      if owned, !owns, vips[vip].machine.state == .active { announce(vip: vip, emit) }
    }
  }

  // MARK: The successor

  private mutating func named(
    _ node: String?, for vip: Int, by peer: Int, at now: Instant, _ emit: (Effect) -> Void
  ) {
    guard node == settings.name else {
      if coordination.standings[vip].namedBy == peer { forgetNaming(vip, at: now, emit) }
      return
    }
    guard coordination.peers[peer].owns(vip) else { return coordination.counters.ignored &+= 1 }
    beNamed(vip, by: peer, at: now, emit)
  }

  mutating func beNamed(_ vip: Int, by peer: Int, at now: Instant, _ emit: (Effect) -> Void) {
    guard vips[vip].machine.state == .backup else { return coordination.counters.ignored &+= 1 }
    coordination.standings[vip].namedBy = peer
    coordination.standings[vip].namedOwner = vips[vip].machine.owner?.address
    elect(vip: vip, .successor(true), at: now, emit)
  }

  mutating func forgetNaming(_ vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    coordination.standings[vip].namedBy = nil
    coordination.standings[vip].namedOwner = nil
    elect(vip: vip, .successor(false), at: now, emit)
  }

  // MARK: What adverts say of what was told

  /// After each advert that a VIP's router heard.
  mutating func heardAdvert(_ vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    if coordination.standings[vip].group != nil { holdCompanions(of: vip, at: now, emit) }
    guard coordination.standings[vip].listens else { return }
    let owner = vips[vip].machine.owner?.address
    if coordination.standings[vip].namedBy != nil, let owner {
      // The first advert after the naming may show whose naming it was; another owner's ends it.
      if let before = coordination.standings[vip].namedOwner {
        if owner != before { forgetNaming(vip, at: now, emit) }
      } else {
        coordination.standings[vip].namedOwner = owner
      }
    }
    leftAloneHeard(vip, owner: owner, at: now, emit)
    comingMoveHeard(vip, at: now, emit)
    if handOver(of: vip) != nil { coordination.isDirty = true }
  }
}

extension NodeSettings {
  func vip(named name: String) -> Int? {
    name.isEmpty ? nil : vips.firstIndex { $0.name == name }
  }

  func peer(named name: String) -> Int? {
    name.isEmpty ? nil : peers.firstIndex(of: name)
  }
}
