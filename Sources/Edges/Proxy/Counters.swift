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

/// One worker's counters of one edition of a service.
final class EditionCounters: @unchecked Sendable {  // fixed pointers to atomics
  let service: UnsafeMutablePointer<ServiceCounters>
  let backends: UnsafeMutablePointer<BackendCounters>
  private let backendCount: Int

  init(backends count: Int) {
    backendCount = count
    service = .allocate(capacity: 1)
    service.initialize(to: ServiceCounters())
    backends = .allocate(capacity: max(count, 1))
    for index in 0..<count { (backends + index).initialize(to: BackendCounters()) }
  }

  deinit {
    service.deinitialize(count: 1)
    service.deallocate()
    backends.deinitialize(count: backendCount)
    backends.deallocate()
  }

  /// Adds this worker's numbers to `sum`. Backends of an earlier edition that the sum does not name are left out.
  func add(to sum: inout ServiceSnapshot, naming names: [String]) {
    sum.connections += service.pointee.connections.now
    sum.accepted += service.pointee.accepted.now
    sum.refusedAtLimit += service.pointee.refusedAtLimit.now
    sum.noBackend += service.pointee.noBackend.now
    sum.unreachable += service.pointee.unreachable.now
    sum.clientResets += service.pointee.clientResets.now
    sum.timedOut += service.pointee.timedOut.now
    sum.drained += service.pointee.drained.now
    sum.cut += service.pointee.cut.now
    for (index, name) in names.enumerated() {
      // The same place nearly always.
      let place =
        sum.backends.indices.contains(index) && sum.backends[index].name == name
        ? index : sum.backends.firstIndex { $0.name == name }
      if let place { add(backend: index, to: &sum.backends[place]) }
    }
  }

  private func add(backend index: Int, to sum: inout ServiceSnapshot.Backend) {
    let its = backends + index
    sum.connections += its.pointee.connections.now
    sum.total += its.pointee.total.now
    sum.failedConnects += its.pointee.failedConnects.now
    sum.retries += its.pointee.retries.now
    sum.resets += its.pointee.resets.now
    sum.bytesToBackend += its.pointee.bytesToBackend.now
    sum.bytesToClient += its.pointee.bytesToClient.now
  }
}

/// What one worker tells the world of itself.
final class Pulse: Sendable {
  /// CLOCK_BOOTTIME in nanoseconds; 0 before the first turn.
  let lastTurn = Atomic<Int64>(0)
}

/// How many connections are open over all workers and services: the bound holds for the engine, not for each of its threads.
final class Occupancy: Sendable {
  private let count = Atomic(0)
  private let bound: Int

  init(bound: Int) { self.bound = bound }

  /// Takes a place for a connection of `edition`; false where its bound or the common one is reached.
  func enter(_ edition: Edition) -> Bool {
    guard edition.open.add(1, ordering: .relaxed).newValue <= edition.service.maximumConnections else {
      edition.open.subtract(1, ordering: .relaxed)
      return false
    }
    guard count.add(1, ordering: .relaxed).newValue <= bound else {
      count.subtract(1, ordering: .relaxed)
      edition.open.subtract(1, ordering: .relaxed)
      return false
    }
    return true
  }

  func leave(_ edition: Edition) {
    edition.open.subtract(1, ordering: .relaxed)
    count.subtract(1, ordering: .relaxed)
  }
}
