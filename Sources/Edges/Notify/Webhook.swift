import Basis
import CLinux
import Glibc
import HTTP1
import Linux

extension NotificationTarget.Webhook {
  /// Of an answer, in bytes. Nobody reads it.
  private static let longestAnswer = 64 * 1024

  /// One POST, on the calling thread, which waits.
  func post(_ json: [UInt8], until deadline: Instant) -> Delivery {
    let message: [UInt8]
    do throws(MessageError) { message = try request(json) } catch {
      return .refused("the request can't be written: \(error)")
    }
    var addresses: UnsafeMutablePointer<addrinfo>?
    let isAddress = clinux_resolve(host, "\(port)", 1, &addresses) == 0
    if !isAddress {
      let code = clinux_resolve(host, "\(port)", 0, &addresses)
      guard code == 0 else { return .failed("\(host) can't be looked up: \(String(cString: gai_strerror(code)))") }
    }
    defer { freeaddrinfo(addresses) }
    var outcome = Delivery.failed("\(host) has no address")
    var next = addresses
    while let address = next {
      next = address.pointee.ai_next
      switch connect(address.pointee, until: deadline) {
      case .failure(let error): outcome = .failed("\(error)")
      case .success(let number):
        let socket = Descriptor(owning: number)
        return exchange(message, on: socket, until: deadline)
      }
      if Clock.now() >= deadline { break }
    }
    return outcome
  }

  private func request(_ json: [UInt8]) throws(MessageError) -> [UInt8] {
    var writer = try HeadWriter(method: "POST", target: target)
    let name = host.contains(":") ? "[\(host)]" : host
    try writer.field("Host", port == 80 ? name : "\(name):\(port)")
    try writer.field("Content-Type", "application/json")
    try writer.field("Content-Length", "\(json.count)")
    try writer.field("Connection", "close")
    if let authorization { try writer.field("Authorization", authorization) }
    writer.finish()
    return writer.bytes + json
  }

  private func connect(_ address: addrinfo, until deadline: Instant) -> Result<Int32, SystemError> {
    let number = clinux_stream_socket(address.ai_family)
    guard number >= 0 else { return .failure(.last("socket", host)) }
    guard Glibc.connect(number, address.ai_addr, address.ai_addrlen) != 0 else { return .success(number) }
    var code = errno
    if code == EINPROGRESS {
      guard wait(number, Int16(POLLOUT), until: deadline) else {
        close(number)
        return .failure(SystemError(call: "connect", code: ETIMEDOUT, subject: host))
      }
      var size = socklen_t(MemoryLayout<Int32>.size)
      getsockopt(number, SOL_SOCKET, SO_ERROR, &code, &size)
    }
    guard code == 0 else {
      close(number)
      return .failure(SystemError(call: "connect", code: code, subject: host))
    }
    return .success(number)
  }

  private func exchange(_ message: [UInt8], on socket: borrowing Descriptor, until deadline: Instant) -> Delivery {
    var sent = 0
    while sent < message.count {
      let number = socket.rawValue
      let count = message.withUnsafeBytes { bytes in
        send(number, bytes.baseAddress.map { $0 + sent }, bytes.count - sent, Int32(MSG_NOSIGNAL))
      }
      if count >= 0 {
        sent += count
      } else if errno == EAGAIN {
        guard wait(number, Int16(POLLOUT), until: deadline) else { return .failed("\(host) did not read in time") }
      } else if errno != EINTR {
        return .failed("\(SystemError.last("send", host))")
      }
    }
    var reader = ResponseReader(bodyLimit: Self.longestAnswer)
    var buffer = [UInt8](repeating: 0, count: 8192)
    while reader.status == nil || !reader.isComplete {
      let count = recv(socket.rawValue, &buffer, buffer.count, 0)
      if count < 0 {
        if errno == EINTR { continue }
        guard errno == EAGAIN else { return .failed("\(SystemError.last("recv", host))") }
        guard wait(socket.rawValue, Int16(POLLIN), until: deadline) else {
          return .failed("\(host) did not answer in time")
        }
        continue
      }
      do throws(MessageError) {
        if count == 0 { try reader.end() } else { try reader.read(buffer.span.extracting(0..<count)) }
      } catch {
        return .failed("\(host) does not answer as HTTP does: \(error)")
      }
      // The status is what counts, however long the rest is.
      if reader.status != nil, reader.bodyLength > UInt64(Self.longestAnswer) { break }
    }
    return judge(reader.status ?? 0)
  }

  private func judge(_ status: Int) -> Delivery {
    switch status {
    case 200...299: .told
    // Try later (RFC 9110 §15.5.9, RFC 6585 §4), or the server's own trouble.
    case 408, 429, 500...599: .failed("\(host) answered \(status)")
    default: .refused("\(host) answered \(status)")
    }
  }

  private func wait(_ descriptor: Int32, _ events: Int16, until deadline: Instant) -> Bool {
    while true {
      let left = deadline - Clock.now()
      guard left > .zero else { return false }
      var entry = pollfd(fd: descriptor, events: events, revents: 0)
      let count = poll(&entry, 1, Int32(clamping: left.nanoseconds / 1_000_000 + 1))
      if count > 0 { return true }
      if count < 0, errno != EINTR { return false }
    }
  }
}
