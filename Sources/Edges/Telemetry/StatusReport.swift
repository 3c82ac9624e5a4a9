#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// `roost status --json`: what one node knows now. Durations are milliseconds, times RFC 3339; absent is absent.
public struct StatusReport: Codable, Sendable {
  /// The version of this shape; it grows only when something that was there changes.
  public var api = 1
  public var node: String
  public var version: String
  public var uptime_ms: Double
  public var config_hash: String
  /// How long there is to confirm the configuration, if it has to be.
  public var unconfirmed_ms: Double?
  /// Why what nobody confirmed in time is not taken back yet; absent where it is, or there is time left.
  public var unconfirmed_trouble: String?
  /// VIPs that more than one node owns; absent where there is none.
  public var split_brains: [SplitBrain]?
  /// By how much the nodes' clocks may differ before signed adverts are refused; absent where none are judged by the time.
  public var clock_window_ms: Double?
  public var loop: Loop
  /// The second process, which gives up what a dead or stalled daemon owns; absent where an earlier version answers.
  public var guardian: Guardian?
  /// Why the journal is not written, so that what a crash leaves behind may stay; absent while it is.
  public var journal_trouble: String?
  public var vips: [VIP]
  public var services: [Service]
  public var peers: [Peer]

  public init(
    node: String, version: String, uptime_ms: Double, config_hash: String, loop: Loop, vips: [VIP], services: [Service],
    peers: [Peer]
  ) {
    self.node = node
    self.version = version
    self.uptime_ms = uptime_ms
    self.config_hash = config_hash
    self.loop = loop
    self.vips = vips
    self.services = services
    self.peers = peers
  }

  public struct Guardian: Codable, Sendable {
    /// `watching`, `starting`, `hung` (it does not turn, and is replaced) or `none`.
    public var state: String
    /// While it watches.
    public var pid: Int32?
    /// When another one is started, while there is none.
    public var again_ms: Double?

    public init(state: String, pid: Int32? = nil, again_ms: Double? = nil) {
      self.state = state
      self.pid = pid
      self.again_ms = again_ms
    }
  }

  /// The thread that decides: how late it acted on its deadlines.
  public struct Loop: Codable, Sendable {
    public var turns: UInt64
    public var late_max_ms: Double
    /// Half of the deadlines, and 99 of 100, were acted on no later than this, to a power of two.
    public var late_p50_ms: Double
    public var late_p99_ms: Double
    /// The nth counts deadlines that were acted on less than 2ⁿ µs late, and not less than half that; the last, all later ones.
    public var late_buckets: [UInt64]
    /// The guardian's process; absent while none watches.
    public var guardian_pid: Int32?

    public init(
      turns: UInt64, late_max_ms: Double, late_p50_ms: Double = 0, late_p99_ms: Double = 0, late_buckets: [UInt64] = [],
      guardian_pid: Int32? = nil
    ) {
      self.turns = turns
      self.late_max_ms = late_max_ms
      self.late_p50_ms = late_p50_ms
      self.late_p99_ms = late_p99_ms
      self.late_buckets = late_buckets
      self.guardian_pid = guardian_pid
    }
  }

  /// A VIP that more than one node owns, as far as this node knows.
  public struct SplitBrain: Codable, Sendable {
    public var vip: String
    /// Nodes; or the address that adverts come from, where no node says that it is the one.
    public var owners: [String]
    public var since: String
    /// Where another owner's adverts come from, if this node is one of the owners and hears them.
    public var heard_from: String?
    /// What to look at.
    public var advice: String

    public init(vip: String, owners: [String], since: String, heard_from: String?) {
      self.vip = vip
      self.owners = owners
      self.since = since
      self.heard_from = heard_from
      advice = splitBrainAdvice(isHeard: heard_from != nil)
    }
  }

  public struct VIP: Codable, Sendable {
    public var name: String
    public var addresses: [String]
    public var interface: String
    /// `initialize`, `backup`, `active` or `fault`.
    public var state: String
    /// The node that owns the VIP as far as this one knows, or the address it advertises from.
    public var owner: String?
    /// Where the owner's adverts come from, if that is none of its configured addresses.
    public var owner_address: String?
    /// What of it a person should see to; absent where there is nothing.
    public var warnings: [Warning]?
    public var priority: Int?
    public var since: String?
    public var reason: String
    public var announcements: UInt64
    public var interval_ms: Double?
    /// VRRP messages by what became of them: `sent`, `accepted`, and each reason for a discard that occurred.
    public var adverts: [String: UInt64]

