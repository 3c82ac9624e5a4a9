import Basis
import Health

extension Configuration {
  /// An active probe of each backend of a service.
  public struct Check: Sendable, Hashable {
    public var probe: Probe
    /// From the start of one check to the start of the next.
    public var every: Duration
    /// A check that has not ended by then has failed; at most `every`. The file's default is 1 s, or `every` if that is less.
    public var timeout: Duration
    /// Successes in a row that bring a backend up.
    public var rise: Int
    /// Failures in a row that take it down.
    public var fall: Int
    /// Nil: the backend's own port (for a range of ports, the first).
    public var port: UInt16?

    public init(
      probe: Probe, every: Duration = .seconds(1), timeout: Duration = .seconds(1), rise: Int = 2, fall: Int = 3,
      port: UInt16? = nil
    ) {
      self.probe = probe
      self.every = every
      self.timeout = timeout
      self.rise = rise
      self.fall = fall
      self.port = port
    }

    /// How results become a state.
    public var settings: Health.Settings {
      Health.Settings(
        interval: every, timeout: timeout, rise: rise, fall: fall, recheck: min(every, .milliseconds(100)))
    }
  }

  public enum Probe: Sendable, Hashable {
    /// The backend accepts a connection.
    case tcp
    /// The backend answers a request as expected.
    case http(HTTPProbe)
  }

  public struct HTTPProbe: Sendable, Hashable {
    /// Begins with `/`; visible ASCII.
    public var path: String
    /// The Host header; nil: the backend's address and port.
    public var host: String?
    /// Status codes that pass.
    public var status: [ClosedRange<Int>]
    /// Text that the body has to contain.
    public var contains: String?

    public init(path: String, host: String? = nil, status: [ClosedRange<Int>] = [200...399], contains: String? = nil) {
      self.path = path
      self.host = host
      self.status = status
      self.contains = contains
    }
  }
}
