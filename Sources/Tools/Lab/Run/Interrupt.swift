import Basis
import CLinux
import Glibc
import Linux

/// Waiting that a person can end: while one of these lives, SIGINT, SIGTERM and SIGHUP end it instead of the process, so that what was
/// built is removed.
final class Interrupt {
  private let ends: (reading: Int32, writing: Int32)

  init() throws(LabError) {
    ends = try Command.pipe()
    let caught = clinux_lab_catch_signals(ends.writing)
    guard caught == 0 else { throw .system("catching signals", caught) }
  }

  deinit {
    clinux_lab_release_signals()
    close(ends.reading)
    close(ends.writing)
  }

  /// Throws as soon as somebody asks to end.
  func wait(until time: Instant) throws(LabError) {
    while true {
      let remaining = (time - Clock.now()).nanoseconds
      if clinux_lab_wait_readable(ends.reading, max(0, remaining)) > 0 {
        throw LabError(.interrupted, "interrupted: the lab is removed")
      }
      if remaining <= 0 { return }
    }
  }

  func wait(_ duration: Duration) throws(LabError) { try wait(until: Clock.now() + duration) }
}
