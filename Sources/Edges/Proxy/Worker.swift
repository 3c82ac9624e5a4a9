import Balancing
import Basis
import CLinux
import Synchronization

/// One loop of the proxy: its own listening sockets, connections, timers and epoll. Only its thread touches it.
///
/// A turn: wait; handle what became ready, each connection for a bounded time; go on with those that were cut short; fire timers;
/// see to drains. A turn takes place at least every 100 ms, so that a stuck worker can be told from an idle one.
///
/// It is a struct that nobody copies, because methods of a class would pay for exclusivity checks at each access.
struct Worker<IO: SocketIO>: ~Copyable {
  static var longestRest: Int32 { 100 }
  static var eventsPerTurn: Int32 { 512 }
  static var acceptsPerTurn: Int { 64 }
  /// Reads of up to 128 KiB, or pipes of up to 1 MiB, that a connection may move before others have their turn.
  static var roundsPerTurn: Int { 4 }
  /// Bytes in one read that make it a full one.
  static var fullRead: Int { 16 << 10 }

  let io: IO
  var slab: Slab
  var wheel: TimerWheel
  var buffers: BufferPool
  var pipes: PipePool
  var services: [ServiceState]
  var listeners: [Listener]
  var drains: [ActiveDrain] = []
  let number: Int
  let pulse: Pulse
  let occupancy: Occupancy
  let mail: Mail
  /// Connections whose turn was used up, as tokens: a ring, `queueCount` long from `queueStart` on.
  let queue: UnsafeMutablePointer<UInt64>
  let queueMask: Int
  var queueStart = 0
  var queueCount = 0
  /// Closed to make room for one descriptor when the table is full.
  var spare: Int32
  /// Milliseconds since the worker began, as of this turn; wraps.
  var tick: UInt32 = 0
  let began: Int64
  let events: UnsafeMutablePointer<epoll_event>
  var pausedListeners = 0
  var isStopping = false

  @inline(__always)
  var halves: UnsafeMutablePointer<Half> { slab.halves }
  @inline(__always)
  var connections: UnsafeMutablePointer<Connection> { slab.connections }

  init(io: IO, plan: WorkerPlan, pulse: Pulse, occupancy: Occupancy, mail: Mail) throws(ProxyError) {
    let queueSize = (4 * plan.capacity).roundedUpToPowerOfTwo
    let slab = try Slab(capacity: plan.capacity)
    let buffers = try BufferPool(limit: plan.options.bufferBytes)
    let queue = try Reserved.memory(of: UInt64.self, count: queueSize)
    self.init(
      io: io, plan: plan, pulse: pulse, occupancy: occupancy, mail: mail, slab: slab, buffers: buffers, queue: queue,
      queueSize: queueSize)
  }

  /// Has the poller tell of connections that wait.
  mutating func listen() throws(ProxyError) {
    for (index, listener) in listeners.enumerated() {
      let result = io.watchListener(listener.descriptor, token: Token.listener(index))
      if result < 0 { throw .outOf("epoll watch", code: -result) }
    }
  }

  private init(
    io: IO, plan: WorkerPlan, pulse: Pulse, occupancy: Occupancy, mail: Mail, slab: consuming Slab,
    buffers: consuming BufferPool, queue: UnsafeMutablePointer<UInt64>, queueSize: Int
  ) {
    wheel = TimerWheel(at: 0, connections: slab.connections)
    self.slab = slab
    self.buffers = buffers
    self.queue = queue
    queueMask = queueSize - 1
    self.io = io
    pipes = PipePool(limit: plan.options.pipes)
    services = plan.editions.enumerated().map { ServiceState($1, slot: $0, worker: plan.number) }
    listeners = plan.listeners
    self.pulse = pulse
    number = plan.number
    self.occupancy = occupancy
    self.mail = mail
    spare = io.spare()
    began = io.now()
    events = .allocate(capacity: Int(Self.eventsPerTurn))
  }

  deinit {
    events.deallocate()
    Reserved.release(queue, count: queueMask + 1)
  }

  mutating func run() {
    while !isStopping { turn() }
    closeAll()
  }

