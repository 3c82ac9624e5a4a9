import Basis
import CLinux
import Glibc
import HTTP1
import Linux

/// One client: one request at a time. What it sends meanwhile waits in the kernel, and then in the client.
final class Connection {
  /// Who asks, and the number to answer to.
  typealias Deliver = (ControlRequest, UInt64) -> Void

  let descriptor: Descriptor
  let number: UInt64
  var registration: Reactor.Registration?
  /// What the reactor was told.
  var registered: Reactor.Interest = .readable
  private(set) var isOver = false
  private(set) var deadline: Instant
  /// When it last did something.
  private(set) var activity: Instant

  private enum Phase {
    case idle, receiving, handling, answering
  }

  private let peer: PeerCredentials
  private let limits: ControlLimits
  private let deliver: Deliver
  private var phase = Phase.idle
  private var requests: UInt64 = 0

  private var input: [UInt8] = []
  private var scanner: RequestScanner
  private var head: Head?
  private var body: [UInt8] = []
  private var output: [UInt8] = []
  private var written = 0
  private var endsAfterAnswer = false

  /// What outlives the bytes of a head.
  private struct Head {
    var method: String
    var target: String
    var decoder: BodyDecoder
  }

  init(
    _ descriptor: consuming Descriptor, _ number: UInt64, _ peer: PeerCredentials, _ limits: ControlLimits,
    at now: Instant, _ deliver: @escaping Deliver
  ) {
    self.descriptor = descriptor
    self.number = number
    self.peer = peer
    self.limits = limits
    self.deliver = deliver
    scanner = RequestScanner(Limits(head: limits.head))
    activity = now
    deadline = now + limits.idle
  }

  var isHandling: Bool { phase == .handling }

  /// While a request is handled, only the end of the connection is of interest, and that comes unasked.
  var interest: Reactor.Interest {
    if written < output.count { return .writable }
    return phase == .idle || phase == .receiving ? .readable : []
  }

  func handle(_ readiness: Reactor.Readiness, at now: Instant) {
    if readiness.contains(.writable) { flush(at: now) }
    if readiness.contains(.readable), interest == .readable { receive(at: now) }
    // With nothing left to read or write, whoever hung up cannot take an answer any more.
    if readiness.contains(.hangup) || readiness.contains(.error), interest != .readable { isOver = true }
  }

  /// The handler's answer. One to a request that is over already is dropped.
  func answer(_ response: ControlResponse, to request: UInt64, at now: Instant) {
    guard phase == .handling, request == requests else { return }
    write(response, at: now)
  }

  func expire(at now: Instant) {
    switch phase {
    case .idle, .answering: isOver = true
    case .receiving: refuse(408, "the request was not complete within \(limits.request.words)", at: now)
    case .handling:
      // The handler's answer, if it ever comes, is for a number that is over.
      endsAfterAnswer = true
      write(.error(504, "the daemon did not answer within \(limits.handling.words)"), at: now)
    }
  }

  // MARK: Reading

  private func receive(at now: Instant) {
    let space = 16 * 1024
    var result = 0
    withUnsafeTemporaryAllocation(byteCount: space, alignment: 1) { buffer in
      result = recv(descriptor.rawValue, buffer.baseAddress, space, 0)
      if result > 0 { input.append(contentsOf: buffer[..<result]) }
    }
    guard result > 0 else {
      if result == 0 || (errno != EAGAIN && errno != EINTR) { isOver = true }
      return
    }
    activity = now
    advance(at: now)
  }

  /// Goes on in what was read, until a request is complete or more is needed. Requests may be sent ahead; they are handled in turn.
  private func advance(at now: Instant) {
    guard !isOver, phase == .idle || phase == .receiving, !input.isEmpty else { return }
    if phase == .idle {
      phase = .receiving
      deadline = now + limits.request
    }
    do throws(MessageError) {
      if head == nil, try !readHead(at: now) { return }
      try readBody(at: now)
    } catch {
      refuse(error.status, "\(error)", at: now)
    }
  }

  /// False as long as more is needed, or when the request was refused.
  private func readHead(at now: Instant) throws(MessageError) -> Bool {
    let held = input
    guard let found = try scanner.scan(held.span) else { return false }
    if case .length(let length) = found.framing, length > UInt64(limits.body) {
      refuseBody(at: now)
      return false
    }
    head = Head(
      method: held.span.text(found.method), target: held.span.text(found.target),
      decoder: BodyDecoder(found.framing))
    endsAfterAnswer = !found.keepsAlive
    input = Array(held[found.length...])
    scanner.reset()
    if found.expectsContinue, input.isEmpty, found.framing != .none {
      output += Array("HTTP/1.1 100 Continue\r\n\r\n".utf8)
      flush(at: now)
    }
    return true
  }

