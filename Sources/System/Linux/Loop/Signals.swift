import CLinux
import Glibc

/// Signals as something to read (signalfd), in order, on the loop's thread.
public struct SignalReader: ~Copyable {
  private let source: Descriptor

  /// Blocks these signals in the calling thread. Call it before any other thread is started, so that all inherit the mask:
  /// else one of them takes the signal's default action.
  public init(_ signals: [Int32]) throws(SystemError) {
    var set = sigset_t()
    sigemptyset(&set)
    for signal in signals { sigaddset(&set, signal) }
    let code = pthread_sigmask(SIG_BLOCK, &set, nil)
    guard code == 0 else { throw SystemError(call: "pthread_sigmask", code: code) }
    let flags = Int32(SFD_CLOEXEC | SFD_NONBLOCK)
    source = Descriptor(owning: try SystemError.check("signalfd") { signalfd(-1, &set, flags) })
  }

  /// For `Reactor.register`.
  public var descriptor: Int32 { source.rawValue }

  /// The next signal that waits, and who sent it; nil when none does.
  public borrowing func next() -> (signal: Int32, sender: pid_t)? {
    var information = signalfd_siginfo()
    let size = MemoryLayout<signalfd_siginfo>.size
    guard read(source.rawValue, &information, size) == size else { return nil }
    return (Int32(bitPattern: information.ssi_signo), pid_t(bitPattern: information.ssi_pid))
  }

  /// Signals that a process which writes to sockets must not die of.
  public static func ignoreBrokenPipes() { signal(SIGPIPE, SIG_IGN) }
}
