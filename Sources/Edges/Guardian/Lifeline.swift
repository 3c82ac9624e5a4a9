import CLinux
import Glibc
import Linux

/// Continues a daemon whose guardian dies while it holds it stopped.
///
/// The guardian stops the daemon for some milliseconds when it takes VIPs from it, and a stopped process can't help itself: with the
/// guardian dead it would stand still until somebody came. So the kernel does it. A pipe leads from the guardian, which alone has the end
/// that is written, to the daemon. Nothing is ever written. When the guardian dies the kernel closes that end, and tells the owner of the
/// other one, which is the daemon, by the signal that was agreed upon (F_SETOWN, F_SETSIG), SIGCONT in place of SIGIO.
///
/// It does so only while the file is set to (O_ASYNC). That is a property of the open file, which both processes have, so the guardian
/// sets it for as long as it holds the daemon: what a person, a debugger or a service manager stopped is never continued by this.
final class Lifeline: Sendable {
  private let end: Descriptor
  var descriptor: Int32 { end.rawValue }

  /// The end that is told.
  init(_ end: consuming Descriptor) { self.end = end }

  /// A line that continues that process; `far` is the end that only the guardian may keep.
  static func make(for process: Int32) throws(SystemError) -> (line: Lifeline, far: Lifeline) {
    var ends: [Int32] = [-1, -1]
    try SystemError.check("pipe2", "the guardian") { clinux_lifeline(&ends, process, SIGCONT) }
    return (Lifeline(Descriptor(owning: ends[0])), Lifeline(Descriptor(owning: ends[1])))
  }

  /// From now on the death of whoever has the far end continues the process. A kernel that can't is no reason to hold nobody.
  func tie() { _ = clinux_lifeline_tie(descriptor, 1) }
  func untie() { _ = clinux_lifeline_tie(descriptor, 0) }
}
