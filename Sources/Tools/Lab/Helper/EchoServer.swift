import CLinux
import Glibc
import Linux

/// The lab's backends, and what answers on a node itself: HTTP to whoever speaks it, the same bytes back to everybody else, TCP and UDP.
///
/// A first byte that is an upper-case letter begins an HTTP request (RFC 9112 §3.1: methods are such); anything else is echoed.
final class EchoServer {
  private let specification: ServeSpecification
  private let reactor: Reactor
  private var connections: [Int32: Connection] = [:]
  private var buffer = [UInt8](repeating: 0, count: 65_536)
  private let greeting: [UInt8]
  private let health: [UInt8]
  private let name: [UInt8]

  init(_ specification: ServeSpecification) throws {
    self.specification = specification
    reactor = try Reactor()
    name = Array(specification.name.utf8)
    greeting = EchoServer.response(200, "OK", "hello from \(specification.name)\n")
    let texts = specification.healthText.map { $0 + "\n" }.joined()
    health = EchoServer.response(200, "OK", "hello from \(specification.name)\nok\n\(texts)")
  }

  func run() throws {
    for endpoint in specification.tcp {
      let listener = try endpoint.bound(SOCK_STREAM)
      try reactor.register(listener, .readable) { [self] _ in accept(listener) }
    }
    for endpoint in specification.udp {
      let socket = try endpoint.bound(SOCK_DGRAM)
      try reactor.register(socket, .readable) { [self] _ in answer(socket) }
    }
    writeAll(1, Array("ready\n".utf8))
    try reactor.run()
  }

  // MARK: UDP

  private func answer(_ socket: Int32) {
    while true {
      var from = sockaddr_storage()
      var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
      let count = withUnsafeMutablePointer(to: &from) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { recvfrom(socket, &buffer, 1400, 0, $0, &length) }
      }
      guard count >= 0 else {
        if errno == EINTR || errno == ECONNREFUSED { continue }
        return
      }
      let reply = buffer[..<count] + name
      withUnsafePointer(to: &from) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
          _ = reply.withUnsafeBytes { sendto(socket, $0.baseAddress, $0.count, 0, address, length) }
        }
      }
    }
  }

  // MARK: TCP

  private final class Connection {
    var registration: Reactor.Registration?
    var isHTTP: Bool?
    var request: [UInt8] = []
    var pending: [UInt8] = []
    var endsWhenSent = false
    var isWaiting = false
  }

  private func accept(_ listener: Int32) {
    while true {
      let descriptor = clinux_lab_accept(listener)
      if descriptor == -EINTR || descriptor == -ECONNABORTED { continue }
      guard descriptor >= 0 else { return }
      var on: Int32 = 1
      setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
      let connection = Connection()
      connections[descriptor] = connection
      connection.registration = try? reactor.register(descriptor, [.readable]) { [self] readiness in
        serve(descriptor, readiness)
      }
      if connection.registration == nil { end(descriptor) }
    }
  }

  private func serve(_ descriptor: Int32, _ readiness: Reactor.Readiness) {
    guard let connection = connections[descriptor] else { return }
    if !connection.pending.isEmpty { flush(descriptor, connection) }
    // Nothing more is read while the client does not take what it was sent.
    guard connection.pending.isEmpty, connections[descriptor] != nil else { return }
    let count = read(descriptor, &buffer, buffer.count)
    if count < 0, errno == EAGAIN || errno == EINTR { return }
    guard count > 0 else { return end(descriptor) }
    let isHTTP = connection.isHTTP ?? (65...90 ~= buffer[0])
    connection.isHTTP = isHTTP
    if isHTTP {
      connection.request += buffer[..<count]
      answerRequests(connection)
    } else {
      connection.pending += buffer[..<count]
    }
    flush(descriptor, connection)
  }

  private func answerRequests(_ connection: Connection) {
    while let end = endOfHead(connection.request) {
      let head = String(decoding: connection.request[..<end], as: UTF8.self)
      connection.request.removeFirst(end)
      let line = head.prefix { $0 != "\r\n" && $0 != "\n" }.split(separator: " ")
      guard line.count == 3, line[0] == "GET" || line[0] == "HEAD" else {
        connection.pending += EchoServer.response(405, "Method Not Allowed", "GET only\n")
        connection.endsWhenSent = true
        return
      }
      let isHealth = line[1].hasPrefix("/health") || !specification.healthText.isEmpty
      connection.pending += isHealth ? health : greeting
      if line[0] == "HEAD" { connection.endsWhenSent = true }  // simpler than leaving out the body
      let isOld = line[2] == "HTTP/1.0"
      if isOld || head.lowercased().contains("connection: close") { connection.endsWhenSent = true }
    }
    if connection.request.count > 16_384 { connection.endsWhenSent = true }
  }

  private func endOfHead(_ bytes: [UInt8]) -> Int? {
    guard bytes.count >= 4 else { return nil }
    for index in 0...(bytes.count - 4)
    where bytes[index] == 13 && bytes[index + 1] == 10 && bytes[index + 2] == 13 && bytes[index + 3] == 10 {
      return index + 4
    }
    return nil
  }

  private func flush(_ descriptor: Int32, _ connection: Connection) {
    var sent = 0
    while sent < connection.pending.count {
      let count = connection.pending[sent...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
      if count < 0, errno == EINTR { continue }
      if count < 0, errno == EAGAIN { break }
      if count <= 0 { return end(descriptor) }
      sent += count
    }
    connection.pending.removeFirst(sent)
    let isWaiting = !connection.pending.isEmpty
    if isWaiting != connection.isWaiting, let registration = connection.registration {
      connection.isWaiting = isWaiting
      try? reactor.modify(registration, isWaiting ? .writable : .readable)
    }
    if connection.endsWhenSent, connection.pending.isEmpty { end(descriptor) }
  }

  private func end(_ descriptor: Int32) {
    if let registration = connections[descriptor]?.registration { reactor.unregister(registration) }
    connections[descriptor] = nil
    close(descriptor)
  }

  private static func response(_ status: Int, _ reason: String, _ body: String) -> [UInt8] {
    Array(
      "HTTP/1.1 \(status) \(reason)\r\nContent-Type: text/plain\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
        .utf8)
  }
}
