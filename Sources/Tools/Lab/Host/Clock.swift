import Basis
import Glibc

/// CLOCK_MONOTONIC. It is the same clock in every namespace of the lab, so stamps of different processes compare.
enum Clock {
  static var now: Instant {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Instant(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
  }
}
