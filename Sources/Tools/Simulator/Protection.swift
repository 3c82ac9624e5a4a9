/// What keeps the promises. A run in which one of them is switched off must break one: else the checkers prove nothing.
public enum Protection: String, Sendable, Hashable, CaseIterable {
  case lease, guardian, fence, sweep, isolation, authentication, skew
  case reannouncement = "re-announcement"
  case putBack = "put-back"

  /// What it means to do without, for people.
  public var without: String {
    switch self {
    case .lease: "the kernel keeps addresses for ever"
    case .guardian: "nobody acts for a daemon that is dead or stalled"
    case .fence:
      "the address thread does what it was told without reading the record, and the guardian doesn't look again"
    case .sweep: "a daemon that starts leaves what its earlier life left"
    case .isolation: "a node that hears nothing claims without asking a witness"
    case .authentication: "adverts are neither signed nor checked"
    case .skew: "every node has the same priority, so that all take over at the same time"
    case .reannouncement: "an owner announces itself when it takes over, and never again"
    case .putBack: "an address that another program removed stays away"
    }
  }
}
