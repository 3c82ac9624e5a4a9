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
      let fault = Fault.draw(nodes: nodes, backends: backendsAlive.count, &random)
      begin(fault)
      queue.add(.undo, at: now + chaos.length(&random), slot: jobs.put(.undo(fault)))
      queue.add(.step, at: now + chaos.pause(&random))
    }
  }

  // MARK: Faults

  mutating func begin(_ fault: Fault) {
    narrate?(now, "fault: \(fault)")
    switch fault {
    case .stop(let node): stop(node)
    case .kill(let node): kill(node)
    case .restart(let node):
      daemons[node].startsAgain = true
      stop(node)
    case .stall(let node): stall(node)
    case .nodeDead(let node):
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
    case .backendDead(let backend): backendsAlive[backend] = false
    case .workersSick(let node): workers(node, healthy: false)
    }
    changed()
  }

  mutating func undo(_ fault: Fault) {
    narrate?(now, "ends: \(fault)")
    switch fault {
    case .stop(let node), .kill(let node), .restart(let node): start(node, after: startupTime())
    case .stall(let node): resume(node)
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
    case .backendDead(let backend): backendsAlive[backend] = true
    case .workersSick(let node): workers(node, healthy: true)
    }
    changed()
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
    case .stall(let who, let time):
      for node in resolve(who) {
        stall(node)
        queue.add(.resume, at: now + time.nanoseconds, node: node)
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
    default: break
    }
    changed()
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
    for node in 0..<nodes where !old.hasCarrier(node) { linkChanged(node) }
    for node in 0..<nodes {
      while daemons[node].state == .stalled { resume(node) }
      start(node, after: startupTime())
    }
    for backend in backendsAlive.indices { backendsAlive[backend] = true }
  }
}
