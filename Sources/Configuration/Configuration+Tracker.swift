import Basis
import Wire

extension Configuration {
  /// Something that is watched on each node. A VIP names the trackers that matter to it (`VIP.tracks`).
  public struct Tracker: Sendable, Hashable {
    public var name: String
    public var source: Source
    /// How often it is looked at. What the kernel tells of (interfaces, routes) is seen at once besides.
    public var every: Duration
    /// For commands and checks: by then it must have ended; at most `every`.
    public var timeout: Duration
    /// How many looks in a row must be good before it is good again, and bad before it is bad. At least 1.
    public var rise: Int
    public var fall: Int

    public init(
      name: String, source: Source, every: Duration = .seconds(1), timeout: Duration = .seconds(1), rise: Int = 1,
      fall: Int = 1
    ) {
      self.name = name
      self.source = source
      self.every = every
      self.timeout = timeout
      self.rise = rise
      self.fall = fall
    }

    public enum Source: Sendable, Hashable {
      /// Good while it is there, up, and has a carrier. Named, or named for each node.
      case interface(Interface)
      /// Good while the routing table has a route to exactly this prefix; nil: the main table.
      case route(Prefix, table: UInt32?)
      /// Good while it exists.
      case file(String)
      /// Good while a process of that name runs.
      case process(String)
      /// Good while it exits with 0. `user`: as whom it runs; nil: nobody.
      case command([String], user: String?)
      /// Good while this node owns that VIP.
      case vip(String)
      /// Good while that service has so many backends that take traffic.
      case service(String, atLeast: Int)
      /// Good while a check of that endpoint passes.
      case check(Probe, address: IPAddress, port: UInt16)
    }
  }

  /// VIPs that have one owner between them.
  public struct Group: Sendable, Hashable {
    public var name: String
    /// Names of two VIPs or more, with the same nodes in the same order; each VIP is in one group at most.
    public var vips: [String]

    public init(name: String, vips: [String]) {
      self.name = name
      self.vips = vips
    }
  }
}

extension Configuration.Tracker {
  /// Whether its rise and fall count one look unless the file says otherwise: what is certain when it is seen.
  static func isCertain(_ source: Source) -> Bool {
    switch source {
    case .interface, .route, .file, .process, .vip, .service: true
    case .command, .check: false
    }
  }

  /// The interface that an interface tracker watches on a node.
  public func interface(on node: String) -> String? {
    switch source {
    case .interface(.named(let name)): name
    case .interface(.perNode(let choices)): choices.first { $0.node == node }?.interface
    default: nil
    }
  }
}
