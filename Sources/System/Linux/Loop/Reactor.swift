import Basis
import CLinux
import Glibc

/// One thread's event loop over epoll: descriptors that are ready, and one deadline.
///
/// ```
///            ┌────────────────────── turn ───────────────────────┐
///  wait ──►  dispatch what is ready ──► deadline passed? drain again, then act on it ──► onTurn ──► wait
/// ```
///
/// What arrived before the clock was read is handled before a deadline is acted on: a loop that was stopped for a while
/// reads the adverts that came in time before it decides that none came. In steady state nothing is allocated.
/// A reactor belongs to the thread that runs it; other threads reach it through a `Mailbox`.
public final class Reactor {
  /// What to be told about a descriptor.
  public struct Interest: OptionSet, Sendable, Hashable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public static let readable = Interest(rawValue: EPOLLIN.rawValue)
    public static let writable = Interest(rawValue: EPOLLOUT.rawValue)
    /// The peer has shut down its writing side.
    public static let peerClosed = Interest(rawValue: EPOLLRDHUP.rawValue)
  }

  /// What a descriptor is ready for. `hangup` and `error` come unasked.
  public struct Readiness: OptionSet, Sendable, Hashable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public static let readable = Readiness(rawValue: EPOLLIN.rawValue)
    public static let writable = Readiness(rawValue: EPOLLOUT.rawValue)
    public static let peerClosed = Readiness(rawValue: EPOLLRDHUP.rawValue)
    public static let hangup = Readiness(rawValue: EPOLLHUP.rawValue)
    public static let error = Readiness(rawValue: EPOLLERR.rawValue)
  }

  /// A registered descriptor. Using one after `unregister` does nothing.
  public struct Registration: Sendable, Hashable {
    fileprivate var slot: UInt32
    fileprivate var generation: UInt32
    fileprivate var token: UInt64 { UInt64(generation) << 32 | UInt64(slot) }

    fileprivate init(slot: UInt32, generation: UInt32) {
      self.slot = slot
      self.generation = generation
    }

    fileprivate init(token: UInt64) {
      self.init(slot: UInt32(truncatingIfNeeded: token), generation: UInt32(truncatingIfNeeded: token >> 32))
    }
  }

  public typealias Handler = (Readiness) -> Void

  private struct Slot {
    var generation: UInt32 = 0
    var descriptor: Int32 = -1
    var isEdgeTriggered = false
    var handler: Handler?
  }

  /// How late deadlines were acted on, and how often the loop turned.
  public private(set) var statistics = ReactorStatistics()

  private let epoll: Descriptor
  private var timeouts: Timeouts
  private var slots: [Slot] = []
  private var free: [UInt32] = []
  private let events: UnsafeMutablePointer<epoll_event>
  private let capacity: Int32
  private var isStopping = false
  /// See `gather(for:)`.
  private var gathering = Duration.zero

  /// - Parameter batch: how many ready descriptors one wait may return.
  public convenience init(batch: Int = 256) throws(SystemError) {
    try self.init(batch: batch, forcingTimer: false)
  }

  /// - Parameter forcingTimer: as on a kernel without epoll_pwait2 (before 5.11).
  init(batch: Int, forcingTimer: Bool) throws(SystemError) {
    epoll = Descriptor(owning: try SystemError.check("epoll_create1") { epoll_create1(Int32(EPOLL_CLOEXEC)) })
    capacity = Int32(clamping: max(1, batch))
    events = .allocate(capacity: Int(capacity))
    timeouts = .pwait2
    if forcingTimer { try useTimer() }
  }

  deinit {
    if case .timer(let descriptor) = timeouts { close(descriptor) }
    events.deallocate()
  }

  // MARK: Registering

  /// Has `handler` called on this reactor's thread whenever the descriptor is ready. The descriptor stays the caller's to close,
  /// after `unregister`.
  @discardableResult
  public func register(
    _ descriptor: Int32, _ interest: Interest, edgeTriggered: Bool = false, handler: @escaping Handler
  ) throws(SystemError) -> Registration {
    let registration: Registration
    if let slot = free.popLast() {
      registration = Registration(slot: slot, generation: slots[Int(slot)].generation)
    } else {
      registration = Registration(slot: UInt32(slots.count), generation: 0)
      slots.append(Slot())
      free.reserveCapacity(slots.count)
    }
    let events = Self.events(interest, edgeTriggered)
    guard clinux_epoll_control(epoll.rawValue, EPOLL_CTL_ADD, descriptor, events, registration.token) == 0 else {
      let error = SystemError.last("epoll_ctl EPOLL_CTL_ADD", "descriptor \(descriptor)")
      free.append(registration.slot)
      throw error
    }
    let index = Int(registration.slot)
    slots[index].descriptor = descriptor
    slots[index].isEdgeTriggered = edgeTriggered
    slots[index].handler = handler
    return registration
  }

  /// Changes what the handler is told about. An edge-triggered descriptor that is ready is reported again.
  public func modify(_ registration: Registration, _ interest: Interest) throws(SystemError) {
    guard let index = index(of: registration) else { return }
    let events = Self.events(interest, slots[index].isEdgeTriggered)
    let descriptor = slots[index].descriptor
    try SystemError.check("epoll_ctl EPOLL_CTL_MOD", "descriptor \(descriptor)") {
      clinux_epoll_control(epoll.rawValue, EPOLL_CTL_MOD, descriptor, events, registration.token)
    }
  }

  /// Ends a registration. Its handler is not called again, not even for an event of the batch that is being handled.
  public func unregister(_ registration: Registration) {
    guard let index = index(of: registration) else { return }
    // It fails only where the descriptor is closed already, and then the kernel forgot it by itself.
    _ = clinux_epoll_control(epoll.rawValue, EPOLL_CTL_DEL, slots[index].descriptor, 0, 0)
    slots[index].handler = nil
    slots[index].descriptor = -1
    slots[index].generation &+= 1
    free.append(registration.slot)
  }

  private func index(of registration: Registration) -> Int? {
    let index = Int(registration.slot)
    guard index < slots.count, slots[index].generation == registration.generation, slots[index].handler != nil else {
      return nil
    }
    return index
  }

  private static func events(_ interest: Interest, _ edgeTriggered: Bool) -> UInt32 {
    interest.rawValue | (edgeTriggered ? EPOLLET.rawValue : 0)
  }

  // MARK: Running

  /// Turns until `stop()`.
  /// - Parameters:
  ///   - onWake: called after each wait, before anything is handled: whatever happened while the thread slept, or was kept from running,
  ///     comes first.
  ///   - onTurn: called once a turn, with the time at its end: a place for beats and for what is done once a batch.
  ///   - deadline: when `onDeadline` is wanted at the latest; asked before each wait.
  ///   - onDeadline: called with a time not before the deadline. What had arrived by that time has been handled,
  ///     unless it keeps arriving faster than it is read (then after `longestDrain`).
  public func run(
    onWake: () -> Void = {}, onTurn: (Instant) -> Void = { _ in }, deadline: () -> Instant? = { nil },
    onDeadline: (Instant) -> Void = { _ in }
  ) throws(SystemError) {
    isStopping = false
    while !isStopping { try turn(onWake: onWake, onTurn: onTurn, deadline: deadline, onDeadline: onDeadline) }
  }

  /// Ends `run` after the turn under way. From another thread: send it through a `Mailbox`.
  public func stop() { isStopping = true }

  /// Puts off the next wait by so long, or to the deadline if that is sooner. Packets that follow each other closely are then found by one
  /// wake-up, not by one each; for a handler to call that knows that more are coming.
  public func gather(for pause: Duration) { gathering = max(gathering, pause) }

  private func gather(until deadline: Instant?) {
    let pause = deadline.map { min(gathering, $0 - Clock.now()) } ?? gathering
    gathering = .zero
    guard pause > .zero else { return }
    var rest = timespec(
      tv_sec: Int(pause.nanoseconds / 1_000_000_000), tv_nsec: Int(pause.nanoseconds % 1_000_000_000))
    // A signal may cut it short, which is as well.
    nanosleep(&rest, nil)
  }

  /// One turn, which waits for an event or the deadline.
  public func turn(
    onWake: () -> Void = {}, onTurn: (Instant) -> Void = { _ in }, deadline: () -> Instant? = { nil },
    onDeadline: (Instant) -> Void = { _ in }
  ) throws(SystemError) {
    if gathering > .zero { gather(until: deadline()) }
    let ready = try wait(until: deadline())
    onWake()
    dispatch(ready)
    var now = Clock.now()
    if let due = deadline(), now >= due, !isStopping {
      // `now` was read first: whatever had arrived by then is in the sockets, and is read here.
      for round in 0..<Self.mostRounds {
        // A flood never ends; what a loop that was stopped for a while finds does, and earlier.
        if round >= Self.leastRounds, Clock.now() - now >= Self.longestDrain { break }
        let count = try poll()
        onWake()
        if count == 0 { break }
        dispatch(count)
        if isStopping { break }
      }
      // An advert among them may have moved the deadline.
      if let due = deadline(), now >= due, !isStopping {
        statistics.recordLateness(now - due)
        onDeadline(now)
      }
      now = Clock.now()
    }
    statistics.turns &+= 1
    onTurn(now)
  }

  /// How often the sockets are read before a deadline is acted on, at least and at most, while something waits in them, and how long
  /// that may go on between the two. A handler reads a portion, so one round is not enough for what gathered in a stall; a flood that is
  /// as fast as the reader must not hold a deadline up.
  private static let leastRounds = 8
  private static let mostRounds = 64
  private static let longestDrain = Duration.milliseconds(10)

  private func dispatch(_ count: Int) {
    for index in 0..<count {
      let registration = Registration(token: clinux_epoll_token(events + index))
      if registration.slot == Self.timerSlot { continue }
      guard let slot = self.index(of: registration), let handler = slots[slot].handler else { continue }
      handler(Readiness(rawValue: clinux_epoll_events(events + index)))
    }
  }

  // MARK: Waiting

  private enum Timeouts {
    case pwait2
    case timer(Int32)
  }

  private static let timerSlot = UInt32.max

  private func wait(until deadline: Instant?) throws(SystemError) -> Int {
    guard let deadline else { return try waitOnce(-1) }
    let remaining = deadline - Clock.now()
    guard remaining > .zero else { return try poll() }
    if case .timer(let timer) = timeouts { return try wait(until: deadline, timer) }
    let count = clinux_epoll_wait_ns(epoll.rawValue, events, capacity, remaining.nanoseconds)
    if count >= 0 { return Int(count) }
    switch errno {
    case EINTR: return 0
    case ENOSYS, EPERM:  // an old kernel, or a seccomp filter older than the call
      try useTimer()
      return try wait(until: deadline)
    default: throw .last("epoll_pwait2")
    }
  }

  private func wait(until deadline: Instant, _ timer: Int32) throws(SystemError) -> Int {
    try SystemError.check("timerfd_settime") { clinux_timerfd_arm(timer, max(1, deadline.nanoseconds)) }
    let count = try waitOnce(-1)
    try SystemError.check("timerfd_settime") { clinux_timerfd_arm(timer, 0) }  // disarming clears an expiry, too
    return count
  }

  private func poll() throws(SystemError) -> Int { try waitOnce(0) }

  private func waitOnce(_ nanoseconds: Int64) throws(SystemError) -> Int {
    let count = clinux_epoll_wait_ns(epoll.rawValue, events, capacity, nanoseconds)
    if count >= 0 { return Int(count) }
    if errno == EINTR { return 0 }
    throw .last("epoll_wait")
  }

  private func useTimer() throws(SystemError) {
    let flags = Int32(TFD_CLOEXEC | TFD_NONBLOCK)
    let timer = try SystemError.check("timerfd_create") { timerfd_create(CLOCK_BOOTTIME, flags) }
    timeouts = .timer(timer)
    let token = Registration(slot: Self.timerSlot, generation: 0).token
    try SystemError.check("epoll_ctl EPOLL_CTL_ADD", "timer") {
      clinux_epoll_control(epoll.rawValue, EPOLL_CTL_ADD, timer, EPOLLIN.rawValue, token)
    }
  }
}

