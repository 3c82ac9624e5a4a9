import Basis

extension Node {
  /// `Event.track`.
  mutating func track(_ tracker: Int, _ report: TrackReport, at now: Instant, _ emit: (Effect) -> Void) {}

  /// Why trackers, groups or standby keep this node from owning the VIP; to be asked last in `obstacle`.
  func wiserObstacle(_ vip: Int, at now: Instant) -> String? { nil }
}
