import Balancing
import Basis
import CLinux
import Linux
import Synchronization
import Wire

/// The TCP proxy: threads that carry connections from services' addresses to their backends.
///
/// ```swift
/// let proxy = try ProxyEngine(services: [web])   // binds every address, owned or not
/// try proxy.start()
/// proxy.setBackend(service: 0, backend: 1, usable: false, weight: 100)
/// proxy.closeConnections([0], within: .seconds(5)) { /* the address may leave */ }
/// ```
///
/// Services and backends are named by their index, which a service keeps while it lives (`prepare`). All methods may be called from any
/// thread, and none waits for a worker except `stop`.
public final class ProxyEngine: Sendable {
  /// Connections that may be open at once: what was asked for, held to the limit of open files.
  public let maximumConnections: Int
  public var workers: Int { crew.count }

  let crew: [Member]
  let occupancy: Occupancy
  let backlog: Int
  let state: Mutex<State>
  /// Sockets of a process before this one, which go to the services that listen there.
  let inheritance: Inheritance?

  /// Binds all listening sockets, so that start and take-over need none; begins nothing yet.
  ///
  /// - Parameter inheritance: listening sockets of another process, taken instead of new ones by whatever listens there, now or later.
  public init(
    services: [ProxyService], options: ProxyOptions = ProxyOptions(), inheriting inheritance: Inheritance? = nil
  ) throws(ProxyError) {
    self.inheritance = inheritance
    for service in services {
      if let mistake = service.mistake { throw .invalid(service: service.name, reason: mistake) }
    }
    let workers = max(1, options.workers ?? processorCount())
    let perConnection = 2
    // With room for listening sockets of services that come later.
    let fixed = 512 + workers * (2 * options.pipes + services.reduce(8) { $0 + 2 * $1.listen.count })
    let files = clinux_proxy_raise_files(UInt64(max(options.maximumConnections, 1) * perConnection + fixed))
    let room = (Int(clamping: files) - fixed) / perConnection
    maximumConnections = max(1, min(options.maximumConnections, room))

    backlog = options.backlog
    var listeners = try ListenerSet(
      services.enumerated().map { ($0, $1, $1.listen) }, workers: workers, backlog: options.backlog,
      inheriting: inheritance)
    let occupancy = Occupancy(bound: maximumConnections)
    self.occupancy = occupancy
    let editions = services.map { Edition($0, workers: workers) }
    var crew: [Member] = []
    for worker in 0..<workers {
      let mine = listeners.take(worker)
      let plan = WorkerPlan(
        editions: editions, listeners: mine, options: options, capacity: maximumConnections, number: worker)
      do {
        crew.append(try Member(plan: plan, occupancy: occupancy))
      } catch {
        ListenerSet.close(mine)
        listeners.closeAll()
        for member in crew { member.dismiss() }
        throw error
      }
    }
    self.crew = crew
    state = Mutex(State(editions))
  }

  deinit { stop() }

  /// Starts the workers. A second call does nothing.
  public func start() throws(ProxyError) {
    let isFirst = state.withLock { state in
      defer { state.phase = state.phase == .ready ? .running : state.phase }
      return state.phase == .ready
    }
    guard isFirst else { return }
    for (index, member) in crew.enumerated() {
      do {
        try member.start(named: "proxy-\(index)")
      } catch {
        stop()
        throw .outOf("thread", code: error.code)
      }
    }
  }

  /// Takes a backend in or out, or changes its weight. Its open connections stay. Unknown indexes are ignored.
  public func setBackend(service: Int, backend: Int, usable: Bool, weight: Int) {
    // Under the lock, so that all workers see two changes in the same order.
    state.withLock { state in
      guard state.places.indices.contains(service), let current = state.places[service].current,
        state.places[service].backends.indices.contains(backend)
      else { return }
      state.places[service].backends[backend] = .init(usable: usable, weight: weight)
      for member in crew {
        member.mail.send(.setBackend(service: current, backend: backend, usable: usable, weight: weight))
      }
    }
  }

  /// Ends the connections of `services` so that their address can leave.
  ///
  /// They go on accepting and proxying, but a connection that is there now and rests for 10 ms after a response is closed
  /// (FIN). When all of those are gone, or shortly before the deadline, the listeners drop SYNs, which clients retransmit
  /// to the next owner; 5 ms later what does not rest even then is reset (RST), so that no client is left waiting. From
  /// then on nothing is accepted until `resume`.
  ///
  /// - Parameters:
  ///   - within: zero resets everything now.
  ///   - then: called once, on a worker's thread, when no connection is left, or when `resume` or `stop` ended the drain.
  public func closeConnections(_ services: [Int], within: Duration, then: @escaping @Sendable () -> Void) {
    state.withLock { state in
      let order = DrainOrder(
        services: state.slots(of: services), from: Clock.now(), within: within, everyone: crew.map(\.mail), then: then)
      guard state.phase == .running else {
        for _ in crew { order.arrive() }
        return
      }
      for member in crew { member.mail.send(.drain(order)) }
    }
  }

  /// Serves `services` again after `closeConnections`, or calls off one that goes on.
  public func resume(_ services: [Int]) {
    state.withLock { state in
      for member in crew { member.mail.send(.resume(state.slots(of: services))) }
    }
  }

  /// What has happened so far, added up over the workers, which are not disturbed. In the order of the indexes; an empty name is an
  /// empty place.
  public func snapshot() -> [ServiceSnapshot] {
    state.withLock { state in
      state.sweep()
      return state.places.map { state.snapshot(of: $0) }
    }
  }

  /// When each worker last turned; one that rests turns every 100 ms, so an older beat is one that is stuck or dead.
  /// Nil before its first turn.
  public func beats() -> [Instant?] {
    crew.map { member in
      let last = member.pulse.lastTurn.load(ordering: .relaxed)
      return last == 0 ? nil : Instant(nanoseconds: last)
    }
  }

  /// Whether every worker has turned since then. As `beats`, for the loop that asks all the time: it allocates nothing.
  public func haveTurned(since moment: Instant) -> Bool {
    crew.allSatisfy { $0.pulse.lastTurn.load(ordering: .relaxed) >= moment.nanoseconds }
  }

  /// Resets all connections, closes the listening sockets and waits for the workers. There is no start after it.
  public func stop() {
    let before = state.withLock { state in
      defer { state.phase = .stopped }
      return state.phase
    }
    guard before != .stopped else { return }
    for member in crew { member.mail.send(.stop) }
    for member in crew { member.dismiss() }
  }
}
