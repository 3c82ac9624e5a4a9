import Basis
import Glibc

/// One thread waits until another has said that something is done; with a limit.
public final class Semaphore: Sendable {
  private let mailbox: Mailbox<Void>

  public init() throws(SystemError) { mailbox = try Mailbox() }

  public func signal() { mailbox.send(()) }

  /// False where nobody has signalled in that time.
  public func wait(for limit: Duration) -> Bool {
    let end = Clock.now() + limit
    while true {
      var ready = pollfd(fd: mailbox.waker.descriptor, events: Int16(POLLIN), revents: 0)
      let left = Int32(clamping: max(0, (end - Clock.now()).nanoseconds / 1_000_000))
      if poll(&ready, 1, left) == 1 { return true }
      if left == 0 { return false }
    }
  }
}
