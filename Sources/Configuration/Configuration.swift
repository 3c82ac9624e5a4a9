import Basis
import Wire

/// The whole configuration of a cluster: the same file, and so the same value, on every node.
///
/// A value that `read` returned has passed every check that needs no more than the file itself: every name is known,
/// every number within its range, nothing contradicts. What depends on a host is apart: `mistakes(on:)`.
/// All lists keep the order of the file.
public struct Configuration: Sendable, Hashable {
  public var cluster: Cluster
  public var vips: [VIP]
  public var services: [Service]
  /// What is watched, and decides who may own which VIP.
  public var trackers: [Tracker]
  /// VIPs that move together.
  public var groups: [Group]
  /// Who is told when something happens.
  public var notifications: [Notification]

  public init(
    cluster: Cluster, vips: [VIP], services: [Service] = [], trackers: [Tracker] = [], groups: [Group] = [],
    notifications: [Notification] = []
  ) {
    self.cluster = cluster
    self.vips = vips
    self.services = services
    self.trackers = trackers
    self.groups = groups
    self.notifications = notifications
  }

  /// Which nodes there are, and what they share.
  public struct Cluster: Sendable, Hashable {
    /// Files that hold the cluster's secret, newest first; none where the cluster has no secret.
    public var secrets: [String]
    /// Of the peer link, TCP. There is one where the cluster has a secret.
    public var port: UInt16
    /// Hosts on the nodes' links that are asked before a node that hears nothing claims a VIP; none: nobody is asked.
    public var witnesses: [IPAddress]
    /// The loop runs ahead of ordinary processes and keeps its memory, where the system allows it.
    public var realtime: Bool
    public var nodes: [Member]

    public static let defaultPort: UInt16 = 7112

    public init(
      secrets: [String] = [], port: UInt16 = defaultPort, witnesses: [IPAddress] = [], realtime: Bool = true,
      nodes: [Member]
    ) {
      self.secrets = secrets
      self.port = port
      self.witnesses = witnesses
      self.realtime = realtime
      self.nodes = nodes
    }

    /// Whether the nodes talk to each other beside VRRP.
    public var hasPeerLink: Bool { !secrets.isEmpty && nodes.count > 1 }
  }

  /// A machine that may own VIPs, as the others know it.
  public struct Member: Sendable, Hashable {
    public var name: String
    /// By which the other nodes reach it; one or more, of either family.
    public var addresses: [IPAddress]

    public init(name: String, addresses: [IPAddress]) {
      self.name = name
      self.addresses = addresses
    }

    /// The first address of a family.
    public func address(_ family: AddressFamily) -> IPAddress? { addresses.first { $0.family == family } }
  }
}

extension Configuration {
  /// The node of that name.
  public func member(_ name: String) -> Member? { cluster.nodes.first { $0.name == name } }

  /// Index into `vips` of the VIP of that name.
  public func vipIndex(_ name: String) -> Int? { vips.firstIndex { $0.name == name } }

  /// Index into `services` of the service of that name.
  public func serviceIndex(_ name: String) -> Int? { services.firstIndex { $0.name == name } }

  /// Index into `trackers` of the tracker of that name.
  public func trackerIndex(_ name: String) -> Int? { trackers.firstIndex { $0.name == name } }
}
