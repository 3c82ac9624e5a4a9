import Basis

/// Whether something was received on interfaces since their carrier rose.
///
/// The kernel tells of a carrier, but not of packets: so their number is asked for, and only as long as it has not grown.
struct ReceptionWatch {
  private struct Entry {
    var isUp: Bool
    /// Packets received when the carrier rose.
    var before: UInt64
    var hasReceived: Bool
    var asked: Instant
    var since: Instant
  }

  /// By the interface's index.
  private var entries: [Int32: Entry] = [:]

  /// How often is asked; and once a link was silent for so long, how often then.
  static let interval = Duration.milliseconds(50)
  static let patience = Duration.seconds(60)
  static let longInterval = Duration.seconds(1)

  /// What was told, or answered, of a link.
  mutating func note(_ link: LinkRecord, at now: Instant) {
    let isUp = link.isAdministrativelyUp && link.isRunning
    guard var entry = entries[link.index], entry.isUp == isUp else {
      // Of a link that was up before it was watched, the past says nothing: the port may have come up a moment ago.
      entries[link.index] = Entry(
        isUp: isUp, before: link.received ?? 0, hasReceived: false, asked: now, since: now)
      return
    }
    entry.asked = now
    if isUp, let received = link.received {
      if received > entry.before { entry.hasReceived = true }
      // A driver may begin to count anew.
      if received < entry.before { entry.before = received }
    }
    entries[link.index] = entry
  }

  mutating func forget(_ index: Int32) { entries[index] = nil }

  func hasReceived(_ index: Int32) -> Bool { entries[index]?.hasReceived ?? false }

  /// When the link has to be asked for again; nil where it needs not.
  func nextQuestion(about index: Int32) -> Instant? {
    guard let entry = entries[index], entry.isUp, !entry.hasReceived else { return nil }
    return entry.asked + (entry.asked - entry.since < Self.patience ? Self.interval : Self.longInterval)
  }
}
