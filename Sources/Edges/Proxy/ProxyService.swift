import Balancing
import Wire

/// One TCP service that the proxy carries: where it listens and where connections go.
public struct ProxyService: Sendable, Hashable {
  public struct Listen: Sendable, Hashable {
    /// Need not be an address of this machine yet: the socket is bound before the VIP is owned.
    public var address: IPAddress
    public var port: UInt16

    public init(_ address: IPAddress, port: UInt16) {
      self.address = address
      self.port = port
    }
  }

  public struct Backend: Sendable, Hashable {
    /// Unique in its service. `source-hash` knows the backend by it, on every node alike.
    public var name: String
    public var address: IPAddress
    public var port: UInt16
    /// Share relative to the other backends', 0 … `Balancer.heaviest`. 0 takes no new connections.
    public var weight: Int
    /// Whether it takes connections from the start, before the first check.
    public var usable: Bool

    public init(name: String, address: IPAddress, port: UInt16, weight: Int = 100, usable: Bool = true) {
      self.name = name
      self.address = address
      self.port = port
      self.weight = weight
      self.usable = usable
    }
  }

  /// How long a connection may take or rest. Rounded to milliseconds, and held within 1 ms and 12 days.
  public struct Timeouts: Sendable, Hashable {
    /// For one attempt to reach one backend.
    public var connect: Duration
    /// Without a byte in either direction. A connection at rest is closed; one with bytes that wait is reset.
    public var idle: Duration
    /// Without a byte, once one side has ended its direction (FIN) and the other has not. Then it is reset.
    public var halfClosed: Duration

    /// 2 s to connect: one lost SYN is retransmitted by then. 10 min of rest: databases and message queues pause for minutes,
    /// and nginx' stream module waits as long. 30 s half-closed: HAProxy's documentation advises the like for `client-fin`.
    public init(
      connect: Duration = .seconds(2), idle: Duration = .seconds(600), halfClosed: Duration = .seconds(30)
    ) {
      self.connect = connect
      self.idle = idle
      self.halfClosed = halfClosed
    }
  }

  public var name: String
  public var listen: [Listen]
  public var backends: [Backend]
  public var policy: Balancer.Policy
  /// Open connections of this service at which further ones are reset at once. Over all workers.
  public var maximumConnections: Int
  public var timeouts: Timeouts
  /// Further attempts after a failed one to connect, each to a backend not tried yet while there is one. 0 … 16.
  public var retries: Int
  /// The kernel's congestion control towards clients ("bbr", "cubic", "reno"); nil for the machine's own.
  public var congestionControl: String?

  public init(
    name: String, listen: [Listen], backends: [Backend], policy: Balancer.Policy = .standard,
    maximumConnections: Int = 50_000, timeouts: Timeouts = Timeouts(), retries: Int = 2,
    congestionControl: String? = nil
  ) {
    self.name = name
    self.listen = listen
    self.backends = backends
    self.policy = policy
    self.maximumConnections = maximumConnections
    self.timeouts = timeouts
    self.retries = retries
    self.congestionControl = congestionControl
  }
}

extension ProxyService {
  /// What makes the service impossible to run, or nil.
  var mistake: String? {
    if listen.isEmpty { return "it listens nowhere; give it an address and a port" }
    if listen.contains(where: { $0.port == 0 }) { return "port 0 is no port to listen on; give 1 to 65535" }
    if backends.count > Balancer.mostBackends {
      return "\(backends.count) backends are more than \(Balancer.mostBackends)"
    }
    if let zero = backends.first(where: { $0.port == 0 }) { return "backend \(zero.name) has port 0; give 1 to 65535" }
    if Set(backends.map(\.name)).count != backends.count { return "two of its backends have the same name" }
    if maximumConnections < 1 { return "maximumConnections is \(maximumConnections); give at least 1" }
    if !(0...16).contains(retries) { return "retries is \(retries); give 0 to 16" }
    return nil
  }
}

/// What all services of one engine share.
public struct ProxyOptions: Sendable, Hashable {
  /// Threads, each with its own loop, listening sockets and connections. Nil: one for each processor.
  public var workers: Int?
  /// Open connections over all services and workers; held to what the limit of open files allows (two each).
  public var maximumConnections: Int
  /// Bytes a worker may keep for receivers that are slower than their senders. Beyond it, a connection keeps 4 KiB at most
  /// in each direction, and its sender waits.
  public var bufferBytes: Int
  /// Pipes of up to 1 MiB a worker may have for bulk transfers; connections beyond them are copied instead of spliced.
  public var pipes: Int
  /// Connections that may wait to be accepted at a listening socket; the kernel holds it to `net.core.somaxconn`.
  public var backlog: Int

  public init(
    workers: Int? = nil, maximumConnections: Int = 100_000, bufferBytes: Int = 256 << 20, pipes: Int = 256,
    backlog: Int = 4096
  ) {
    self.workers = workers
    self.maximumConnections = maximumConnections
    self.bufferBytes = bufferBytes
    self.pipes = pipes
    self.backlog = backlog
  }
}
