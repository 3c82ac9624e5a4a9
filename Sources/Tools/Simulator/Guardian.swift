/// A node's guardian: the second process, which acts when the daemon is dead or stands still.
///
/// It learns of a death within milliseconds (the daemon's loop holds a lock that the kernel gives away when it dies), and of a
/// stall by beats that stay away for longer than the threshold. Its own lateness doesn't count: a guardian that was itself not
/// run looks again before it acts. What it does then are steps, between any two of which others act.
struct Guardian {
  enum State { case absent, watching, stalled }

  /// What it does next.
  enum Step: UInt32 {
    /// Looks whether the daemon lives.
    case look
    /// SIGSTOP: from here on the daemon can't do what it has decided already, unless the kernel is at it.
    case hold
    /// Ends every ownership in the record.
    case depose
    /// Priority 0.
    case release
    /// RTM_DELADDR.
    case remove
    /// SIGCONT: the daemon wakes up, and reads the record first.
    case go
    /// An address that was deposed turned up again.
    case removeAgain
    /// The daemon has started a new one.
    case spawned
    /// Nobody continues a daemon whose guardian died while it held it: the service manager ends it.
    case abandoned
  }

  var state = State.absent
  /// Counts processes.
  var life: UInt16 = 0
  /// How many faults keep it stalled.
  var stalls = 0
  /// Watches without a break since then.
  var since: Int64 = 0
  /// It has stopped the daemon and not continued it.
  var holdsDaemon = false
  /// Steps whose time came while it was stalled.
  var held: [Entry] = []

  /// A loop that has not turned for this long stands still, nanoseconds.
  static func threshold(interval: Int64) -> Int64 { max(interval * 5 / 2, 50_000_000) }
}
