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

  public init(cluster: Cluster, vips: [VIP], services: [Service] = []) {
    self.cluster = cluster
    self.vips = vips
    self.services = services
  }

  /// Which nodes there are, and what they share.
  public struct Cluster: Sendable, Hashable {
    /// Files that hold the cluster's secret, newest first; none where the cluster has no secret.
    public var secrets: [String]
    public var nodes: [Member]

    public init(secrets: [String] = [], nodes: [Member]) {
      self.secrets = secrets
      self.nodes = nodes
    }
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
}
