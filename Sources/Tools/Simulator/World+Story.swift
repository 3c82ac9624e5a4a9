import Basis
import Node
import Scenario

// What is done to the cluster: the steps of a scenario, or faults drawn from the seed.

extension World {
  mutating func beginStory() {
    switch plan.story {
    case .scenario(let scenario):
      // Not in step with the adverts: a fault hits them at another moment in each run.
      storyBegan = plan.settling + Int64(random.next(below: UInt64(max(1, plan.interval))))
      for (index, step) in scenario.steps.enumerated() {
        queue.add(.step, at: storyBegan + step.at.nanoseconds, slot: index)
      }
    case .chaos(let chaos):
      storyBegan = plan.settling
      queue.add(.step, at: storyBegan + chaos.pause(&random))
    }
    // What the client misses while the cluster settles is no outage.
    for vip in clients.indices { clients[vip].countsFrom = storyBegan }
  }

  mutating func step(_ index: Int) {
    switch plan.story {
    case .scenario(let scenario): perform(scenario.steps[index].action)
    case .chaos(let chaos):
      let fault = Fault.draw(
        chaos.kinds, nodes: nodes, vips: clients.count, backends: backendsAlive.count, &random)
      let length = chaos.length(&random)
      begin(fault, for: length)
      queue.add(.undo, at: now + length, slot: jobs.put(.undo(fault)))
      queue.add(.step, at: now + chaos.pause(&random))
    }
  }

  // MARK: Faults

  mutating func begin(_ fault: Fault, for length: Int64 = 1_000_000_000) {
    narrate?(now, "fault: \(fault)")
    switch fault {
    case .stop(let node): stop(node)
    case .kill(let node): kill(node)
    case .killAll(let node):
      killGuardian(node)
      kill(node)
    case .guardianKill(let node): killGuardian(node)
    case .restart(let node):
      daemons[node].startsAgain = true
      stop(node)
    case .stall(let node, let byHand): stall(node, byHand: byHand)
    case .stallAll(let node):
      stall(node)
      stallGuardian(node)
    case .stallAtMessage(let node): if daemons[node].state == .running { daemons[node].stallsAtMessage = length }
    case .nodeDead(let node):
      killGuardian(node)
      kill(node)
      picture.network.pullCable(node, true)
      // Another fault's end may start the daemon meanwhile.
      linkChanged(node)
    case .linkDown(let node):
      picture.network.pullCable(node, true)
      linkChanged(node)
    case .linkCut(let node): picture.network.cutLink(node, true)
    case .partition(let side): divide(side, true)
    case .path(let fault, let from, let to, let bothWays): change(fault, from, to, bothWays, true)
    case .peersCut(let node): peers.cut(node, true)
    case .backendDead(let backend): backendsAlive[backend] = false
    case .workersSick(let node): workers(node, healthy: false)
    case .interfaceRenamed(let node):
      picture.network.rename(node, true)
      linkChanged(node)
    case .interfaceRemoved(let node): deleteInterface(node)
    case .move, .standby, .reload: ask(fault)
    case .upgrade(let node): upgrade(node)
    case .clockJump(let node, let by): jump(node, by)
    case .addressRemoved(let vip):
      for node in 0..<nodes where picture.holds(node, vip) { rob(node, vip) }
    case .rtnlBusy: locks += 1
    case .hog: hogs += 1
    case .rogueAdvert(let priority): beginRogue(priority, for: length)
    case .rogueAnnouncement(let vip): announced(vip, by: -1)
    }
    reviewNetwork()
  }

  mutating func undo(_ fault: Fault) {
    narrate?(now, "ends: \(fault)")
    switch fault {
    case .stop(let node), .kill(let node), .killAll(let node), .restart(let node): start(node, after: startupTime())
    case .stall(let node, let byHand): unstall(node, byHand: byHand)
    case .stallAll(let node):
      unstall(node)
      guardianGoesOn(node)
    case .nodeDead(let node):
      picture.network.pullCable(node, false)
      linkChanged(node)
      start(node, after: startupTime())
    case .linkDown(let node):
      picture.network.pullCable(node, false)
      linkChanged(node)
    case .linkCut(let node): picture.network.cutLink(node, false)
    case .partition(let side): divide(side, false)
    case .path(let fault, let from, let to, let bothWays): change(fault, from, to, bothWays, false)
    case .peersCut(let node): peers.cut(node, false)
    case .backendDead(let backend): backendsAlive[backend] = true
    case .workersSick(let node): workers(node, healthy: true)
    case .interfaceRenamed(let node):
      picture.network.rename(node, false)
      linkChanged(node)
    case .interfaceRemoved(let node):
      picture.network.delete(node, false)
      linkChanged(node)
    case .standby(let node): command(.resume, node)
    case .reload(let node, let change): reread(node, change)
    case .clockJump(let node, let by): jump(node, -by)
    case .rtnlBusy: locks = max(0, locks - 1)
    case .hog: hogs = max(0, hogs - 1)
    case .guardianKill, .stallAtMessage, .move, .upgrade, .addressRemoved, .rogueAdvert, .rogueAnnouncement: break
    }
    reviewNetwork()
  }

