import Basis
import CLinux
import Glibc
import HTTP1
import Health
import Linux

/// One probe in flight: connect, and for HTTP ask, and judge the answer as it comes.
final class Probe {
  enum Start {
    case running(Probe)
    case finished(CheckResult)
  }

  enum Step {
    case waiting(Reactor.Interest)
    case finished(CheckResult.Verdict, String)
  }

  let plan: ProbePlan
  /// Of its target; another one when the targets are replaced.
  var index: Int
  let number: UInt64
  let started: Instant
  let deadline: Instant
  let descriptor: Descriptor
  var registration: Reactor.Registration?
  /// What the reactor was told.
  var registered: Reactor.Interest = .writable

  private enum Phase {
    case connecting, asking, listening
  }

  private var phase = Phase.connecting
  private var sent = 0
  private var reader = ResponseReader(bodyLimit: CheckTarget.bodyLimit)
  private var search: Search?

  private init(_ plan: ProbePlan, _ index: Int, _ number: UInt64, _ descriptor: consuming Descriptor, at now: Instant) {
    self.plan = plan
    self.index = index
    self.number = number
    self.descriptor = descriptor
    started = now
    deadline = now + plan.target.timeout
    if case .http(_, _, _, let text?) = plan.target.check { search = Search(Array(text.utf8)) }
  }

  /// Sends the first packet. What fails before that says nothing of the backend.
  static func start(_ plan: ProbePlan, _ index: Int, _ number: UInt64, at now: Instant) -> Start {
    func unknown(_ message: String) -> Start {
      .finished(CheckResult(.unknown, latency: Clock.now() - now, message: message))
    }
    if let mistake = plan.mistake { return unknown(mistake) }
    do throws(SystemError) {
      let descriptor = try Descriptor.socket(plan.family, SOCK_STREAM)
      // Closing then resets the connection, and no TIME_WAIT is left.
      try descriptor.setOption(SOL_SOCKET, SO_LINGER, linger(l_onoff: 1, l_linger: 0), "setsockopt SO_LINGER")
      let code = connect(descriptor.rawValue, plan.endpoint)
      switch code {
      case 0, EINPROGRESS: return .running(Probe(plan, index, number, descriptor, at: now))
      // On the loopback interface the answer may be there already.
      case ECONNREFUSED, ECONNRESET, ETIMEDOUT:
        return .finished(CheckResult(.failed, latency: Clock.now() - now, message: Words.remote(code)))
      default: throw SystemError(call: "connect", code: code)
      }
    } catch {
      return unknown(Words.local(error))
    }
  }

  private static func connect(_ descriptor: Int32, _ endpoint: clinux_endpoint) -> Int32 {
    withUnsafePointer(to: endpoint) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        while Glibc.connect(descriptor, address, clinux_endpoint_size(pointer)) != 0 {
          if errno != EINTR { return errno }
        }
        return 0
      }
    }
  }

  func handle(_ readiness: Reactor.Readiness) -> Step {
    switch phase {
    case .connecting: connected()
    case .asking: ask()
    case .listening: listen()
    }
  }

  /// What to say when the time is over.
  var timedOut: String {
    let limit = plan.target.timeout.words
    return switch phase {
    case .connecting: "timed out after \(limit): no connection"
    case .asking: "timed out after \(limit): the request was not taken"
    case .listening: "timed out after \(limit): \(reader.status == nil ? "no answer" : "the answer is not complete")"
    }
  }

  // MARK: Steps

  private func connected() -> Step {
    var code: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    if getsockopt(descriptor.rawValue, SOL_SOCKET, SO_ERROR, &code, &length) != 0 { code = errno }
    if code != 0 { return .finished(.failed, Words.remote(code)) }
    // A port of this host that nobody listens on may connect to itself, when it is the one that the kernel picked.
    if isConnectedToItself { return .finished(.failed, Words.remote(ECONNREFUSED)) }
    guard case .http = plan.target.check else { return .finished(.passed, "connected") }
    phase = .asking
    return ask()
  }

  private func ask() -> Step {
    while sent < plan.request.count {
      let result = plan.request.withUnsafeBytes { bytes in
        send(descriptor.rawValue, bytes.baseAddress.map { $0 + sent }, bytes.count - sent, Int32(MSG_NOSIGNAL))
      }
      if result >= 0 {
        sent += result
      } else if errno == EAGAIN {
        return .waiting(.writable)
      } else if errno != EINTR {
        // It may have answered before it closed, without reading: "431", or another protocol's greeting.
        break
      }
    }
    phase = .listening
    return .waiting(.readable)
  }

  private func listen() -> Step {
    let space = 16 * 1024
    var step = Step.waiting(.readable)
    withUnsafeTemporaryAllocation(byteCount: space, alignment: 1) { buffer in
      let result = recv(descriptor.rawValue, buffer.baseAddress, space, 0)
      if result < 0 {
        if errno != EAGAIN && errno != EINTR { step = .finished(.failed, Words.remote(errno)) }
        return
      }
      step = read(UnsafeRawBufferPointer(rebasing: buffer[..<result]))
    }
    return step
  }

  private func read(_ bytes: UnsafeRawBufferPointer) -> Step {
    do throws(MessageError) {
      if bytes.isEmpty { try reader.end() } else { try reader.read(bytes.bindMemory(to: UInt8.self).span) }
    } catch {
      if error == .truncated {
        let place = reader.status == nil ? "before an answer" : "inside the answer"
        return .finished(.failed, "the connection ended \(place)")
      }
      return .finished(.failed, "no valid HTTP answer: \(error)")
    }
    return judge()
  }

  // MARK: The verdict

  private func judge() -> Step {
    guard case .http(_, _, let statuses, let text) = plan.target.check, let status = reader.status else {
      return .waiting(.readable)
    }
    let line = Words.status(status, reader.reason)
    guard statuses.contains(where: { $0.contains(status) }) else { return .finished(.failed, line) }
    guard let text, search?.advance(in: reader.body) != true else { return .finished(.passed, line) }
    if reader.isComplete { return .finished(.failed, "body lacks \"\(Words.clean(text))\"") }
    if reader.body.count >= CheckTarget.bodyLimit {
      return .finished(.failed, "the first 64 KiB of the body lack \"\(Words.clean(text))\"")
    }
    return .waiting(.readable)
  }

  private var isConnectedToItself: Bool {
    var mine = clinux_endpoint()
    var length = socklen_t(MemoryLayout<clinux_endpoint>.size)
    let number = descriptor.rawValue
    let result = withUnsafeMutablePointer(to: &mine) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(number, $0, &length) }
    }
    guard result == 0, clinux_endpoint_port(&mine) == plan.target.port else { return false }
    var theirs = plan.endpoint
    guard clinux_endpoint_family(&mine) == clinux_endpoint_family(&theirs) else { return false }
    if clinux_endpoint_family(&mine) == AF_INET {
      return clinux_endpoint_address_v4(&mine) == clinux_endpoint_address_v4(&theirs)
    }
    return (0...1).allSatisfy { clinux_endpoint_address_v6(&mine, $0) == clinux_endpoint_address_v6(&theirs, $0) }
  }
}

/// Looks for a text in a body that grows. Each place is looked at once, however small the pieces are that a hostile server sends.
struct Search {
  private let text: [UInt8]
  private var place = 0

  init(_ text: [UInt8]) { self.text = text }

  /// Whether the text is in the body, which begins with what it was the time before.
  mutating func advance(in body: [UInt8]) -> Bool {
    while place + text.count <= body.count {
      if body[place..<place + text.count].elementsEqual(text) { return true }
      place += 1
    }
    return false
  }
}
