import Basis
import Health
import Linux

/// Performs checks, on a thread of its own.
///
/// What a result says (`CheckResult.Verdict`):
/// - **failed**: the network or the backend said no, or nothing came in time, or the answer was not the one that is wanted;
/// - **unknown**: the probe failed before a packet left this host (no descriptor, no free port, no route from here, an interface
///   that is down, a local firewall), or this thread itself was held up for longer than the check may take. That says nothing
///   of the backend.
///
/// Connections end by RST (SO_LINGER 0), so that checks leave no TIME_WAIT behind, here or there. Messages are one line without control
/// characters, whatever the backend sends.
public final class Prober: Sendable {
  /// The index of the target, the number of the probe, and how it ended. Called on the prober's thread: it must not wait.
  public typealias Report = @Sendable (Int, UInt64, CheckResult) -> Void

  private let mailbox: Mailbox<ProbeLoop.Message>
  private let thread: Thread

  public init(_ targets: [CheckTarget], report: @escaping Report) throws(SystemError) {
    mailbox = try Mailbox()
    let start = Handover(loop: try ProbeLoop(targets, mailbox, report))
    thread = try Thread.start(named: "roost-prober", stackSize: 512 * 1024) { start.loop.run() }
  }

  /// Starts a probe of the target with that index; from any thread. Exactly one report follows, unless another probe of the same target is
  /// asked for meanwhile: that ends this one, unreported.
  public func probe(_ index: Int, number: UInt64) { mailbox.send(.probe(index, number: number)) }

  /// From here on, indices are those of other targets.
  /// - Parameter origins: for each of them, the index that it had until now. Where it is the same target, its probe in flight goes on and is
  ///   reported under the new index; all others end unreported.
  public func replace(_ targets: [CheckTarget], origins: [Int?] = []) {
    mailbox.send(.targets(targets, origins: origins))
  }

  /// Ends all probes, unreported, and waits for the thread. A second call does nothing.
  public func stop() {
    mailbox.send(.stop)
    thread.join()
  }

  deinit { mailbox.send(.stop) }

  /// Carries the loop to its thread. The thread that made it does not touch it again.
  private struct Handover: @unchecked Sendable {
    let loop: ProbeLoop
  }
}
