import Synchronization

/// A service as it is between two changes of the configuration.
///
/// Connections name their backend by an index, so a changed service is a new edition, in a slot of its own: the listening sockets go over
/// to it, and connections stay with the edition that they began with until they end. Nothing is dropped, whatever was changed.
final class Edition: Sendable {
  let service: ProxyService
  /// For each worker.
  let counters: [EditionCounters]
  /// Connections over all workers.
  let open = Atomic(0)
  /// Workers that take no more connections for it.
  private let left = Atomic(0)

  init(_ service: ProxyService, workers: Int) {
    self.service = service
    counters = (0..<workers).map { _ in EditionCounters(backends: service.backends.count) }
  }

  /// A worker has given up its listening sockets.
  func leave() { left.add(1, ordering: .releasing) }

  /// No worker takes connections for it, and none is left: its slot may be used again.
  var isOver: Bool { left.load(ordering: .acquiring) == counters.count && open.load(ordering: .acquiring) == 0 }

  func add(to sum: inout ServiceSnapshot) {
    let names = service.backends.map(\.name)
    for worker in counters { worker.add(to: &sum, naming: names) }
  }
}
