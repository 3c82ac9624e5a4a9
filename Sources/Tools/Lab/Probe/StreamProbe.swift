import Basis
import CLinux
import Glibc
import Linux

/// The client's TCP: a connect every 5 ms, requests on kept and on new connections, and long-lived connections. All on one thread, paced
/// by a tick of a millisecond. Says `open` on its output when the long-lived connections are.
final class StreamProbe {
  static let connectInterval = Duration.milliseconds(5)
  static let requestPause = Duration.milliseconds(2)
  static let freshInterval = Duration.milliseconds(10)
  static let timeout = Duration.seconds(1)
  /// Of a connect: a SYN that is lost is repeated after a second, and a client of the real world waits for that.
  static let connectTimeout = Duration.seconds(3)
  static let keptStreams = 4

  private var own: [Sample] = []
  private let longLived: LongLived?
  private let specification: ProbeSpecification
  private let reactor: Reactor
  private let request: [UInt8]
  private let lastRequest: [UInt8]
  private var attempts: [Int32: Attempt] = [:]
  private var streams: [Stream] = []
  private var nextConnect: Instant
  private var nextFresh: Instant
  private var tick: Instant
  private var nextSweep: Instant
  private var buffer = [UInt8](repeating: 0, count: 16_384)

  /// A connection of its own for one connect or one request.
  private final class Attempt {
    let kind: Sample.Kind
    let start: Instant
    let registration: Reactor.Registration
    var response = Response()
    var isSent = false
    init(_ kind: Sample.Kind, _ start: Instant, _ registration: Reactor.Registration) {
      self.kind = kind
      self.start = start
      self.registration = registration
    }
  }

  /// A connection that is kept for requests, made anew when it breaks.
  private final class Stream {
    var descriptor: Int32 = -1
    var registration: Reactor.Registration?
    var isConnected = false
    var response = Response()
    /// When the request under way was begun.
    var start: Instant?
    var next: Instant
    init(next: Instant) { self.next = next }
  }

  init(_ specification: ProbeSpecification) throws {
    self.specification = specification
    reactor = try Reactor()
    let host = specification.service?.address ?? ""
    let name = host.contains(":") ? "[\(host)]" : host
    request = Array("GET / HTTP/1.1\r\nHost: \(name)\r\nUser-Agent: roost-lab\r\n\r\n".utf8)
    lastRequest = Array("GET / HTTP/1.1\r\nHost: \(name)\r\nUser-Agent: roost-lab\r\nConnection: close\r\n\r\n".utf8)
    let now = Clock.now()
    (nextConnect, nextFresh, tick, nextSweep) = (now, now, now, now)
    guard let service = specification.service else {
      longLived = nil
      return
    }
    longLived = LongLived(
      specification.connections, of: service, from: specification.sources.map { Endpoint(address: $0, port: 0) },
      on: reactor)
    for index in 0..<Self.keptStreams { streams.append(Stream(next: now + .microseconds(500 * Int64(index)))) }
  }

  var samples: [Sample] { own + (longLived?.samples ?? []) }

  /// Until the input ends.
  func run() throws {
    var isOver = false
    try reactor.register(0, .readable) { [self] _ in
      if read(0, &buffer, buffer.count) <= 0 { isOver = true }
    }
    let announce = { _ = writeAll(1, Array("open\n".utf8)) }
    if let longLived { longLived.onOpen = announce } else { announce() }
    while !isOver {
      try reactor.turn(deadline: { self.tick }, onDeadline: { self.act(at: $0) })
    }
  }

  private func act(at now: Instant) {
    tick = max(tick + .milliseconds(1), now)
    guard let service = specification.service else {
      tick = now + .milliseconds(100)
      return
    }
    if now >= nextConnect {
      nextConnect = max(nextConnect + Self.connectInterval, now)
      begin(.connect, service, now)
    }
    if now >= nextFresh {
      nextFresh = max(nextFresh + Self.freshInterval, now)
      begin(.freshRequest, service, now)
    }
    for stream in streams where stream.start == nil && now >= stream.next { send(stream, service, now) }
    longLived?.act(at: now)
    if now >= nextSweep {
      nextSweep = now + .milliseconds(20)
      sweep(now)
    }
  }

  /// What took too long has failed.
  private func sweep(_ now: Instant) {
    for (descriptor, attempt) in attempts {
      let limit = attempt.kind == .connect ? Self.connectTimeout : Self.timeout
      if now - attempt.start > limit { finish(descriptor, attempt, nil) }
    }
    for stream in streams {
      if let start = stream.start, now - start > Self.timeout { fail(stream, now) }
    }
  }

  // MARK: Single attempts