  private func readBody(at now: Instant) throws(MessageError) {
    guard var current = head else { return }
    let held = input
    var data: [Range<Int>] = []
    let taken = try current.decoder.decode(held.span) { data.append($0) }
    for range in data { body += held[range] }
    head = current
    input = Array(held[taken...])
    guard body.count <= limits.body else { return refuseBody(at: now) }
    guard current.decoder.isComplete else { return }

    requests += 1
    phase = .handling
    deadline = now + limits.handling
    defer { body = [] }
    guard let (path, query) = Target.parse(current.target) else {
      return refuse(400, "the path \(current.target) is not valid", at: now)
    }
    deliver(ControlRequest(method: current.method, path: path, query: query, body: body, peer: peer), requests)
  }

  private func refuseBody(at now: Instant) {
    refuse(413, "the body is longer than \(limits.body) bytes", at: now)
  }

  /// After a request that could not be understood, nobody knows where the next one starts.
  private func refuse(_ status: Int, _ message: String, at now: Instant) {
    endsAfterAnswer = true
    input = []
    body = []
    write(.error(status, message), at: now)
  }

  // MARK: Writing

  private func write(_ response: ControlResponse, at now: Instant) {
    phase = .answering
    deadline = now + limits.answer
    let isHead = head?.method == "HEAD"
    do throws(MessageError) {
      var writer = try HeadWriter(status: response.status)
      try writer.field("Content-Type", "application/json")
      try writer.field("Content-Length", String(response.body.count))
      for field in response.fields { try writer.field(field.name, field.value) }
      if endsAfterAnswer { try writer.field("Connection", "close") }
      writer.finish()
      output += writer.bytes
      if !isHead { output += response.body }
    } catch {
      output += Array("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".utf8)
      endsAfterAnswer = true
    }
    head = nil
    flush(at: now)
  }

  private func flush(at now: Instant) {
    while written < output.count {
      let result = output.withUnsafeBytes { bytes in
        send(
          descriptor.rawValue, bytes.baseAddress.map { $0 + written }, bytes.count - written,
          Int32(MSG_NOSIGNAL))
      }
      if result >= 0 {
        written += result
        activity = now
      } else if errno != EINTR {
        if errno != EAGAIN { isOver = true }
        return
      }
    }
    output.removeAll(keepingCapacity: output.capacity <= 64 * 1024)
    written = 0
    guard phase == .answering else { return }
    if endsAfterAnswer {
      shutdown(descriptor.rawValue, Int32(SHUT_WR))
      isOver = true
      return
    }
    phase = .idle
    deadline = now + limits.idle
    // The next request may have come with this one.
    advance(at: now)
  }
}

/// The target of a request, taken apart.
enum Target {
  /// Nil where an escape is broken, the text is not UTF-8, or there is no path.
  static func parse(_ target: String) -> (path: String, query: [ControlRequest.QueryItem])? {
    guard target.hasPrefix("/") else { return nil }
    let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    guard let path = decode(parts[0]) else { return nil }
    var query: [ControlRequest.QueryItem] = []
    for item in parts.count > 1 ? parts[1].split(separator: "&") : [] {
      let sides = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard let name = decode(sides[0]), let value = decode(sides.count > 1 ? sides[1] : "") else { return nil }
      query.append(ControlRequest.QueryItem(name: name, value: value))
    }
    return (path, query)
  }

  /// Undoes percent-encoding (RFC 3986 §2.1).
  static func decode(_ text: Substring) -> String? {
    var bytes: [UInt8] = []
    var rest = text.utf8
    while let byte = rest.popFirst() {
      guard byte == 0x25 else {
        bytes.append(byte)
        continue
      }
      guard let high = rest.popFirst(), let low = rest.popFirst(), let value = pair(high, low), value != 0 else {
        return nil
      }
      bytes.append(value)
    }
    return String(validating: bytes, as: UTF8.self)
  }

  private static func pair(_ high: UInt8, _ low: UInt8) -> UInt8? {
    guard let high = digit(high), let low = digit(low) else { return nil }
    return high << 4 | low
  }

  private static func digit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x30...0x39: byte - 0x30
    case 0x41...0x46: byte - 0x41 + 10
    case 0x61...0x66: byte - 0x61 + 10
    default: nil
    }
  }
}