/// Counters of a reactor, for metrics.
public struct ReactorStatistics: Sendable {
  public internal(set) var turns: UInt64 = 0
  /// Deadlines acted on.
  public private(set) var deadlines: UInt64 = 0
  public private(set) var latenessTotal: Duration = .zero
  public private(set) var latenessMaximum: Duration = .zero
  /// `latenessBuckets[n]` counts deadlines that were acted on less than 2ⁿ µs late and not less than half that;
  /// the last bucket, everything later.
  public private(set) var latenessBuckets = InlineArray<24, UInt64>(repeating: 0)

  /// The lateness that this share of the deadlines did not exceed, to a power of two; zero where there were none.
  /// - Parameter share: 0 to 1.
  public func lateness(ofShare share: Double) -> Duration {
    var rest = share * Double(deadlines)
    for index in latenessBuckets.indices where latenessBuckets[index] > 0 {
      rest -= Double(latenessBuckets[index])
      if rest <= 0 { return min(.microseconds(Int64(1) << Int64(index)), latenessMaximum) }
    }
    return latenessMaximum
  }

  mutating func recordLateness(_ lateness: Duration) {
    deadlines &+= 1
    latenessTotal += lateness
    latenessMaximum = max(latenessMaximum, lateness)
    let microseconds = UInt64(max(0, lateness.nanoseconds / 1000))
    latenessBuckets[min(UInt64.bitWidth - microseconds.leadingZeroBitCount, latenessBuckets.count - 1)] &+= 1
  }
}
