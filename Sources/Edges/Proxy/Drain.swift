import Basis
import Linux
import Synchronization

/// What other threads ask of a worker.
enum Command: Sendable {
  /// `service` is a slot here and below.
  case setBackend(service: Int, backend: Int, usable: Bool, weight: Int)
  /// The listeners are one list for each worker.
  case install(Edition, slot: Int, [[Listener]], replacing: Int?)
  case retire(Int)
  case lend(LendOrder)
  case cede
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
  /// Sealed at the latest at this time: CLOCK_BOOTTIME in nanoseconds.
  private let sealing: Int64
  private let deadline: Int64
  /// The deadline, or a little behind the seal where that comes early.
  private let end: Atomic<Int64>
  private let everyone: [Mail]
  private let sealed = Atomic(false)
  /// Connections that were open when the drain began and still are, and one for each worker that has not yet begun.
  private let awaited: Atomic<Int>
  private let unfinished: Atomic<Int>
  private let then: @Sendable () -> Void

  /// From the seal to the end. SYNs are dropped meanwhile, and a client repeats one after a whole second: so it is short. What is
  /// under way gets this long to come to the end of a response.
  private static let longestSeal: Int64 = 5_000_000

  init(services: [Int], from now: Instant, within: Duration, everyone: [Mail], then: @escaping @Sendable () -> Void) {
    self.services = services
    let length = max(within.nanoseconds, 0)
    deadline = now.nanoseconds.addingReportingOverflow(length).overflow ? .max : now.nanoseconds + length
    sealing = deadline - min(length / 4, Self.longestSeal)
    end = Atomic(deadline)
    self.everyone = everyone
    awaited = Atomic(everyone.count)
    unfinished = Atomic(everyone.count)
    self.then = then
  }

  var isSealed: Bool { sealed.load(ordering: .acquiring) }

  /// A worker begins, with so many connections.
  func begin(with connections: Int) { awaited.add(connections - 1, ordering: .relaxed) }

  /// One of those has ended.
  func ended() { awaited.subtract(1, ordering: .relaxed) }

  func isTimeToSeal(at now: Int64) -> Bool {
    isSealed || now >= sealing || awaited.load(ordering: .relaxed) <= 0
  }

  func seal(at now: Int64) {
    if sealed.exchange(true, ordering: .acquiringAndReleasing) { return }
    end.store(min(deadline, now + Self.longestSeal), ordering: .releasing)
    for mail in everyone { mail.send(.look) }
  }

  func isOver(at now: Int64) -> Bool { now >= end.load(ordering: .acquiring) }

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
  /// Services go on, but a connection that is there now is closed once it rests between a response and the next request.
  ///
  /// One that comes later is left alone until the seal: closing it too would only make its client come again and again.
  mutating func begin(_ order: DrainOrder) {
    drains.append(ActiveDrain(order: order, services: order.services))
    var count = 0
    for place in 0..<slab.top where slab.isOpen(place) && order.services.contains(Int(connections[place].service)) {
      connections[place].flags.insert(.isAwaited)
      count += 1
      if connections[place].flags.contains(.established) {
        wheel.arm(place, at: connections[place].lastMoved &+ Self.quiet)
      }
    }
    order.begin(with: count)
    advanceDrains(at: io.now())
  }

  mutating func advanceDrains(at now: Int64) {
    var index = 0
    while index < drains.count {
      let drain = drains[index]
      if !drain.isSealed, drain.order.isTimeToSeal(at: now) {
        drains[index].isSealed = true
        drain.order.seal(at: now)
        seal(drain.services)
      }
      if drains[index].isSealed, isDone(drain.services, isOver: drain.order.isOver(at: now)) {
        drains.remove(at: index)
        drain.order.arrive()
      } else {
        index += 1
      }
    }
  }

  /// Whether a connection is closed as soon as it rests.
  func isClosing(_ place: Int) -> Bool {
    switch services[Int(connections[place].service)].intake {
    case .open: !drains.isEmpty && connections[place].flags.contains(.isAwaited)
    case .sealed, .closed: true
    }
  }

  /// A connection has ended that drains may be waiting for.
  mutating func awaitedEnded(_ service: Int) {
    for drain in drains where drain.services.contains(service) { drain.order.ended() }
  }

  private mutating func seal(_ sealed: [Int]) {
    for service in sealed where services[service].intake == .open { services[service].intake = .sealed }
    for listener in listeners where listener.descriptor >= 0 && sealed.contains(listener.service) {
      _ = io.seal(listener.descriptor)
    }
    for place in 0..<slab.top where slab.isOpen(place) && sealed.contains(Int(connections[place].service)) {
      guard connections[place].flags.contains(.established) else { continue }
      wheel.arm(place, at: connections[place].lastMoved &+ Self.shortQuiet)
    }
  }

  /// Takes what had arrived before the seal. When the time is over, resets it and everything else.
  private mutating func isDone(_ drained: [Int], isOver: Bool) -> Bool {
    if isOver { for service in drained { services[service].intake = .closed } }
    for index in listeners.indices where drained.contains(listeners[index].service) { emptyBacklog(index) }
    if isOver {
      for place in 0..<slab.top where slab.isOpen(place) && drained.contains(Int(connections[place].service)) {
        services[Int(connections[place].service)].counters.pointee.cut.bump()
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
    for place in 0..<slab.top where slab.isOpen(place) && resumed.contains(Int(connections[place].service)) {
      guard connections[place].flags.contains(.isAwaited) else { continue }
      connections[place].flags.remove(.isAwaited)
      awaitedEnded(Int(connections[place].service))
    }
    for index in drains.indices.reversed() {
      drains[index].services.removeAll(where: resumed.contains)
      if drains[index].services.isEmpty { drains.remove(at: index).order.arrive() }
    }
    for service in resumed { services[service].intake = .open }
    for listener in listeners where listener.descriptor >= 0 && resumed.contains(listener.service) {
      _ = io.unseal(listener.descriptor)
    }
  }
}
