/// What one service has done since the start, over all workers. Counters only grow, except `connections`.
/// The numbers are read while the workers go on, so sums may differ by what happened in between.
public struct ServiceSnapshot: Sendable, Hashable {
  public struct Backend: Sendable, Hashable {
    public var name: String
    public var usable: Bool
    public var weight: Int
    /// Open now, those still connecting included.
    public var connections: UInt64 = 0
    /// Connections that reached the backend.
    public var total: UInt64 = 0
    /// Attempts to connect that were refused, timed out or failed otherwise.
    public var failedConnects: UInt64 = 0
    /// Attempts that went here because one elsewhere had failed.
    public var retries: UInt64 = 0
    /// Connections that the backend reset, after they were established.
    public var resets: UInt64 = 0
    public var bytesToBackend: UInt64 = 0
    public var bytesToClient: UInt64 = 0
  }

  public var name: String
  public var backends: [Backend]
  /// Clients' connections open now.
  public var connections: UInt64 = 0
  /// Clients' connections taken from the kernel, refused ones included.
  public var accepted: UInt64 = 0
  /// Reset at once: the service or the proxy as a whole was at its bound, or the machine out of descriptors.
  public var refusedAtLimit: UInt64 = 0
  /// Reset because no backend was usable.
  public var noBackend: UInt64 = 0
  /// Reset because every attempt to connect had failed.
  public var unreachable: UInt64 = 0
  /// Connections that the client reset.
  public var clientResets: UInt64 = 0
  /// Ended by the idle or the half-closed time-out.
  public var timedOut: UInt64 = 0
  /// Ended by `closeConnections`: by FIN between a response and the next request, …
  public var drained: UInt64 = 0
  /// … and by RST at its deadline.
  public var cut: UInt64 = 0

  public init(name: String, backends: [Backend]) {
    self.name = name
    self.backends = backends
  }
}

extension ServiceSnapshot {
  /// Adds what an earlier form of the service has counted; backends go by name.
  mutating func add(_ past: ServiceSnapshot) {
    connections += past.connections
    accepted += past.accepted
    refusedAtLimit += past.refusedAtLimit
    noBackend += past.noBackend
    unreachable += past.unreachable
    clientResets += past.clientResets
    timedOut += past.timedOut
    drained += past.drained
    cut += past.cut
    for backend in past.backends {
      guard let index = backends.firstIndex(where: { $0.name == backend.name }) else { continue }
      backends[index].connections += backend.connections
      backends[index].total += backend.total
      backends[index].failedConnects += backend.failedConnects
      backends[index].retries += backend.retries
      backends[index].resets += backend.resets
      backends[index].bytesToBackend += backend.bytesToBackend
      backends[index].bytesToClient += backend.bytesToClient
    }
  }
}
