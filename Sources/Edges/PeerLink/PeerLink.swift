import Basis
import Linux
import Peering

/// The link of one node to the others: one TCP connection a pair, mutual TLS 1.3, on a thread of its own.
///
/// The node with the smaller name calls, the other listens. VRRP is enough without it: while it is down nothing is worse than plain VRRP.
/// Whatever a peer, or a stranger, sends or does not read, memory and processor time are bounded (`PeerLinkLimits`).
public final class PeerLink: Sendable {
  /// - Parameter report: is called on the link's thread, so it must not wait.
  public init(
    _ settings: PeerLinkSettings, report: @escaping @Sendable (PeerLinkReport) -> Void
  ) throws(SystemError) {
    fatalError("being written")
  }

  /// Says something to a peer. Where its link is down it is lost; a newer `.vips` replaces one that waits.
  public func send(_ message: PeerMessage, to peer: Int) {}

  /// What is known of each peer now, in the order of the settings.
  public func snapshot() -> [PeerStatus] { [] }

  /// Other settings: the connections of peers that are the same stay, others end.
  public func replace(_ settings: PeerLinkSettings) {}

  /// Ends all connections and waits for the thread. A second call does nothing.
  public func stop() {}
}
