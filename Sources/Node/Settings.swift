import Basis
import Health
import VRRP
import Wire

/// All that the control plane of one node knows of the configuration. `Configuration` makes it for a node's name.
public struct NodeSettings: Sendable, Hashable {
  public var name: String
  public var vips: [VIPSettings]
  public var services: [ServiceSettings]

  public init(name: String, vips: [VIPSettings], services: [ServiceSettings]) {
    self.name = name
    self.vips = vips
    self.services = services
  }
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

  public init(name: String, vip: Int, backends: [String], check: Health.Settings?) {
    self.name = name
    self.vip = vip
    self.backends = backends
    self.check = check
  }
}
