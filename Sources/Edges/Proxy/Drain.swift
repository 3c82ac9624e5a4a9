import Basis
import Linux
import Synchronization

/// What other threads ask of a worker.
enum Command: Sendable {
  case setBackend(service: Int, backend: Int, usable: Bool, weight: Int)
  case drain(DrainOrder)
  /// The services to serve again.
  case resume([Int])
  /// Something shared has changed: turn.
  case look
  case stop
}

/// Commands to one worker.
final class Mail: Sendable {
  private let box: Mailbox<Command>

  init() throws(SystemError) { box = try Mailbox() }

  var descriptor: Int32 { box.waker.descriptor }

  func send(_ command: Command) { box.send(command) }

  func open(_ body: (Command) -> Void) {
    box.waker.acknowledge()
    box.drain(body)
  }
}

/// One call of `closeConnections`, shared by the workers: they seal together, and the last to finish reports.
final class DrainOrder: Sendable {
  let services: [Int]
  /// CLOCK_BOOTTIME in nanoseconds.
  let deadline: Int64
  /// SYNs are turned away from here on, so that what is under way is all that there is: a quarter of the time before the
  /// deadline, 50 ms at most. A client whose SYN is dropped tries the next owner; one whose request is cut has lost it.
  let sealing: Int64
  private let everyone: [Mail]
  private let sealed = Atomic(false)
  private let unfinished: Atomic<Int>
  private let then: @Sendable () -> Void

  init(services: [Int], from now: Instant, within: Duration, everyone: [Mail], then: @escaping @Sendable () -> Void) {
    self.services = services
    let length = max(within.nanoseconds, 0)
    deadline = now.nanoseconds.addingReportingOverflow(length).overflow ? .max : now.nanoseconds + length
    sealing = deadline - min(length / 4, 50_000_000)
    self.everyone = everyone
    unfinished = Atomic(everyone.count)
    self.then = then
  }

  var isSealed: Bool { sealed.load(ordering: .acquiring) }

  func seal() {
    if sealed.exchange(true, ordering: .acquiringAndReleasing) { return }
    for mail in everyone { mail.send(.look) }
  }

  /// A worker is done, or was told to serve again.
  func arrive() {
    if unfinished.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 { then() }
  }
}

/// An order as one worker carries it out.
struct ActiveDrain {
  let order: DrainOrder
  /// Those of the order that were not called off by `resume`.
  var services: [Int]
  var isSealed = false
}

extension Worker {
  /// Services go on, but a connection is closed once it rests between a response and the next request.
  mutating func begin(_ order: DrainOrder) {
    drains.append(ActiveDrain(order: order, services: order.services))
    for service in order.services { services[service].isDraining = true }
    for place in 0..<slab.top where slab.isOpen(place) {
      guard connections[place].flags.contains(.established), order.services.contains(Int(connections[place].service))
      else { continue }
      wheel.arm(place, at: connections[place].lastMoved &+ Self.quiet)
    }
    advanceDrains(at: io.now())
  }

  mutating func advanceDrains(at now: Int64) {
    var index = 0
    while index < drains.count {
      let drain = drains[index]
      if !drain.isSealed, isTimeToSeal(drain, at: now) {
        drains[index].isSealed = true
        drain.order.seal()
        seal(drain.services)
      }
      if drains[index].isSealed, isDone(drain.services, isOver: now >= drain.order.deadline) {
        drains.remove(at: index)
        drain.order.arrive()
      } else {
        index += 1
      }
    }
  }

  private func isTimeToSeal(_ drain: ActiveDrain, at now: Int64) -> Bool {
    drain.order.isSealed || now >= drain.order.sealing
      || drain.services.allSatisfy { occupancy.connections(of: $0) == 0 }
  }

  private mutating func seal(_ sealed: [Int]) {
    for service in sealed where services[service].intake == .open { services[service].intake = .sealed }
    for listener in listeners where sealed.contains(listener.service) { _ = io.seal(listener.descriptor) }
  }

  /// Takes what had arrived before the seal. When the time is over, resets it and everything else.
  private mutating func isDone(_ drained: [Int], isOver: Bool) -> Bool {
    if isOver { for service in drained { services[service].intake = .closed } }
    for index in listeners.indices where drained.contains(listeners[index].service) { emptyBacklog(index) }
    if isOver {
      for place in 0..<slab.top where slab.isOpen(place) && drained.contains(Int(connections[place].service)) {
        ledger.services[Int(connections[place].service)].cut.bump()
        reset(place)
      }
    }
    guard drained.allSatisfy({ services[$0].open == 0 }) else { return false }
    for service in drained { services[service].intake = .closed }
    return true
  }

  private mutating func emptyBacklog(_ index: Int) {
    // Bounded, should the filter be missing: the backlog itself is.
    for _ in 0..<65_536 {
      guard acceptOne(index) else { return }
    }
  }

  /// The node owns the address again: whatever was being drained is served again.
  mutating func resume(_ resumed: [Int]) {
    for index in drains.indices.reversed() {
      drains[index].services.removeAll(where: resumed.contains)
      if drains[index].services.isEmpty { drains.remove(at: index).order.arrive() }
    }
    for service in resumed {
      services[service].intake = .open
      services[service].isDraining = false
    }
    for listener in listeners where resumed.contains(listener.service) { _ = io.unseal(listener.descriptor) }
  }
}
