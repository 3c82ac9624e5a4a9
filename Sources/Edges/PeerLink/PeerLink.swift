import Basis
import Crypto
import Glibc
import Linux
import Peering

/// Why there is no peer link.
public enum PeerLinkError: Error, Sendable, Hashable, CustomStringConvertible {
  case crypto(CryptoError)
  case system(SystemError)

  public var description: String {
    switch self {
    case .crypto(let error): error.description
    case .system(let error): error.description
    }
  }
}

/// The link of one node to the others: one TCP connection a pair, mutual TLS 1.3, on a thread of its own.
///
/// The node with the smaller name calls, the other listens. VRRP is enough without it: while it is down nothing is worse than plain VRRP.
/// Whatever a peer, or a stranger, sends or does not read, memory and processor time are bounded (`PeerLinkLimits`).
public final class PeerLink: Sendable {
  private let mailbox: Mailbox<PeerLoop.Message>
  private let thread: Thread
  private let statuses = SharedStatuses()

  /// - Parameter report: is called on the link's thread, so it must not wait.
  public init(
    _ settings: PeerLinkSettings, report: @escaping @Sendable (PeerLinkReport) -> Void
  ) throws(PeerLinkError) {
    do throws(SystemError) {
      mailbox = try Mailbox<PeerLoop.Message>(capacity: 4096)
    } catch {
      throw .system(error)
    }
    let start = Handover(loop: try PeerLoop(settings, mailbox, statuses, report))
    do throws(SystemError) {
      thread = try Thread.start(named: "roost-peers", stackSize: 512 * 1024) { start.loop.run() }
    } catch {
      throw .system(error)
    }
  }

  /// Says something to a peer. Where its link is down it is lost; a newer `.vips` replaces one that waits.
  public func send(_ message: PeerMessage, to peer: Int) { mailbox.send(.send(message, peer: peer)) }

  /// What is known of each peer now, in the order of the settings.
  public func snapshot() -> [PeerLinkStatus] { statuses.current }

  /// Other settings: where nothing that concerns a peer is different, its connection stays.
  public func replace(_ settings: PeerLinkSettings) { mailbox.send(.replace(settings)) }

  /// Ends all connections and waits for the thread. A second call does nothing.
  public func stop() {
    // Full only for as long as the thread takes for its next turn.
    while !mailbox.send(.stop) { usleep(1000) }
    thread.join()
  }

  deinit { mailbox.send(.stop) }

  /// Carries the loop to its thread. The thread that made it does not touch it again.
  private struct Handover: @unchecked Sendable {
    let loop: PeerLoop
  }
}
