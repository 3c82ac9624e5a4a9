import Basis

// Changes of what is configured or tracked, while the election goes on.

extension VirtualRouter {
  /// A backup's wait has a skew that depends on its priority, so it moves by the difference.
  mutating func change(priority new: UInt8, _ now: Instant) {
    guard new != priority else { return }
    let before = skew
    priority = new
    outgoing.change(priority: new)
    if state == .backup { wait(until: max(now, downAt.adding(skew - before))) }
  }

  mutating func change(_ new: Settings, _ now: Instant) {
    var new = new
    if new.family == .ipv6 { new.version = .v3 }
    guard new.id == settings.id, new.version == settings.version, new.family == settings.family,
      new.peers.isMulticast == settings.peers.isMulticast
    else { return }
    let wait = activeDownInterval
    let interval = ownInterval
    settings = new
    ownInterval = new.version.rounded(new.interval.nanoseconds)
    // What an owner taught stays until it teaches another: it is that owner's interval, also where it is the same as ours was.
    if activeInterval == interval, state != .backup || owner == nil { activeInterval = ownInterval }
    priority = max(new.priority, 1)
    outgoing.change(to: new, priority: priority)
    switch state {
    case .initialize: break
    case .backup: self.wait(until: max(now, downAt.adding(activeDownInterval - wait)))
    case .active:
      // Backups wait for what the last advert said. A shorter interval may begin at once, a longer one with the next advert.
      adverAt = min(adverAt, max(now, now.adding(ownInterval)))
      deadline = owed == nil ? adverAt : min(adverAt, reassertFrom)
    }
  }
}

extension Peers {
  var isMulticast: Bool { self == .multicast }
}
