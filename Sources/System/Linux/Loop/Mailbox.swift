import CLinux
import Glibc
import Synchronization

/// Wakes a reactor from any thread (an eventfd).
public final class Waker: Sendable {
  private let eventDescriptor: Descriptor

  public init() throws(SystemError) {
    let flags = Int32(EFD_CLOEXEC | EFD_NONBLOCK)
    eventDescriptor = Descriptor(owning: try SystemError.check("eventfd") { eventfd(0, flags) })
  }

  /// Readable from `wake()` until `acknowledge()`.
  public var descriptor: Int32 { eventDescriptor.rawValue }

  public func wake() {
    // It can fail only with EAGAIN, when 2⁶⁴ − 2 wakes are pending: it is awake then.
    _ = eventfd_write(descriptor, 1)
  }

  public func acknowledge() {
    var count: eventfd_t = 0
    _ = eventfd_read(descriptor, &count)
  }
}

/// A queue that any thread fills and one thread empties, in order.
///
/// The receiver is woken once per burst: only the element that finds the mailbox empty writes to the eventfd.
/// The storage is reused, so in steady state neither side allocates.
public final class Mailbox<Element: Sendable>: Sendable {
  private struct State {
    var waiting: [Element] = []
    /// The buffer of the last burst, empty, kept for the next.
    var spare: [Element] = []
    var refused: UInt64 = 0
  }

  /// Nil: as many as memory holds.
  public let capacity: Int?
  public let waker: Waker
  private let state = Mutex(State())

  /// - Parameter waker: shared between mailboxes of one receiver, if given.
  public init(capacity: Int? = nil, waker: Waker? = nil) throws(SystemError) {
    self.capacity = capacity
    if let waker { self.waker = waker } else { self.waker = try Waker() }
  }

  /// False, and counted in `refused`, where the mailbox is full.
  @discardableResult
  public func send(_ element: Element) -> Bool {
    let (accepted, wasEmpty) = state.withLock { state in
      if let capacity, state.waiting.count >= capacity {
        state.refused &+= 1
        return (false, false)
      }
      state.waiting.append(element)
      return (true, state.waiting.count == 1)
    }
    if wasEmpty { waker.wake() }
    return accepted
  }

  /// How many elements found the mailbox full.
  public var refused: UInt64 { state.withLock { $0.refused } }

  /// Takes what is there now and calls `body` with each, outside the lock. One thread at a time.
  public func drain(_ body: (Element) -> Void) {
    var batch = state.withLock { state in
      var batch: [Element] = []
      swap(&batch, &state.spare)
      swap(&batch, &state.waiting)
      return batch
    }
    for element in batch { body(element) }
    batch.removeAll(keepingCapacity: true)
    state.withLock { state in
      if state.spare.capacity < batch.capacity { swap(&batch, &state.spare) }
    }
  }

  /// Has `body` called on the reactor's thread with each element.
  @discardableResult
  public func attach(to reactor: Reactor, _ body: @escaping (Element) -> Void) throws(SystemError)
    -> Reactor.Registration
  {
    try reactor.register(waker.descriptor, .readable) { [self] _ in
      // In this order: an element that comes after the acknowledgement wakes again.
      waker.acknowledge()
      drain(body)
    }
  }
}
