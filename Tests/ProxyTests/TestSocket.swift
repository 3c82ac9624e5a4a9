import CLinux
import Glibc
import Linux
import Wire

@testable import Proxy

/// A real, blocking socket on loopback for clients and backends of a test. Whatever hangs fails after 20 s.
final class TestSocket: Sendable {
  enum Ending: Equatable { case end, reset, nothing }

  let descriptor: Int32

  init(_ descriptor: Int32) {
    self.descriptor = descriptor
    var patience = timeval(tv_sec: 20, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
  }

  deinit { Glibc.close(descriptor) }

  static let loopback4 = IPAddress.v4(IPv4Address(127, 0, 0, 1))
  static let loopback6 = IPAddress.v6(IPv6Address(rawValue: 1))

  private static func make(_ address: IPAddress) -> Int32 {
    var domain = AF_INET
    if case .v6 = address { domain = AF_INET6 }
    return socket(domain, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
  }

  /// A listener on a port of the kernel's choice.
  static func listen(_ address: IPAddress = loopback4, backlog: Int32 = 512) -> TestSocket {
    let listener = TestSocket(make(address))
    var endpoint = clinux_endpoint(address, port: 0)
    let size = clinux_endpoint_size(&endpoint)
    _ = withUnsafeBytes(of: &endpoint) {
      bind(listener.descriptor, $0.baseAddress?.assumingMemoryBound(to: sockaddr.self), size)
    }
    Glibc.listen(listener.descriptor, backlog)
    return listener
  }

  var port: UInt16 {
    var endpoint = clinux_endpoint()
    var size = socklen_t(MemoryLayout<clinux_endpoint>.size)
    _ = withUnsafeMutableBytes(of: &endpoint) {
      getsockname(descriptor, $0.baseAddress?.assumingMemoryBound(to: sockaddr.self), &size)
    }
    return clinux_endpoint_port(&endpoint)
  }

  /// Nil, with errno, where the connection is refused. `waiting: false` only begins it.
  static func connect(_ address: IPAddress = loopback4, port: UInt16, waiting: Bool = true) -> TestSocket? {
    let client = TestSocket(make(address))
    if !waiting { _ = fcntl(client.descriptor, F_SETFL, O_NONBLOCK) }
    var endpoint = clinux_endpoint(address, port: port)
    let size = clinux_endpoint_size(&endpoint)
    let result = withUnsafeBytes(of: &endpoint) {
      Glibc.connect(client.descriptor, $0.baseAddress?.assumingMemoryBound(to: sockaddr.self), size)
    }
    return result == 0 || (!waiting && errno == EINPROGRESS) ? client : nil
  }

  func accept() -> TestSocket? {
    let accepted = Glibc.accept(descriptor, nil, nil)
    return accepted < 0 ? nil : TestSocket(accepted)
  }

  /// How many bytes went out before an error.
  @discardableResult
  func send(_ bytes: [UInt8]) -> Int {
    var sent = 0
    while sent < bytes.count {
      let count = bytes.withUnsafeBytes {
        Glibc.send(descriptor, $0.baseAddress.map { $0 + sent }, bytes.count - sent, Int32(MSG_NOSIGNAL))
      }
      if count <= 0 { break }
      sent += count
    }
    return sent
  }

  func send(_ text: String) { send(Array(text.utf8)) }

  /// Exactly `count` bytes, or fewer where the stream ended.
  func receive(_ count: Int) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      while filled < count {
        let got = recv(descriptor, buffer.baseAddress.map { $0 + filled }, count - filled, 0)
        if got <= 0 { break }
        filled += got
      }
    }
  }

  func text(_ count: Int) -> String { String(decoding: receive(count), as: UTF8.self) }

  /// Reads to the end and tells which it was.
  func drain() -> (bytes: [UInt8], ending: Ending) {
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let got = recv(descriptor, &piece, piece.count, 0)
      if got == 0 { return (bytes, .end) }
      if got < 0 { return (bytes, errno == ECONNRESET || errno == EPIPE ? .reset : .nothing) }
      bytes += piece[..<got]
    }
  }

  var ending: Ending { drain().ending }

  func end() { shutdown(descriptor, Int32(SHUT_WR)) }

  /// The next close is a reset.
  func reset() {
    var now = linger(l_onoff: 1, l_linger: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &now, socklen_t(MemoryLayout<linger>.size))
    // Another socket takes the number's place, so that deinit closes that one.
    let other = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    dup2(other, descriptor)
    Glibc.close(other)
  }

  func isReadable(within milliseconds: Int32) -> Bool { isReady(Int16(POLLIN), milliseconds) }
  func isWritable(within milliseconds: Int32) -> Bool { isReady(Int16(POLLOUT), milliseconds) }

  private func isReady(_ events: Int16, _ milliseconds: Int32) -> Bool {
    var entry = pollfd(fd: descriptor, events: events, revents: 0)
    return poll(&entry, 1, milliseconds) > 0
  }

  func limitBuffers(_ bytes: Int32) {
    var size = bytes
    setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, 4)
    setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &size, 4)
  }
}

