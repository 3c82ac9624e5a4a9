import Basis

/// What the nodes of a cluster tell each other over the peer link, beside VRRP.
///
/// VIPs and nodes go by name: during a rolling change two configurations may number them differently, or not know each
/// other's at all. Each message can be lost, come twice or come late; whoever receives one trusts it no further than that.
public enum PeerMessage: Sendable, Hashable {
  /// The state of every VIP of the sender: after each change, and when the link comes up. Replaces what was said before.
  case vips([VIPReport])
  /// From the owner: who should follow it, without skew, when it says priority 0. Nil: nobody.
  case successor(vip: String, node: String?)
  /// From the owner: get ready to take the VIP, and say so.
  case prepare(vip: String, move: UInt64)
  /// From the owner to all but that node, with `prepare`: from its priority 0 on the VIP is to be left to that node, although others may
  /// be preferred. Answered by `ready`, too: the owner lets go when all have answered, or after a short while.
  case leave(vip: String, to: String, move: UInt64)
  case ready(vip: String, move: UInt64)
  case refused(vip: String, move: UInt64, reason: String)
  /// From the owner to all, at the moment when it lets go: that node takes over at once, and the others leave it the VIP although
  /// they may be preferred.
  case moved(vip: String, to: String, move: UInt64, freshness: Freshness? = nil)
  /// From the new owner: its addresses are on the interface.
  case taken(vip: String, move: UInt64)
  /// To the owner, from a node where a person asked: move the VIP to that node, or to the best.
  case moveRequest(vip: String, to: String?, move: UInt64)
  /// The answer, an error in words or none. `vacant`: how long nobody owned it, as the owner saw it.
  case moveEnded(move: UInt64, error: String?, vacant: Duration?)

  /// How to tell whether a word comes too late, without clocks that agree.
  public struct Freshness: Sendable, Hashable {
    /// How long after `prepare` and `leave` it was said.
    public var after: Duration
    /// Where it has been on its way for longer than they were by that much, the owner has the VIP again.
    public var within: Duration

    public init(after: Duration, within: Duration) {
      self.after = after
      self.within = within
    }

    /// - Parameter elapsed: since `prepare`, or `leave`, came.
    public func isOver(_ elapsed: Duration) -> Bool {
      let (limit, overflowed) = after.nanoseconds.addingReportingOverflow(within.nanoseconds)
      return after < .zero || within < .zero || !overflowed && elapsed.nanoseconds > limit
    }
  }

  /// One VIP as one node sees it.
  public struct VIPReport: Sendable, Hashable {
    public var name: String
    public var state: State
    /// The priority that the node's adverts have, or would have.
    public var priority: UInt8
    /// Whether the node would own the VIP if nobody else did.
    public var isEligible: Bool
    /// The virtual router that elects its owner, as that node is configured: nodes hear each other's adverts only where it is the same.
    /// Nil: there is no election, or the node's software does not say.
    public var router: Router?
    /// Where its adverts come from over IPv6, a link-local address: it is in nobody's configuration, so only the node itself can say
    /// whose it is. Nil: they come from another kind of address, or the node's software does not say. Only where there is a `router`.
    public var linkLocal: UInt128?

    public struct Router: Sendable, Hashable {
      /// VRID.
      public var id: UInt8
      /// Of VRRP: 2 or 3.
      public var version: UInt8
      /// Over which its adverts go.
      public var usesIPv6: Bool
      public var isUnicast: Bool

      public init(id: UInt8, version: UInt8, usesIPv6: Bool, isUnicast: Bool) {
        self.id = id
        self.version = version
        self.usesIPv6 = usesIPv6
        self.isUnicast = isUnicast
      }
    }

    public enum State: UInt8, Sendable, Hashable { case initialize, backup, active, fault }

    public init(
      name: String, state: State, priority: UInt8, isEligible: Bool, router: Router? = nil, linkLocal: UInt128? = nil
    ) {
      self.linkLocal = linkLocal
      self.name = name
      self.state = state
      self.priority = priority
      self.isEligible = isEligible
      self.router = router
    }
  }
}
