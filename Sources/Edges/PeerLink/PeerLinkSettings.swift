import Basis
import Crypto
import Peering
import Wire

/// What the link of one node to the others needs to know.
public struct PeerLinkSettings: Sendable {
  /// This node's name.
  public var node: String
  /// This node's own addresses. It listens on the first.
  public var addresses: [IPAddress]
  public var port: UInt16
  /// The other nodes, by the indices of `NodeSettings.peers`. An empty place has an empty name.
  public var peers: [Peer]
  /// The cluster's secrets, newest first. Not empty.
  public var secrets: [SecretBytes]
  /// The version of this software.
  public var software: String
  /// `Configuration.hash`.
  public var configuration: String
  /// The numbers of the keys with which this node verifies adverts.
  public var advertKeys: [UInt8] = []
  /// A peer whose clock differs from this node's by more is told of (`PeerLinkReport.clock`); nil: nothing here depends on clocks.
  public var clockLimit: Duration?
  public var limits = PeerLinkLimits()

  public struct Peer: Sendable, Hashable {
    public var name: String
    /// It is called at the first, and may come from any.
    public var addresses: [IPAddress]

    public init(name: String, addresses: [IPAddress]) {
      self.name = name
      self.addresses = addresses
    }
  }

  public static let standardPort: UInt16 = 7112

  public init(
    node: String, addresses: [IPAddress], port: UInt16 = standardPort, peers: [Peer], secrets: [SecretBytes],
    software: String, configuration: String
  ) {
    self.node = node
    self.addresses = addresses
    self.port = port
    self.peers = peers
    self.secrets = secrets
    self.software = software
    self.configuration = configuration
  }
}

/// Times and bounds. The defaults are for use; tests have others.
public struct PeerLinkLimits: Sendable, Hashable {
  /// How often each side lets itself be heard.
  public var heartbeat = Duration.seconds(1)
  /// A peer that was not heard for so long is gone.
  public var silence = Duration.seconds(3)
  /// From the connection to the peer's hello.
  public var handshake = Duration.seconds(5)
  /// Before the first repeated call; doubles up to `longestPause`, with up to half of it at random.
  public var pause = Duration.milliseconds(250)
  public var longestPause = Duration.seconds(10)
  /// Connections that have not proved who they are; further ones wait in the kernel's queue.
  public var unauthenticated = 16
  /// Messages that wait for a peer that reads slowly; the oldest is dropped.
  public var queue = 256
  /// Bytes behind the TLS layer that wait for the kernel; while there are more, messages wait in the queue.
  public var outgoing = 128 * 1024
  /// What is read of one peer in a second, and at once.
  public var bytesPerSecond = 1024 * 1024
  public var burst = 4 * 1024 * 1024
  /// Messages of one peer in a second, and at once: each is work for the loop.
  public var messagesPerSecond = 500
  public var messageBurst = 4000
  /// Handshakes that callers may begin in a second, and at once: each takes some milliseconds of a processor.
  public var handshakesPerSecond = 50
  public var handshakeBurst = 500

  public init() {}
}

/// News of the link. `peer` is an index into `PeerLinkSettings.peers`.
public enum PeerLinkReport: Sendable, Hashable {
  /// The peer has proved who it is, and said what it runs.
  case up(peer: Int, Hello)
  /// It runs with another configuration now, or verifies adverts with other keys.
  case changed(peer: Int, Hello)
  case down(peer: Int, reason: String)
  case said(peer: Int, PeerMessage)
  /// Its clock differs by more than `clockLimit`; or no longer does. Told once until that changes.
  case clock(peer: Int, ClockSkew.Estimate, isTooFar: Bool)
  /// Something that a person should know: told once until it changes.
  case trouble(String)
}

/// One peer as the link sees it now.
public struct PeerLinkStatus: Sendable, Hashable {
  public enum State: String, Sendable, Hashable { case down, connecting, up }

  public var name: String
  public var state = State.down
  /// Why it is down, in words; empty while it is up.
  public var reason = ""
  /// When it was heard last.
  public var lastSeen: Instant?
  /// What it said last of itself, kept while it is down.
  public var hello: Hello?
  /// From a ping to its pong.
  public var roundTrip: Duration?
  /// By how much its clock is ahead of ours; nil while the link is down, and where its version doesn't say.
  public var clock: ClockSkew.Estimate?
  /// Inside TLS, in this life.
  public var bytesIn: UInt64 = 0
  public var bytesOut: UInt64 = 0
  public var messagesIn: UInt64 = 0
  public var messagesOut: UInt64 = 0
  /// Messages that were dropped because the peer read too slowly.
  public var dropped: UInt64 = 0
  /// Messages of kinds that this software doesn't know.
  public var skipped: UInt64 = 0
  /// How often the link to it came up.
  public var connections: UInt64 = 0

  public init(name: String) { self.name = name }
}