    public init(
      name: String, addresses: [String], interface: String, state: String, owner: String?, priority: Int?,
      since: String?,
      reason: String, announcements: UInt64, interval_ms: Double?, adverts: [String: UInt64]
    ) {
      self.name = name
      self.addresses = addresses
      self.interface = interface
      self.state = state
      self.owner = owner
      self.priority = priority
      self.since = since
      self.reason = reason
      self.announcements = announcements
      self.interval_ms = interval_ms
      self.adverts = adverts
    }
  }

  public struct Warning: Codable, Sendable, Hashable {
    public var text: String
    /// What to do about it.
    public var advice: String

    public init(text: String, advice: String) {
      self.text = text
      self.advice = advice
    }
  }

  public struct Service: Codable, Sendable {
    public var name: String
    public var vip: String
    public var listen: String
    public var mode: String
    public var balance: String
    /// `up`, or `down` where no backend takes traffic.
    public var state: String
    /// Connections refused because `maximum-connections` was reached, and because no backend took traffic.
    public var refused_at_limit: UInt64
    public var refused_no_backend: UInt64
    public var backends: [Backend]

    public init(
      name: String, vip: String, listen: String, mode: String, balance: String, state: String, refused_at_limit: UInt64,
      refused_no_backend: UInt64, backends: [Backend]
    ) {
      self.name = name
      self.vip = vip
      self.listen = listen
      self.mode = mode
      self.balance = balance
      self.state = state
      self.refused_at_limit = refused_at_limit
      self.refused_no_backend = refused_no_backend
      self.backends = backends
    }
  }

  public struct Backend: Codable, Sendable {
    public var name: String
    public var address: String
    /// `up`, `down`, `draining`, `disabled` or `unknown`.
    public var state: String
    public var weight: Int
    public var connections: Int
    public var connections_total: UInt64
    public var connect_failures: UInt64
    public var bytes_in: UInt64
    public var bytes_out: UInt64
    public var check: Check?

    public init(
      name: String, address: String, state: String, weight: Int, connections: Int, connections_total: UInt64,
      connect_failures: UInt64, bytes_in: UInt64, bytes_out: UInt64, check: Check?
    ) {
      self.name = name
      self.address = address
      self.state = state
      self.weight = weight
      self.connections = connections
      self.connections_total = connections_total
      self.connect_failures = connect_failures
      self.bytes_in = bytes_in
      self.bytes_out = bytes_out
      self.check = check
    }
  }

  public struct Check: Codable, Sendable {
    public var last_ms: Double?
    public var since: String?
    public var message: String?

    public init(last_ms: Double?, since: String?, message: String?) {
      self.last_ms = last_ms
      self.since = since
      self.message = message
    }
  }

  public struct Peer: Codable, Sendable {
    public var name: String
    public var address: String
    /// `up`: the peer link to it is, or where there is none, its adverts are heard. `adverts only`: they are, but the link is not up.
    /// `down`: neither. `unknown`: there is no link, and no adverts, which is how every backup looks to VRRP.
    public var state: String
    public var last_seen_ms: Double?
    /// From here on by the peer link, what the peer said last.
    public var round_trip_ms: Double?
    /// By how much its clock is ahead of this node's; the truth is no farther from that than the error.
    public var clock_ahead_ms: Double?
    public var clock_error_ms: Double?
    public var version: String?
    public var config_hash: String?
    public var bytes_in: UInt64?
    public var bytes_out: UInt64?
    /// Messages to it that were dropped because it read too slowly.
    public var dropped: UInt64?
    /// Why it is down, or what of it a person should see to.
    public var warning: String?
    /// The state of each VIP as the peer last said, by name.
    public var vips: [String: String]?

    public init(name: String, address: String, state: String, last_seen_ms: Double?) {
      self.name = name
      self.address = address
      self.state = state
      self.last_seen_ms = last_seen_ms
    }
  }

  public func json() -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
    // Strings and numbers only, so encoding can't fail.
    guard let data = try? encoder.encode(self) else { return Array("{}".utf8) }
    return Array(data)
  }
}
