import Linux
import Synchronization

/// Something that one thread asks of the loop, and waits for; but not for ever. Whether it comes to be is decided once, by whoever is
/// first: the loop that takes it, or the waiting thread that gives up. So both always think the same of it.
final class Proposal: Sendable {
  private enum State { static let (open, taken, withdrawn): (UInt8, UInt8, UInt8) = (0, 1, 2) }

  private let state = Atomic<UInt8>(State.open)
  private let carriedOut: Semaphore

  init() throws(SystemError) { carriedOut = try Semaphore() }

  // MARK: The loop

  /// False where whoever made it has given up. True: it is to be done, and `done` called, at once.
  func take() -> Bool { decide(State.taken) }

  func done() { carriedOut.signal() }

  // MARK: Who made it

  /// Waits until it is done. False where the loop has not taken it in that time: then it never will.
  func isAccepted(within limit: Duration) -> Bool {
    if carriedOut.wait(for: limit) { return true }
    if decide(State.withdrawn) { return false }
    // Taken just now, so it is being done.
    while !carriedOut.wait(for: .seconds(60)) {}
    return true
  }

  private func decide(_ outcome: UInt8) -> Bool {
    state.compareExchange(expected: State.open, desired: outcome, ordering: .sequentiallyConsistent).exchanged
  }
}