  mutating func turn() {
    let ready = io.wait(events, capacity: Self.eventsPerTurn, milliseconds: rest())
    let now = io.now()
    tick = UInt32(truncatingIfNeeded: (now - began) / 1_000_000)
    pulse.lastTurn.store(now, ordering: .relaxed)
    var index = 0
    while index < Int(ready) {  // negative for EINTR
      handle(events[index].data.u64, events[index].events)
      index += 1
    }
    continueQueued()
    while let place = wheel.popExpired(by: tick) { timerFired(place) }
    if pausedListeners > 0 { resumeListeners() }
    if !drains.isEmpty { advanceDrains(at: now) }
  }

  /// Milliseconds to wait for events.
  private func rest() -> Int32 {
    if queueCount > 0 { return 0 }
    var limit = Self.longestRest
    if !drains.isEmpty { limit = 1 }
    if pausedListeners > 0 { limit = min(limit, 10) }
    return wheel.delay(limit: limit)
  }

  @inline(__always)
  private mutating func handle(_ token: UInt64, _ readiness: UInt32) {
    if Token.isListener(token) {
      if token == Token.bell { readMail() } else { acceptSome(Token.index(token)) }
      return
    }
    let half = Token.index(token)
    guard slab.isOpen(half >> 1), connections[half >> 1].generation == Token.generation(token) else { return }
    becameReady(half, readiness)
  }

  /// What became possible for a socket, in the order that keeps bytes before ends and ends before errors.
  private mutating func becameReady(_ half: Int, _ readiness: UInt32) {
    if readiness & (Readiness.peerEnded | Readiness.hungUp) != 0 { halves[half].flags.insert(.lastIsQueued) }
    if readiness & (Readiness.urgent | Readiness.failed | Readiness.hungUp) != 0 {
      halves[half].flags.insert(.readToEnd)
    }
    if !connections[half >> 1].flags.contains(.established) {
      // Only the backend's half is watched before both are connected.
      if readiness & (Readiness.failed | Readiness.hungUp) != 0 { return attemptFailed(half >> 1) }
      guard readiness & Readiness.output != 0 else { return }
      guard established(half >> 1) else { return }
    }
    if readiness & Readiness.failed != 0 { return failed(half) }
    if readiness & Readiness.output != 0, halves[half].isBlocked { guard flush(half) else { return } }
    if readiness & (Readiness.input | Readiness.peerEnded | Readiness.hungUp) != 0 { _ = pump(half) }
  }

  // MARK: turns used up

  /// Has the connection continued in the next turn. It may be told more than once.
  mutating func enqueue(_ half: Int) {
    guard !halves[half].flags.contains(.queued) else { return }
    guard queueCount <= queueMask else {
      connections[half >> 1].flags.insert(.starved)
      return wheel.arm(half >> 1, at: tick &+ 1)
    }
    halves[half].flags.insert(.queued)
    queue[(queueStart + queueCount) & queueMask] = Token.half(half, generation: connections[half >> 1].generation)
    queueCount += 1
  }

  private mutating func continueQueued() {
    for _ in 0..<queueCount {
      let token = queue[queueStart & queueMask]
      queueStart = (queueStart + 1) & queueMask
      queueCount -= 1
      let half = Token.index(token)
      guard slab.isOpen(half >> 1), connections[half >> 1].generation == Token.generation(token) else { continue }
      halves[half].flags.remove(.queued)
      _ = pump(half)
    }
  }

  // MARK: other threads

  mutating func readMail() {
    var letters: [Command] = []
    mail.open { letters.append($0) }
    for letter in letters {
      switch letter {
      case .setBackend(let service, let backend, let usable, let weight):
        services[service].balancer.set(backend, usable: usable, weight: weight)
      case .install(let edition, let slot, let opened, let replaced):
        install(edition, at: slot, opened[number], replacing: replaced)
      case .retire(let slot): retire(slot)
      case .lend(let order): order.lend(listeners)
      case .cede: cede()
      case .drain(let drain): begin(drain)
      case .resume(let resumed): resume(resumed)
      case .look: break
      case .stop: isStopping = true
      }
    }
  }

  private mutating func closeAll() {
    for place in 0..<slab.top where slab.isOpen(place) { reset(place) }
    for drain in drains { drain.order.arrive() }
    drains = []
    pipes.closeAll(io)
    for listener in listeners where listener.descriptor >= 0 { io.close(listener.descriptor) }
    if spare >= 0 { io.close(spare) }
  }
}

extension Int {
  var roundedUpToPowerOfTwo: Int { self <= 1 ? 1 : 1 << (Int.bitWidth - (self - 1).leadingZeroBitCount) }
}
