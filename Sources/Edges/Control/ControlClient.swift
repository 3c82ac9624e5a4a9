import Basis
import CLinux
import Glibc
import HTTP1
import Linux

/// Asks a daemon, and waits for its answer. One connection a request.
public struct ControlClient: Sendable {
  public let path: String
  /// For the whole of a request.
  public let timeout: Duration
  /// The longest answer that is accepted, in bytes.
  public let limit: Int
  /// Where the answer goes in the end: a pipe whose reader is gone ends the request (`ControlError.unread`). Nil: nobody looks.
  public var output: Int32?

  public init(path: String, timeout: Duration = .seconds(10), limit: Int = 64 * 1024 * 1024) {
    self.path = path
    self.timeout = timeout
    self.limit = limit
  }

  /// - Parameter target: the path and query, encoded.
  public func request(
    _ method: String, _ target: String, body: [UInt8] = []
  ) throws(ControlError) -> ControlResponse {
    let message = try encode(method, target, body)
    let deadline = Clock.now() + timeout
    let socket = try connect(until: deadline)
    try send(message, on: socket, until: deadline)
    return try receive(on: socket, answeringHead: method == "HEAD", until: deadline)
  }

  private func encode(_ method: String, _ target: String, _ body: [UInt8]) throws(ControlError) -> [UInt8] {
    do throws(MessageError) {
      var writer = try HeadWriter(method: method, target: target)
      try writer.field("Host", "roost")
      try writer.field("Connection", "close")
      if !body.isEmpty {
        try writer.field("Content-Type", "application/json")
        try writer.field("Content-Length", String(body.count))
      }
      writer.finish()
      return writer.bytes + body
    } catch {
      throw .invalidRequest(error)
    }
  }

  private func connect(until deadline: Instant) throws(ControlError) -> Descriptor {
    do throws(SystemError) {
      let socket = try Descriptor.socket(AF_UNIX, SOCK_STREAM, about: path)
      while true {
        let code = try UnixSocket.connect(socket, to: path)
        if code == 0 { return socket }
        // The daemon's queue is full. There is nothing to wait on but time.
        guard code == EAGAIN, Clock.now() < deadline else {
          throw SystemError(call: "connect", code: code, subject: path)
        }
        usleep(5_000)
      }
    } catch {
      switch error.code {
      case ENOENT, ECONNREFUSED, ENOTDIR: throw .noDaemon(path: path)
      case EACCES, EPERM: throw .permissionDenied(path: path)
      case EAGAIN: throw .timedOut(path: path, after: timeout)
      case ENOTSOCK, EPROTOTYPE: throw .noDaemon(path: path)
      default: throw .system(error)
      }
    }
  }

  private func send(
    _ message: [UInt8], on socket: borrowing Descriptor, until deadline: Instant
  ) throws(ControlError) {
    var sent = 0
    while sent < message.count {
      let number = socket.rawValue
      let result = message.withUnsafeBytes { bytes in
        Glibc.send(number, bytes.baseAddress.map { $0 + sent }, bytes.count - sent, Int32(MSG_NOSIGNAL))
      }
      if result >= 0 {
        sent += result
        continue
      }
      switch errno {
      case EINTR: continue
      case EAGAIN: try wait(for: Int16(POLLOUT), on: socket, until: deadline)
      // A daemon that refuses a request may answer and close before it has read all of it: there may be an answer.
      case EPIPE, ECONNRESET: return
      default: throw .system(.last("send", path))
      }
    }
  }

  private func receive(
    on socket: borrowing Descriptor, answeringHead: Bool, until deadline: Instant
  ) throws(ControlError) -> ControlResponse {
    var reader = ResponseReader(bodyLimit: limit, answeringHead: answeringHead)
    var buffer = [UInt8](repeating: 0, count: 64 * 1024)
    while true {
      let result = recv(socket.rawValue, &buffer, buffer.count, 0)
      if result < 0 {
        switch errno {
        case EINTR: continue
        case EAGAIN:
          try wait(for: Int16(POLLIN), on: socket, until: deadline)
          continue
        case ECONNRESET, EPIPE: throw .disconnected(path: path)
        default: throw .system(.last("recv", path))
        }
      }
      do throws(MessageError) {
        if result == 0 { try reader.end() } else { try reader.read(buffer.span.extracting(0..<result)) }
      } catch {
        throw error == .truncated ? .disconnected(path: path) : .invalidAnswer(path: path, error)
      }
      guard reader.bodyLength <= UInt64(limit) else { throw .answerTooLarge(path: path, limit: limit) }
      if reader.isComplete, let status = reader.status { return ControlResponse(status: status, body: reader.body) }
    }
  }

  private func wait(for events: Int16, on socket: borrowing Descriptor, until deadline: Instant) throws(ControlError) {
    // Without events: POLLERR (a pipe's reader is gone) and POLLHUP (a socket's, a terminal's) come all the same. A negative descriptor
    // is passed over.
    var entries = (
      pollfd(fd: socket.rawValue, events: events, revents: 0), pollfd(fd: output ?? -1, events: 0, revents: 0)
    )
    let left = deadline - Clock.now()
    guard left > .zero else { throw .timedOut(path: path, after: timeout) }
    // Rounded up, so that the last millisecond is not spun through.
    let timeout = Int32(clamping: left.nanoseconds / 1_000_000 + 1)
    let count = withUnsafeMutableBytes(of: &entries) {
      poll($0.assumingMemoryBound(to: pollfd.self).baseAddress, 2, timeout)
    }
    if count < 0, errno != EINTR { throw .system(.last("poll", path)) }
    if count > 0, Int32(entries.1.revents) & (POLLERR | POLLHUP | POLLNVAL) != 0 { throw .unread }
  }
}
