import Basis
import Health
import VRRP
import Wire

/// All that the control plane of one node knows of the configuration. `Configuration` makes it for a node's name.
///
/// VIPs, services, trackers and peers go by their index everywhere, and keep it when the configuration changes: what is removed leaves
/// an empty place (`isVacant`), which something new may fill.
public struct NodeSettings: Sendable, Hashable {
  public var name: String
  public var vips: [VIPSettings]
  public var services: [ServiceSettings]
  /// What is watched, beside the VIPs' own interfaces.
  public var trackers: [TrackerSettings] = []
  /// VIPs (indices) that move together, each in one group at most.
  public var groups: [[Int]] = []
  /// The names of the other nodes. Empty where there is no peer link.
  public var peers: [String] = []
  /// Whether there are witnesses to ask before a node that hears nothing claims a VIP.
  public var hasWitnesses = false

  public init(name: String, vips: [VIPSettings], services: [ServiceSettings]) {
    self.name = name
    self.vips = vips
    self.services = services
  }
}

/// Something whose state decides whether this node may own a VIP, or how much it is preferred.
public struct TrackerSettings: Sendable, Hashable {
  public var name: String
  public var source: Source
  /// How many good, or bad, reports in a row it takes to believe them. At least 1.
  public var rise: Int
  public var fall: Int

  public enum Source: Sendable, Hashable {
    /// Watched outside: an interface, a route, a file, a process, a command, a check. Comes as `Event.track`.
    case external
    /// Good while this node owns that VIP.
    case vip(Int)
    /// Good while that service has so many backends that take traffic.
    case service(Int, atLeast: Int)
  }

  public init(name: String, source: Source, rise: Int = 1, fall: Int = 1) {
    self.name = name
    self.source = source
    self.rise = rise
    self.fall = fall
  }

  public var isVacant: Bool { name.isEmpty }
}

public struct VIPSettings: Sendable, Hashable {
  public var name: String
  public var interface: String
  /// All addresses of the VIP, of both families; they move as one.
  public var addresses: [IPAddress]
  public var election: Election
  /// How long the kernel keeps an address that nobody renews: whole seconds; nil for ever.
  public var lease: Duration?
  /// How long proxied connections may go on before a polite stop resets them.
  public var drain: Duration
  public var tracks: [Track] = []
  /// How long, at most, a node that has received nothing yet only listens after its link came up; zero: not at all.
  public var warmUp = Duration.zero
  /// How often an owner announces again when nothing happens; nil: never.
  public var refresh: Duration?
  /// A command has to end before the VIP is announced, and has this long; nil: there is none.
  public var preparation: Duration?

  /// What a tracker that is bad does to this VIP.
  public struct Track: Sendable, Hashable {
    /// Index into `NodeSettings.trackers`.
    public var tracker: Int
    public var consequence: Consequence

    public enum Consequence: Sendable, Hashable {
      /// The node may not own the VIP.
      case forbid
      /// Its priority is that much lower, at least 1.
      case lower(UInt8)
    }

    public init(tracker: Int, consequence: Consequence) {
      self.tracker = tracker
      self.consequence = consequence
    }
  }

  /// An empty place: of a VIP that the configuration no longer has.
  public var isVacant: Bool { name.isEmpty }
  public static let vacant = VIPSettings(
    name: "", interface: "", addresses: [], election: .fixed(owner: false), lease: nil, drain: .zero)

  public enum Election: Sendable, Hashable {
    case vrrp(VRRP.Settings)
    /// No election: this node always, or never, owns the VIP.
    case fixed(owner: Bool)
  }

  public init(
    name: String, interface: String, addresses: [IPAddress], election: Election, lease: Duration?, drain: Duration
  ) {
    self.name = name
    self.interface = interface
    self.addresses = addresses
    self.election = election
    self.lease = lease
    self.drain = drain
  }
}

public struct ServiceSettings: Sendable, Hashable {
  public var name: String
  /// Index into `NodeSettings.vips`.
  public var vip: Int
  /// The backends' names, in the order of the configuration; an index into it names a backend everywhere.
  public var backends: [String]
  /// Nil: backends are taken for healthy.
  public var check: Health.Settings?

  /// An empty place: of a service that the configuration no longer has.
  public var isVacant: Bool { name.isEmpty }
  public static let vacant = ServiceSettings(name: "", vip: 0, backends: [], check: nil)

  public init(name: String, vip: Int, backends: [String], check: Health.Settings?) {
    self.name = name
    self.vip = vip
    self.backends = backends
    self.check = check
  }
}
