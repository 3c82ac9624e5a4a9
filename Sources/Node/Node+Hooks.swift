import Basis
import Peering
import Wire

// Where trackers, groups, peers and commands come in. What stands here does nothing yet; each is to be replaced by its own file.

/// What trackers, groups, peers and commands remember.
public struct Coordination: Sendable {
  /// When `coordinationTimer` is wanted.
  var deadline: Instant?

  init(_ settings: NodeSettings) {}
}

extension Node {
  /// A tracker's report. The index exists.
  mutating func tracked(_ tracker: Int, _ report: TrackReport, at now: Instant, _ emit: (Effect) -> Void) {}

  /// News of a peer. The index exists.
  mutating func peerReported(_ peer: Int, _ report: PeerReport, at now: Instant, _ emit: (Effect) -> Void) {}

  mutating func commanded(_ command: Command, ticket: UInt64, at now: Instant, _ emit: (Effect) -> Void) {
    emit(.answer(ticket: ticket, .refused("not available in this version")))
  }

  /// One more reason why this node may not own the VIP now. Whoever changes the answer calls `reconsider`.
  func furtherObstacle(_ vip: Int, at now: Instant) -> String? { nil }

  /// The VIP's state changed in this event. Called when all else of the event is done, so that other VIPs may be changed from here.
  mutating func stateChanged(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {}

  /// The state of a backend changed, in the same way.
  mutating func serviceChanged(_ service: Int, at now: Instant, _ emit: (Effect) -> Void) {}

  /// `coordination.deadline` was reached. It has to move on.
  mutating func coordinationTimer(at now: Instant, _ emit: (Effect) -> Void) {}

  /// The node runs from now on; its elections begin after this.
  mutating func coordinationStarted(at now: Instant, _ emit: (Effect) -> Void) {}

  /// `settings` are new, and nothing else was made of them yet: what is remembered is put in their order here. VIPs that have to be looked
  /// at because of it go into `changedVIPs`.
  mutating func coordinationReloaded(from old: NodeSettings, at now: Instant, _ emit: (Effect) -> Void) {}

  /// A VIP was put into that place, or goes on there with other settings: its router has its configured priority (again). Its election is
  /// looked at next.
  mutating func configured(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {}

  /// Right before this node lets go of a VIP after `letGo`: connections have ended, the priority 0 comes next.
  mutating func lettingGo(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {}
}
