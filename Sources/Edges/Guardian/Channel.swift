import CLinux
import Glibc
import Linux

/// One end of the pair of sockets between daemon and guardian. It never waits.
final class Channel: Sendable {
  private let socket: Descriptor
  var descriptor: Int32 { socket.rawValue }

  init(_ socket: consuming Descriptor) {
    self.socket = socket
    // A VIP's charge is up to 4 KiB, and all of them are told at once; past it the rest waits a turn.
    var size: Int32 = 1 << 20
    _ = setsockopt(self.socket.rawValue, SOL_SOCKET, SO_SNDBUFFORCE, &size, socklen_t(MemoryLayout<Int32>.size))
  }

  /// Both ends; close-on-exec, so the other process gets a copy.
  static func pair() throws(SystemError) -> (Channel, Channel) {
    var ends: [Int32] = [-1, -1]
    try SystemError.check("socketpair", "the guardian") { clinux_message_pair(&ends) }
    return (Channel(Descriptor(owning: ends[0])), Channel(Descriptor(owning: ends[1])))
  }

  enum Sent { case done, full, closed }

  func send(_ message: GuardianMessage, with lent: Int32 = -1) -> Sent {
    let bytes = message.bytes
    while true {
      if clinux_message_send(descriptor, bytes, bytes.count, lent) >= 0 { return .done }
      switch errno {
      case EINTR: continue
      // ETOOMANYREFS: too many descriptors on their way at once.
      case EAGAIN, ENOBUFS, ENOMEM, ETOOMANYREFS: return .full
      default: return .closed
      }
    }
  }

  /// Everything that waits, in order; `lent` is the descriptor that came along, the handler's to close, or negative. False once
  /// the other end is closed.
  func receive(
    _ buffer: UnsafeMutableRawBufferPointer, _ body: (Result<GuardianMessage, MalformedMessage>, _ lent: Int32) -> Void
  ) -> Bool {
    while true {
      var lent: Int32 = -1
      let count = clinux_message_receive(descriptor, buffer.baseAddress, buffer.count, &lent)
      if count == 0 { return false }
      if count > 0 {
        let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<min(count, buffer.count)])
        do throws(MalformedMessage) {
          body(.success(try GuardianMessage(bytes)), lent)
        } catch {
          body(.failure(error), lent)
        }
        continue
      }
      switch errno {
      case EINTR: continue
      case EAGAIN: return true
      case EMSGSIZE: body(.failure(MalformedMessage()), -1)
      default: return false
      }
    }
  }
}
