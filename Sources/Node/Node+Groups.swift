import Basis
import VRRP

// VIPs that move together. Each has an election of its own, with the same priority on one node (`wantedPriority`), and:
// - an obstacle of one is an obstacle of all (`obstacle`), so they come and go together;
// - where one becomes active, the others take over too; where one loses to a better owner, or makes way, the others make way;
// - as long as a better owner of one of them is heard, the others are not taken from it: one whose adverts are lost on the way
//   would be taken, lost again with the next advert of the other, and so on for as long as they are lost.

extension Node {
  /// The VIPs that move with this one, itself included, in the order of the configuration.
  func companions(of vip: Int) -> [Int] {
    guard let group = coordination.standings[vip].group, settings.groups.indices.contains(group) else { return [vip] }
    return settings.groups[group].filter { vips.indices.contains($0) && vips[$0].hasElection }
  }

  /// The obstacle of another VIP of the group.
  func groupObstacle(_ vip: Int, at now: Instant) -> String? {
    guard coordination.standings[vip].group != nil else { return nil }
    for other in companions(of: vip) where other != vip {
      if let why = ownObstacle(other, at: now) ?? trackedObstacle(other) {
        return "VIP \(vips[other].settings.name) of the group is in fault: \(why)"
      }
    }
    return nil
  }

  mutating func settleGroups(at now: Instant, _ emit: (Effect) -> Void) {
    for group in settings.groups where group.count > 1 {
      let members = group.filter { vips.indices.contains($0) && vips[$0].hasElection }
      if phase == .running { for vip in members { joinOrLeave(vip, at: now, emit) } }
      moveTogether(members, at: now, emit)
      for vip in members { remember(vip) }
    }
  }

  private mutating func joinOrLeave(_ vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    let why = obstacle(vip, at: now)
    let takesPart = vips[vip].machine.state != .initialize
    let isToldRightly = vips[vip].state == .fault && vips[vip].reason == why
    if why == nil ? !takesPart : takesPart || !isToldRightly { reconsider(vip: vip, at: now, emit) }
  }

  private mutating func moveTogether(_ members: [Int], at now: Instant, _ emit: (Effect) -> Void) {
    guard phase == .running else { return }
    if let lost = members.first(where: { hasMadeWay($0, in: members) }) {
      for vip in members where vips[vip].machine.state == .active {
        // Where another node owns one already, it owns all: then nothing is said of the others, either.
        let reason = Reason.group(with: vips[lost].settings.name)
        elect(vip: vip, vips[lost].machine.wasDeposed ? .deposed(reason) : .makeWay(reason), at: now, emit)
        coordination.isDirty = true
      }
    } else if let active = members.first(where: { vips[$0].machine.state == .active }),
      members.contains(where: hasArrived)
    {
      for vip in members where vips[vip].machine.state == .backup {
        elect(vip: vip, .takeOver(.group(with: vips[active].settings.name)), at: now, emit)
        coordination.isDirty = true
      }
    }
  }

  /// Active when it was last looked at, and a backup now. A tie that an address decides counts for the first member alone: addresses
  /// may fall out differently on each member's interface, and two nodes that each win one would send each other away for ever.
  private func hasMadeWay(_ vip: Int, in members: [Int]) -> Bool {
    guard coordination.standings[vip].routerState == .active, vips[vip].machine.state == .backup else { return false }
    return vip == members.first || vips[vip].machine.owner?.priority != vips[vip].machine.priority
  }

  /// Active now and not before, or a backup that has just begun, whose companions may be active already.
  private func hasArrived(_ vip: Int) -> Bool {
    let state = vips[vip].machine.state
    let before = coordination.standings[vip].routerState
    return state == .active ? before != .active : state == .backup && before == .initialize
  }

  mutating func remember(_ vip: Int) {
    coordination.standings[vip].routerState = vips[vip].machine.state
  }

  /// A backup heard an advert for one member: as long as that owner is better and speaks, the others are its own, too. A priority 0
  /// ends that for its own VIP at once.
  mutating func holdCompanions(of vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    guard coordination.standings[vip].group != nil, vips[vip].machine.state == .backup else { return }
    guard let owner = vips[vip].machine.owner, owner.heard == now else {
      coordination.standings[vip].ownerLeft = vips[vip].machine.owner == nil
      elect(vip: vip, .postpone(until: now), at: now, emit)
      return
    }
    coordination.standings[vip].ownerLeft = false
    guard owner.priority >= vips[vip].machine.priority else { return }
    // Active_Down_Interval: what this member's own timer has been set to. Whichever was heard last decides for all.
    let until = now.later(by: vips[vip].machine.longestSilence)
    for other in companions(of: vip)
    where other != vip && vips[other].machine.state == .backup && !coordination.standings[other].ownerLeft {
      elect(vip: other, .postpone(until: until), at: now, emit)
    }
  }

  // MARK: Leaving together

  /// Whether a VIP without connections of its own has to wait for those of its companions before it is left: they go at one moment, or the
  /// first would be another node's while the others are still here.
  func awaitsCompanions(_ vip: Int) -> Bool {
    let isCommon = phase == .stopping || coordination.standby != .no || coordination.standings[vip].isHandedOver
    guard isCommon, coordination.standings[vip].group != nil else { return false }
    return companions(of: vip).contains { $0 != vip && vips[$0].isHeld && vips[$0].finishesConnections }
  }

  /// The connections of a VIP that is being left have ended. Gives those that go now: it and its companions, or none as long
  /// as one of them has connections.
  mutating func departing(_ vip: Int, at now: Instant) -> [Int] {
    guard coordination.standings[vip].group != nil else { return [vip] }
    coordination.standings[vip].isDrained = true
    let leaving = companions(of: vip).filter { vips[$0].isDraining }
    let others = leaving.filter { !coordination.standings[$0].isDrained }
    guard others.isEmpty else {
      guard case .closing(let generation, _, let lease, let isLeaving) = vips[vip].holding else { return [] }
      var until = now
      for other in others { if case .closing(_, let limit, _, _) = vips[other].holding { until = max(until, limit) } }
      until = until.later(by: Self.drainMargin)
      vips[vip].holding = .closing(generation: generation, until: until, lease: lease, leaving: isLeaving)
      return []
    }
    for other in leaving { coordination.standings[other].isDrained = false }
    return leaving.contains(vip) ? leaving : [vip]
  }
}
