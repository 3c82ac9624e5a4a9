import Basis
import Linux
import Node

/// Looks at what trackers watch, on a thread of its own, in the network namespace of the thread that made it.
///
/// Each look ends with one report. **unknown** says that the look itself failed here (no descriptor, a program that can't be started, a
/// file that may not be read): nothing follows from that. One look of a tracker is under way at most.
public final class TrackerRunner: Sendable {
  /// The tracker's index, and what it is like. Called on the runner's thread: it must not wait.
  public typealias Report = @Sendable (Int, TrackReport) -> Void

  private let mailbox: Mailbox<TrackerLoop.Message>
  private let thread: Thread

  public init(_ trackers: [TrackerTarget], report: @escaping Report) throws(SystemError) {
    mailbox = try Mailbox()
    let start = Handover(loop: try TrackerLoop(trackers, mailbox, report))
    thread = try Thread.start(named: "roost-trackers", stackSize: 512 * 1024) { start.loop.run() }
  }

  /// Other targets, by index. What did not change goes on undisturbed; the looks of what did end unreported.
  public func replace(_ trackers: [TrackerTarget]) { mailbox.send(.targets(trackers)) }

  /// Ends everything that was started, and waits for the thread. A second call does nothing.
  public func stop() {
    mailbox.send(.stop)
    thread.join()
  }

  deinit { mailbox.send(.stop) }

  /// Carries the loop to its thread. The thread that made it does not touch it again.
  private struct Handover: @unchecked Sendable {
    let loop: TrackerLoop
  }
}