  private mutating func reviewNetwork() {
    reviewIsolation()
    reviewPeers()
    changed()
  }

  private mutating func deleteInterface(_ node: Int) {
    picture.network.delete(node, true)
    kernels[node].interfaceGone()
    for vip in 0..<vips where picture.holds(node, vip) {
      setHolds(node, vip, false)
      lookSoon(node, vip)
    }
    linkChanged(node)
  }

  // MARK: What people ask for

  private mutating func ask(_ fault: Fault) {
    switch fault {
    case .move(let node, let target):
      let wanted: Command.Target =
        target.map { $0 == node ? .thisNode : .peer($0 < node ? $0 : $0 - 1) } ?? .best
      move(vip: 0, to: wanted, askedOf: node)
    case .standby(let node): command(.standbyAnyway, node)
    case .reload(let node, let change): reread(node, change)
    default: break
    }
  }

  private mutating func move(vip: Int, to target: Command.Target, askedOf node: Int) {
    // Nobody is there to be asked.
    guard daemons[node].state == .running, picture.stopAsked[node] == nil else { return }
    let ticket = movements.ask(of: node, life: daemons[node].life, vip: vip, picture)
    deliver(.command(.move(vip: vip, to: target), ticket: ticket), to: node)
  }

  private mutating func command(_ command: Command, _ node: Int) {
    guard daemons[node].state == .running || daemons[node].state == .stalled else { return }
    picture.standbySince[node] = command == .standbyAnyway ? picture.standbySince[node] ?? now : nil
    judgeWillingness(node)
    deliver(.command(command, ticket: movements.ticket()), to: node)
  }

  /// The file changes, and the daemon, if it runs, is told to read it.
  private mutating func reread(_ node: Int, _ change: Fault.Reload) {
    files.change(node, change)
    deliver(.settings(files.current(node)), to: node)
  }

  /// Clocks that are further apart than signatures allow for are a mistake that no cluster survives.
  private mutating func jump(_ node: Int, _ by: Int64) {
    if abs(adverts.clocks[node] + by) <= 2_000_000_000 { adverts.clocks[node] += by }
  }

  private mutating func startupTime() -> Int64 { 5_000_000 + Int64(random.next(below: 30_000_000)) }

  private mutating func divide(_ side: UInt32, _ begins: Bool) {
    for from in 0..<nodes {
      for to in 0..<nodes where from != to && (side >> UInt32(from)) & 1 != (side >> UInt32(to)) & 1 {
        picture.network.change(.cut, from, to, begins: begins)
      }
    }
  }

  private mutating func change(_ fault: PathFault, _ from: Int, _ to: Int, _ bothWays: Bool, _ begins: Bool) {
    guard from != to else { return }
    picture.network.change(fault, from, to, begins: begins)
    if bothWays { picture.network.change(fault, to, from, begins: begins) }
  }

  // MARK: Steps of a scenario

  private mutating func perform(_ action: Action) {
    narrate?(now, "step: \(action.word)")
    switch action {
    case .stop(let who): for node in resolve(who) { stop(node) }
    case .kill(let who): for node in resolve(who) { kill(node) }
    case .killAll(let who): for node in resolve(who) { begin(.killAll(node)) }
    case .guardianKill(let who): for node in resolve(who) { killGuardian(node) }
    case .stall(let who, let time):
      for node in resolve(who) { stall(node, .daemon, for: time.nanoseconds) }
    case .stallAll(let who, let time):
      for node in resolve(who) {
        stall(node, .daemon, for: time.nanoseconds)
        stall(node, .guardian, for: time.nanoseconds)
      }
    case .nodeDead(let who): for node in resolve(who) { begin(.nodeDead(node)) }
    case .linkDown(let who): for node in resolve(who) { begin(.linkDown(node)) }
    case .linkCut(let who): for node in resolve(who) { begin(.linkCut(node)) }
    case .partition(let groups): partition(groups)
    case .oneWay(let from, let to): paths(.cut, Path(from: from, to: to, bothWays: false))
    case .loss(let path, let share): paths(.loss(share), path)
    case .delay(let path, let by): paths(.delay(by.nanoseconds), path)
    case .start(let who): for node in resolve(who) { revive(node) }
    case .restart(let who): for node in resolve(who) { begin(.restart(node)) }
    case .heal: heal()
    case .backendKill(let backend): if backendsAlive.indices.contains(backend) { backendsAlive[backend] = false }
    case .backendStart(let backend): if backendsAlive.indices.contains(backend) { backendsAlive[backend] = true }
    default: performRequest(action)
    }
    reviewNetwork()
  }