/// A backend that serves each connection on a thread of its own.
final class TestBackend: Sendable {
  let listener: TestSocket
  let port: UInt16
  private let isV6: Bool

  init(_ address: IPAddress = TestSocket.loopback4, _ serve: @escaping @Sendable (TestSocket) -> Void) throws {
    let listener = TestSocket.listen(address)
    self.listener = listener
    port = listener.port
    isV6 = address.family == .ipv6
    _ = try Linux.Thread.start(named: "backend", stackSize: 1 << 18) { [descriptor = listener.descriptor] in
      while true {
        let accepted = Glibc.accept(descriptor, nil, nil)
        if accepted < 0 {
          if errno == EAGAIN || errno == EINTR { continue }
          return
        }
        let connection = TestSocket(accepted)
        _ = try? Linux.Thread.start(named: "serve", stackSize: 1 << 18) { serve(connection) }
      }
    }
  }

  deinit { shutdown(listener.descriptor, Int32(SHUT_RDWR)) }

  static func echo(_ address: IPAddress = TestSocket.loopback4) throws -> TestBackend {
    try TestBackend(address) { connection in
      var piece = [UInt8](repeating: 0, count: 1 << 16)
      while true {
        let got = recv(connection.descriptor, &piece, piece.count, 0)
        if got <= 0 { break }
        if connection.send(Array(piece[..<got])) < got { break }
      }
      connection.end()
    }
  }

  /// A port that refuses.
  static func refusing() -> UInt16 { TestSocket.listen().port }
}

/// An engine on a free port of both loopbacks.
final class TestProxy: Sendable {
  let engine: ProxyEngine
  let port: UInt16

  private init(_ engine: ProxyEngine, port: UInt16) { (self.engine, self.port) = (engine, port) }

  convenience init(
    _ backends: [(IPAddress, UInt16)], workers: Int = 2, _ adjust: (inout ProxyService) -> Void = { _ in }
  ) throws {
    let (engine, port) = try TestProxy.bind(backends, workers, adjust, attempts: 20)
    try engine.start()
    self.init(engine, port: port)
  }

  /// Another test may take the free port first.
  private static func bind(
    _ backends: [(IPAddress, UInt16)], _ workers: Int, _ adjust: (inout ProxyService) -> Void, attempts: Int
  ) throws -> (ProxyEngine, UInt16) {
    let port = TestSocket.listen().port
    var service = ProxyService(
      name: "test", listen: [.init(TestSocket.loopback4, port: port), .init(TestSocket.loopback6, port: port)],
      backends: backends.enumerated().map { .init(name: "b\($0)", address: $1.0, port: $1.1) }, policy: .roundRobin)
    adjust(&service)
    do {
      return (
        try ProxyEngine(services: [service], options: ProxyOptions(workers: workers, maximumConnections: 4000)), port
      )
    } catch {
      guard case .portInUse = error, attempts > 0 else { throw error }
      return try bind(backends, workers, adjust, attempts: attempts - 1)
    }
  }

  convenience init(_ backends: TestBackend..., workers: Int = 2, _ adjust: (inout ProxyService) -> Void = { _ in })
    throws
  {
    try self.init(backends.map { (TestSocket.loopback4, $0.port) }, workers: workers, adjust)
  }

  deinit { engine.stop() }

  func client(_ address: IPAddress = TestSocket.loopback4) throws -> TestSocket {
    guard let client = TestSocket.connect(address, port: port) else { throw SystemError.last("connect", "\(port)") }
    return client
  }

  var sum: ServiceSnapshot { engine.snapshot()[0] }
}

/// Polls until `condition` holds; false after 20 s.
func eventually(_ condition: () -> Bool) -> Bool {
  for _ in 0..<4000 {
    if condition() { return true }
    usleep(5000)
  }
  return false
}
