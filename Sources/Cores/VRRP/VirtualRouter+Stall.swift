import Basis

// What a router makes of its own lateness.
//
// An owner whose thread was not run for a while wakes up into a past that others have gone on from. Three cases, by how long it has been
// silent (from its last advert), and in all of them what waits in its sockets is heard before `.timer` lets it speak:
//
// 1. Silent for less than three intervals: no backup's timer can have run out (RFC 9568 §6.1: Active_Down_Interval is three intervals and a
//    skew). It is the owner still, and what it hears is answered as ever. More than an interval late it announces besides.
// 2. Longer, and it hears another owner that loses against it: that one has taken over because of the silence. To answer, as an owner answers
//    a losing advert, would depose it at once: a second move of every client within milliseconds, by a node that has just shown that it can't
//    be relied on, and with preemption off a move that nobody wanted at all. So it becomes a backup without a word (an advert
//    would depose, a priority 0 would start the timers of third nodes), and takes part again by the ordinary rules: with preemption it
//    is back after a full Active_Down_Interval at the earliest, without it when the other fails.
//    Both ways two nodes have the address until it wakes, and not a moment longer; to end it sooner is the guardian's and the kernel lease's.
// 3. Longer, and it hears nobody: nobody has taken over, for a new owner's first advert comes with its claim. Giving up now would leave the
//    VIP to nobody for three more intervals. It sends its advert and announces. If another one claims in that very millisecond, the
//    two hear each other, and the ordinary rules leave one.
//
// A better owner needs no rule: an active router always yields to it.
//
// A node that stalls again and again (a processor that is stolen, a disk that hangs under it) would take the VIP away from its
// successor after each stall. So each time within `Stalls.memory` doubles how long it leaves a lower-priority owner alone. That holds back
// preemption only: when the other falls silent, it takes over as fast as ever.

extension VirtualRouter {
  /// Why an active router must take a losing advert for its successor's: it was silent for longer than backups wait.
  func stall(at now: Instant) -> Reason? {
    // A stall shows as an advert that is overdue; the last one was an interval before that.
    let silence = now.since(adverAt.adding(-ownInterval))
    return now > adverAt && silence >= 3 * ownInterval ? .overslept(.nanoseconds(silence)) : nil
  }

  /// Backup without a word. What is said of the VIP now is another router's to say.
  mutating func beDeposed(_ reason: Reason, _ now: Instant, _ emit: (Output) -> Void) {
    guard state == .active else { return }
    let patience = stalls.add(at: now, wait: activeDownInterval)
    stayAway(because: reason, max(settings.preemptDelay.nanoseconds, patience), now, emit)
    wasDeposed = true
  }
}

/// How long a router that stalled leaves a lower-priority owner alone.
struct Stalls: Sendable {
  /// In nanoseconds: a stall that long ago is forgotten.
  static let memory: Int64 = 60_000_000_000
  static let longestWait: Int64 = 60_000_000_000

  private var last: Instant?
  private var count = 0

  /// - Parameter wait: Active_Down_Interval, which is held anyway.
  /// - Returns: nanoseconds from now; none the first time.
  mutating func add(at now: Instant, wait: Int64) -> Int64 {
    if let last, now.since(last) < Self.memory { count = min(count + 1, 16) } else { count = 0 }
    last = now
    return count == 0 ? 0 : min(wait << Int64(count), Self.longestWait)
  }
}
