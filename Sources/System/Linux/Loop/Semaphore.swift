import Glibc
import Synchronization

/// One thread waits until another has said that something is done; with a limit.
public final class Semaphore: @unchecked Sendable {  // the kernel's own, at a fixed place
  private let place: UnsafeMutablePointer<sem_t>

  public init() {
    place = .allocate(capacity: 1)
    sem_init(place, 0, 0)
  }

  deinit {
    sem_destroy(place)
    place.deallocate()
  }

  public func signal() { sem_post(place) }

  /// False where nobody has signalled in that time.
  public func wait(for limit: Duration) -> Bool {
    var until = timespec()
    clock_gettime(CLOCK_MONOTONIC, &until)
    let nanoseconds = Int64(until.tv_nsec) + limit.components.attoseconds / 1_000_000_000
    until.tv_sec += Int(limit.components.seconds + nanoseconds / 1_000_000_000)
    until.tv_nsec = Int(nanoseconds % 1_000_000_000)
    while sem_clockwait(place, CLOCK_MONOTONIC, &until) != 0 {
      guard errno == EINTR else { return false }
    }
    return true
  }
}