  private func begin(_ kind: Sample.Kind, _ service: Endpoint, _ now: Instant) {
    let descriptor = service.connecting(SOCK_STREAM)
    guard descriptor >= 0 else {
      own.append(Sample(kind: kind, start: now, duration: nil))
      return
    }
    guard
      let registration = try? reactor.register(descriptor, .writable, handler: { [self] in proceed(descriptor, $0) })
    else {
      close(descriptor)
      return
    }
    attempts[descriptor] = Attempt(kind, now, registration)
  }

  private func proceed(_ descriptor: Int32, _ readiness: Reactor.Readiness) {
    guard let attempt = attempts[descriptor] else { return }
    if !attempt.isSent {
      guard socketError(descriptor) == 0 else { return finish(descriptor, attempt, nil) }
      if attempt.kind == .connect { return finish(descriptor, attempt, Clock.now()) }
      guard writeAll(descriptor, lastRequest) else { return finish(descriptor, attempt, nil) }
      attempt.isSent = true
      try? reactor.modify(attempt.registration, .readable)
      return
    }
    let count = read(descriptor, &buffer, buffer.count)
    if count < 0, errno == EAGAIN || errno == EINTR { return }
    guard count > 0 else { return finish(descriptor, attempt, nil) }
    if let isGood = attempt.response.take(buffer[..<count]) { finish(descriptor, attempt, isGood ? Clock.now() : nil) }
  }

  private func finish(_ descriptor: Int32, _ attempt: Attempt, _ end: Instant?) {
    reactor.unregister(attempt.registration)
    close(descriptor)
    attempts[descriptor] = nil
    own.append(Sample(kind: attempt.kind, start: attempt.start, duration: end.map { $0 - attempt.start }))
  }

  // MARK: Kept connections

  private func send(_ stream: Stream, _ service: Endpoint, _ now: Instant) {
    stream.start = now
    stream.response = Response()
    if stream.descriptor >= 0, stream.isConnected {
      if !writeAll(stream.descriptor, request) { fail(stream, now) }
      return
    }
    let descriptor = service.connecting(SOCK_STREAM)
    guard descriptor >= 0 else { return fail(stream, now) }
    stream.descriptor = descriptor
    stream.registration = try? reactor.register(descriptor, .writable) { [self] _ in proceed(stream) }
  }

  private func proceed(_ stream: Stream) {
    let now = Clock.now()
    if !stream.isConnected {
      guard socketError(stream.descriptor) == 0, writeAll(stream.descriptor, request),
        let registration = stream.registration
      else { return fail(stream, now) }
      stream.isConnected = true
      try? reactor.modify(registration, .readable)
      return
    }
    let count = read(stream.descriptor, &buffer, buffer.count)
    if count < 0, errno == EAGAIN || errno == EINTR { return }
    guard count > 0 else { return fail(stream, now) }
    guard let start = stream.start, let isGood = stream.response.take(buffer[..<count]) else { return }
    guard isGood else { return fail(stream, now) }
    own.append(Sample(kind: .request, start: start, duration: now - start))
    stream.start = nil
    stream.next = now + Self.requestPause
  }

  /// A break between two requests is no failure of a request: the next one goes over a new connection.
  private func fail(_ stream: Stream, _ now: Instant) {
    if let start = stream.start { own.append(Sample(kind: .request, start: start, duration: nil)) }
    if let registration = stream.registration { reactor.unregister(registration) }
    if stream.descriptor >= 0 { close(stream.descriptor) }
    stream.descriptor = -1
    stream.registration = nil
    stream.isConnected = false
    stream.start = nil
    stream.next = now + .milliseconds(10)
  }
}

/// As much of an HTTP response as is needed to know that it came whole, and was a success.
struct Response {
  private var head: [UInt8] = []
  private var bodyLeft: Int?
  private var isGood = false

  /// True or false when it is complete; nil while more has to come.
  mutating func take(_ bytes: ArraySlice<UInt8>) -> Bool? {
    var rest = bytes
    if bodyLeft == nil {
      head += rest
      rest = []
      guard let end = head.indices.dropFirst(3).first(where: { head[($0 - 3)...$0].elementsEqual([13, 10, 13, 10]) })
      else {
        return head.count > 16_384 ? false : nil
      }
      let text = String(decoding: head[...end], as: UTF8.self)
      let lines = text.split(separator: "\r\n")
      guard let status = lines.first, status.hasPrefix("HTTP/1."), let length = contentLength(lines) else {
        return false
      }
      isGood = status.dropFirst("HTTP/1.1 ".count).hasPrefix("200")
      bodyLeft = length
      rest = head[(end + 1)...]
    }
    let left = (bodyLeft ?? 0) - rest.count
    bodyLeft = left
    return left > 0 ? nil : isGood && left == 0
  }

  private func contentLength(_ lines: [Substring]) -> Int? {
    for line in lines {
      let parts = line.split(separator: ":", maxSplits: 1)
      if parts.count == 2, parts[0].lowercased() == "content-length" { return Int(parts[1].drop { $0 == " " }) }
    }
    return nil
  }
}
