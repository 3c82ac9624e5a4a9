import Balancing
import Basis
import Wire

extension Configuration {
  /// Ports of a VIP whose connections are spread over backends.
  public struct Service: Sendable, Hashable {
    public var name: String
    /// The VIP's name.
    public var vip: String
    /// One or more; no port is in two of them.
    public var listen: [Listen]
    public var mode: Mode
    public var balance: Balance
    /// Nil: no check, backends are taken for healthy.
    public var check: Check?
    /// One or more.
    public var backends: [Backend]
    public var limits: Limits

    public init(
      name: String, vip: String, listen: [Listen], mode: Mode = .proxy, balance: Balance = .standard,
      check: Check? = nil, backends: [Backend], limits: Limits = Limits()
    ) {
      self.name = name
      self.vip = vip
      self.listen = listen
      self.mode = mode
      self.balance = balance
      self.check = check
      self.backends = backends
      self.limits = limits
    }
  }

  /// Ports as `listen` names them: one, or a range.
  public struct Listen: Sendable, Hashable, CustomStringConvertible {
    /// 1-65535.
    public var ports: ClosedRange<UInt16>
    public var transport: Transport

    public init(ports: ClosedRange<UInt16>, transport: Transport = .tcp) {
      self.ports = ports
      self.transport = transport
    }

    /// As in the file: `80/tcp`, `8000-8010/tcp`.
    public var description: String {
      let first = ports.lowerBound, last = ports.upperBound
      return first == last ? "\(first)/\(transport.rawValue)" : "\(first)-\(last)/\(transport.rawValue)"
    }
  }

  public enum Transport: String, Sendable, Hashable, CaseIterable { case tcp }

  /// How packets reach a backend.
  public enum Mode: String, Sendable, Hashable, CaseIterable { case proxy }

  /// How a backend is chosen; the file has the policies' own names.
  public typealias Balance = Balancer.Policy

  /// A real server behind a service.
  public struct Backend: Sendable, Hashable {
    public var name: String
    public var address: IPAddress
    /// Nil: the port that the client connected to.
    public var port: UInt16?
    /// 1-256; a share of the traffic relative to the service's other backends.
    public var weight: Int

    public init(name: String, address: IPAddress, port: UInt16? = nil, weight: Int = 100) {
      self.name = name
      self.address = address
      self.port = port
      self.weight = weight
    }
  }

  /// What a service may use up.
  public struct Limits: Sendable, Hashable {
    /// Connections of clients at a time; the next is refused.
    public var maximumConnections: Int
    /// How long a backend may take to accept.
    public var connectTimeout: Duration
    /// How long a connection may carry nothing in either direction.
    public var idleTimeout: Duration
    /// How many other backends are tried after one did not accept.
    public var retries: Int

    public init(
      maximumConnections: Int = 50_000, connectTimeout: Duration = .seconds(2), idleTimeout: Duration = .seconds(3600),
      retries: Int = 2
    ) {
      self.maximumConnections = maximumConnections
      self.connectTimeout = connectTimeout
      self.idleTimeout = idleTimeout
      self.retries = retries
    }
  }
}
