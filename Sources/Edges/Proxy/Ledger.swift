import Synchronization

/// One worker's counters of one backend. Only that worker writes; anyone may read.
struct BackendCounters: ~Copyable {  // holds atomics, which have an address
  let connections = Atomic<UInt64>(0)
  let total = Atomic<UInt64>(0)
  let failedConnects = Atomic<UInt64>(0)
  let retries = Atomic<UInt64>(0)
  let resets = Atomic<UInt64>(0)
  let bytesToBackend = Atomic<UInt64>(0)
  let bytesToClient = Atomic<UInt64>(0)
}

/// One worker's counters of one service.
struct ServiceCounters: ~Copyable {  // holds atomics, which have an address
  let connections = Atomic<UInt64>(0)
  let accepted = Atomic<UInt64>(0)
  let refusedAtLimit = Atomic<UInt64>(0)
  let noBackend = Atomic<UInt64>(0)
  let unreachable = Atomic<UInt64>(0)
  let clientResets = Atomic<UInt64>(0)
  let timedOut = Atomic<UInt64>(0)
  let drained = Atomic<UInt64>(0)
  let cut = Atomic<UInt64>(0)
}

extension Atomic<UInt64> {
  /// Adds for the only writer there is: a plain load and store, no locked instruction.
  @inline(__always)
  func bump(_ amount: UInt64 = 1) {
    store(load(ordering: .relaxed) &+ amount, ordering: .relaxed)
  }

  @inline(__always)
  func drop() { store(load(ordering: .relaxed) &- 1, ordering: .relaxed) }

  var now: UInt64 { load(ordering: .relaxed) }
}

/// What one worker tells the world: counters, and when its loop last turned.
final class Ledger: @unchecked Sendable {  // fixed pointers to atomics
  let services: UnsafeMutablePointer<ServiceCounters>
  /// All services' backends, one after the other.
  let backends: UnsafeMutablePointer<BackendCounters>
  /// Where each service's backends begin.
  let firstBackend: [Int]
  /// CLOCK_BOOTTIME in nanoseconds; 0 before the first turn.
  let lastTurn = Atomic<Int64>(0)

  private let serviceCount: Int
  private let backendCount: Int

  init(services descriptions: [ProxyService]) {
    serviceCount = descriptions.count
    var starts: [Int] = []
    var total = 0
    for service in descriptions {
      starts.append(total)
      total += service.backends.count
    }
    firstBackend = starts
    backendCount = total
    services = .allocate(capacity: max(serviceCount, 1))
    backends = .allocate(capacity: max(total, 1))
    for index in 0..<serviceCount { (services + index).initialize(to: ServiceCounters()) }
    for index in 0..<total { (backends + index).initialize(to: BackendCounters()) }
  }

  deinit {
    services.deinitialize(count: serviceCount)
    services.deallocate()
    backends.deinitialize(count: backendCount)
    backends.deallocate()
  }

  /// Adds this worker's numbers of service `index` to `sum`.
  func add(service index: Int, to sum: inout ServiceSnapshot) {
    let mine = services + index
    sum.connections += mine.pointee.connections.now
    sum.accepted += mine.pointee.accepted.now
    sum.refusedAtLimit += mine.pointee.refusedAtLimit.now
    sum.noBackend += mine.pointee.noBackend.now
    sum.unreachable += mine.pointee.unreachable.now
    sum.clientResets += mine.pointee.clientResets.now
    sum.timedOut += mine.pointee.timedOut.now
    sum.drained += mine.pointee.drained.now
    sum.cut += mine.pointee.cut.now
    for backend in sum.backends.indices {
      let its = backends + firstBackend[index] + backend
      sum.backends[backend].connections += its.pointee.connections.now
      sum.backends[backend].total += its.pointee.total.now
      sum.backends[backend].failedConnects += its.pointee.failedConnects.now
      sum.backends[backend].retries += its.pointee.retries.now
      sum.backends[backend].resets += its.pointee.resets.now
      sum.backends[backend].bytesToBackend += its.pointee.bytesToBackend.now
      sum.backends[backend].bytesToClient += its.pointee.bytesToClient.now
    }
  }
}

/// How many connections are open over all workers: the bounds hold for the engine, not for each of its threads.
final class Occupancy: @unchecked Sendable {  // a fixed pointer to atomics
  /// One for each service, and the sum behind them.
  private let counts: UnsafeMutablePointer<Atomic<Int>>
  private let bounds: [Int]

  init(services: [ProxyService], total: Int) {
    bounds = services.map(\.maximumConnections) + [total]
    counts = .allocate(capacity: bounds.count)
    for index in bounds.indices { (counts + index).initialize(to: Atomic(0)) }
  }

  deinit {
    counts.deinitialize(count: bounds.count)
    counts.deallocate()
  }

  /// Takes a place for a connection of `service`; false where its bound or the common one is reached.
  func enter(_ service: Int) -> Bool {
    let all = bounds.count - 1
    guard counts[service].add(1, ordering: .relaxed).newValue <= bounds[service] else {
      counts[service].subtract(1, ordering: .relaxed)
      return false
    }
    guard counts[all].add(1, ordering: .relaxed).newValue <= bounds[all] else {
      counts[all].subtract(1, ordering: .relaxed)
      counts[service].subtract(1, ordering: .relaxed)
      return false
    }
    return true
  }

  func leave(_ service: Int) {
    counts[service].subtract(1, ordering: .relaxed)
    counts[bounds.count - 1].subtract(1, ordering: .relaxed)
  }

  func connections(of service: Int) -> Int { counts[service].load(ordering: .relaxed) }
}
