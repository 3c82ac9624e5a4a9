extension Occurrence {
  /// What something that happened is called in events and in the filters of notifications. These words stay as they are.
  public enum Kind: String, Sendable, Hashable, CaseIterable {
    // A VIP on this node.
    case active, backup, fault
    case initialize
    /// Something about others' adverts that a person should mend.
    case notice
    case addressPutBack = "address-put-back"
    case addressRefused = "address-refused"
    case addressLost = "address-lost"
    /// Somebody else claims the address.
    case addressConflict = "address-conflict"
    /// The guardian gave the VIP up for a daemon that did not turn.
    case revoked
    /// `before-announcing` failed, or took too long.
    case hookFailed = "hook-failed"
    /// A hand-over began, ended, or failed.
    case move
    /// More than one node owns the VIP; and no longer.
    case splitBrain = "split-brain"
    case splitBrainOver = "split-brain-over"
    // Backends and services.
    case backendUp = "backend-up"
    case backendDown = "backend-down"
    case backendChanged = "backend-changed"
    case serviceUp = "service-up"
    case serviceDown = "service-down"
    // Trackers, peers.
    case trackerGood = "tracker-good"
    case trackerBad = "tracker-bad"
    case peerUp = "peer-up"
    case peerDown = "peer-down"
    // The node itself.
    case started, stopping
    case standby, resumed
    /// The configuration changed, was refused, or was undone because nobody confirmed it.
    case reloaded
    case reloadRefused = "reload-refused"
    case undone
    /// What the daemon says of itself and its host: a guardian started again, a loop that was late, a full queue.
    case system
  }
}
