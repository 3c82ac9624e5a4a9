import Basis
import Node
import VRRP
import Wire

extension Configuration {
  /// One or more addresses that move between nodes as one.
  public struct VIP: Sendable, Hashable {
    public var name: String
    /// Host addresses of either family, one or more.
    public var addresses: [IPAddress]
    public var interface: Interface
    /// Names of the nodes that may own the VIP, the most preferred first; every node of the cluster unless given.
    public var prefer: [String]
    public var election: Election
    /// How long the kernel keeps an address that nobody renews: whole seconds; nil for ever (`address-lease: off`).
    public var lease: Duration?
    /// How long proxied connections may go on before a polite stop resets them.
    public var drain: Duration
    /// How long, at most, a node that has received nothing yet only listens after its link came up; zero: not at all.
    public var warmUp: Duration
    /// How often the owner announces the VIP again when nothing happens; nil: never (`announce-every: off`).
    public var refresh: Duration?
    /// What has to end before this node announces the VIP.
    public var beforeAnnouncing: Hook?
    /// What trackers do to a node's fitness for this VIP; each tracker at most once.
    public var tracks: [Track]

    public init(
      name: String, addresses: [IPAddress], interface: Interface = .inferred, prefer: [String], election: Election,
      lease: Duration? = .seconds(2), drain: Duration = .seconds(1), warmUp: Duration = .seconds(3),
      refresh: Duration? = .seconds(60), beforeAnnouncing: Hook? = nil, tracks: [Track] = []
    ) {
      self.name = name
      self.addresses = addresses
      self.interface = interface
      self.prefer = prefer
      self.election = election
      self.lease = lease
      self.drain = drain
      self.warmUp = warmUp
      self.refresh = refresh
      self.beforeAnnouncing = beforeAnnouncing
      self.tracks = tracks
    }
  }

  /// A command that the node waits for.
  public struct Hook: Sendable, Hashable {
    /// The program's absolute path and its arguments.
    public var command: [String]
    /// Then it has failed.
    public var timeout: Duration

    public init(command: [String], timeout: Duration = .seconds(5)) {
      self.command = command
      self.timeout = timeout
    }
  }

  /// What a tracker that is bad does to a VIP.
  public struct Track: Sendable, Hashable {
    /// The tracker's name.
    public var tracker: String
    public var consequence: VIPSettings.Track.Consequence

    public init(tracker: String, consequence: VIPSettings.Track.Consequence) {
      self.tracker = tracker
      self.consequence = consequence
    }
  }

  /// On which interface a node puts a VIP.
  public enum Interface: Sendable, Hashable {
    /// The one whose subnet holds the VIP's addresses.
    case inferred
    /// The same name on every node.
    case named(String)
    /// A name for each of these nodes; inferred on the others.
    case perNode([NodeInterface])
  }

  public struct NodeInterface: Sendable, Hashable {
    public var node: String
    public var interface: String

    public init(node: String, interface: String) {
      self.node = node
      self.interface = interface
    }
  }

  /// How it is decided who owns a VIP.
  public enum Election: Sendable, Hashable {
    case vrrp(Router)
    /// The first node of `prefer` owns the VIP always, no other ever.
    case `static`
  }

  /// The `vrrp` keys of a VIP: what is the same on every node of a virtual router.
  public struct Router: Sendable, Hashable {
    /// VRID, 1-255.
    public var id: UInt8
    /// v3: 10 ms to 40.95 s in steps of 10 ms; v2: 1 to 255 s in whole seconds.
    public var interval: Duration
    public var version: VRRP.Version
    public var preempt: Bool
    public var preemptDelay: Duration
    public var peers: Peers
    /// Over which family adverts are sent: IPv4 if the VIP has an IPv4 address, unless given.
    public var family: AddressFamily
    public var accept: Bool
    public var checksum: VRRP.ChecksumCoverage
    public var authentication: Authentication
    /// The VIP is on an interface of its own, with the MAC address of RFC 9568 §7.3, so that neighbours notice nothing.
    public var virtualMAC: Bool

    public init(
      id: UInt8, interval: Duration = .seconds(1), version: VRRP.Version = .v3, preempt: Bool = true,
      preemptDelay: Duration = .zero, peers: Peers = .multicast, family: AddressFamily, accept: Bool = true,
      checksum: VRRP.ChecksumCoverage = .pseudoHeader, authentication: Authentication = .off, virtualMAC: Bool = false
    ) {
      self.id = id
      self.interval = interval
      self.version = version
      self.preempt = preempt
      self.preemptDelay = preemptDelay
      self.peers = peers
      self.family = family
      self.accept = accept
      self.checksum = checksum
      self.authentication = authentication
      self.virtualMAC = virtualMAC
    }
  }

  /// How a virtual router's adverts are signed and judged (draft-cassen-vrrp-auth-hmac-00).
  public struct Authentication: Sendable, Hashable {
    public var mode: Mode
    /// As the file has them; none: one that is derived from each of the cluster's secrets.
    public var keys: [Key]

    public static let off = Authentication(mode: .off)

    public init(mode: Mode, keys: [Key] = []) {
      self.mode = mode
      self.keys = keys
    }

    public enum Mode: String, Sendable, Hashable, CaseIterable {
      /// Nothing is signed, and nothing is asked for.
      case off
      /// Signatures that come are judged; none is sent.
      case receive
      /// Adverts are signed; those without a signature are taken as well.
      case permissive
      /// Adverts are signed, and only those with a good signature reach the election.
      case enforce
    }

    public struct Key: Sendable, Hashable {
      /// 1-255, the same on each node.
      public var id: UInt8
      /// 32 to 64 bytes.
      public var file: String

      public init(id: UInt8, file: String) {
        self.id = id
        self.file = file
      }
    }
  }

  /// To whom a node's adverts go.
  public enum Peers: String, Sendable, Hashable, CaseIterable {
    case multicast
    /// The other nodes' first addresses of the election's family.
    case unicast
  }
}

extension Configuration.VIP {
  /// The VRRP priority of a node: 254 for the first of `prefer`, 253 for the next; nil for a node that may not own the VIP.
  ///
  /// High and close together, because a backup waits (256 − priority)/256 intervals after a polite stop (RFC 9568 §6.1).
  public func priority(of node: String) -> UInt8? {
    prefer.firstIndex(of: node).flatMap { UInt8(exactly: 254 - $0) }
  }

  /// The interface that the file names for a node; nil where it is inferred.
  public func namedInterface(on node: String) -> String? {
    switch interface {
    case .inferred: nil
    case .named(let name): name
    case .perNode(let choices): choices.first { $0.node == node }?.interface
    }
  }
}