  private mutating func stall(_ node: Int, _ who: Resume, for time: Int64) {
    if who == .guardian { stallGuardian(node) } else { stall(node, byHand: true) }
    queue.add(.resume, at: now + time, node: node, life: daemons[node].life, slot: Int(who.rawValue))
  }

  /// What a person asks of a node, and what happens around it.
  private mutating func performRequest(_ action: Action) {
    switch action {
    case .linkPeersCut(let who): for node in resolve(who) { peers.cut(node, true) }
    case .move(let who):
      guard let owner = resolve(.owner).first else { break }
      let target = who.map { resolve($0).first ?? owner }
      begin(.move(asked: owner, to: target))
    case .standby(let who): for node in resolve(who) { command(.standbyAnyway, node) }
    case .resume(let who): for node in resolve(who) { command(.resume, node) }
    case .reload(let who, let change):
      let wanted: Fault.Reload =
        switch change {
        case .nothing: .nothing
        case .vip: .vip
        case .address: .address
        }
      for node in resolve(who) { reread(node, wanted) }
    case .upgrade(let who): for node in resolve(who) { upgrade(node) }
    case .rogueAdvert(let priority, let time): beginRogue(priority, for: time.nanoseconds)
    case .clockJump(let who, let by): for node in resolve(who) { adverts.clocks[node] += by.nanoseconds }
    case .addressRemoved(let who): for node in resolve(who) { rob(node, 0) }
    case .rtnlBusy(let time): last(.rtnlBusy, for: time.nanoseconds)
    case .hog(let time): last(.hog, for: time.nanoseconds)
    case .interfaceRenamed(let who): for node in resolve(who) { begin(.interfaceRenamed(node)) }
    case .interfaceRemoved(let who): for node in resolve(who) { begin(.interfaceRemoved(node)) }
    case .interfaceRecreated(let who): for node in resolve(who) { recreate(node) }
    default: break
    }
  }

  private mutating func last(_ fault: Fault, for time: Int64) {
    begin(fault, for: time)
    queue.add(.undo, at: now + time, slot: jobs.put(.undo(fault)))
  }

  private mutating func recreate(_ node: Int) {
    picture.network.restoreLink(node)
    linkChanged(node)
  }

  private func resolve(_ selector: Selector) -> [Int] {
    let all = Array(0..<nodes)
    let picture = picture
    switch selector {
    case .node(let index): return all.filter { $0 == index }
    case .owner: return Array(all.filter { picture.holds($0, 0) }.prefix(1))
    case .backup: return Array(all.filter { picture.serves[$0] && !picture.holds($0, 0) }.prefix(1))
    case .all: return all
    case .rest: return []
    }
  }

  private mutating func partition(_ groups: [[Selector]]) {
    var sides: [[Int]] = []
    for group in groups {
      sides.append([])
      for selector in group { sides[sides.count - 1] += resolve(selector) }
    }
    let named = sides.flatMap(\.self)
    for index in groups.indices where groups[index].contains(.rest) {
      sides[index] += (0..<nodes).filter { !named.contains($0) }
    }
    for (index, side) in sides.enumerated() {
      for other in sides[(index + 1)...] {
        for from in side { for to in other { change(.cut, from, to, true, true) } }
      }
    }
  }

  private mutating func paths(_ fault: PathFault, _ path: Path) {
    for from in resolve(path.from) {
      for to in resolve(path.to) where from != to { change(fault, from, to, path.bothWays, true) }
    }
  }

  private mutating func revive(_ node: Int) {
    let hadCarrier = picture.network.hasCarrier(node)
    picture.network.restoreLink(node)
    if !hadCarrier { linkChanged(node) }
    start(node, after: startupTime())
  }

  private mutating func heal() {
    let old = picture.network
    picture.network.heal()
    peers.heal()
    for node in 0..<nodes where !old.hasCarrier(node) || !old.hasName(node) { linkChanged(node) }
    for node in 0..<nodes {
      while guardians[node].state == .stalled { guardianGoesOn(node) }
      if daemons[node].state == .stalled { unstall(node, byHand: true) }
      while daemons[node].state == .stalled { unstall(node) }
      if picture.standbySince[node] != nil { command(.resume, node) }
      start(node, after: startupTime())
      adverts.clocks[node] = 0
    }
    for backend in backendsAlive.indices { backendsAlive[backend] = true }
  }
}
