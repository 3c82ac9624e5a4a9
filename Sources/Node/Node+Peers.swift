import Basis
import Peering

/// What looks beyond one VIP: trackers, groups, peers, hand-over, standby.
public struct Coordination: Sendable {
  /// Something changed that the end of the event has to look at: `Node.settle`. Set wherever a VIP's state, what is held of it, its
  /// obstacles or a backend change.
  var isDirty = true

  init(_ settings: NodeSettings, seed: UInt64) {}
}

extension Node {
  /// `Event.peer`.
  mutating func heard(_ report: PeerReport, from peer: Int, at now: Instant, _ emit: (Effect) -> Void) {}

  /// The end of every event: what follows from what has changed, for groups, trackers, peers and hand-overs.
  mutating func settle(at now: Instant, _ emit: (Effect) -> Void) {}

  mutating func coordinationTimer(at now: Instant, _ emit: (Effect) -> Void) { deadlines.set(coordinationPart, to: nil) }
}
