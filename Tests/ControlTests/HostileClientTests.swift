import Control
import Glibc
import Synchronization
import Testing

private let ask = "GET /x HTTP/1.1\r\nHost: x\r\n\r\n"

@Test(arguments: [
  ("\u{0}\u{1}\u{2}garbage\r\n\r\n", "400"), ("GET / HTTP/1.1\r\n\r\n", "400"),
  ("GET / HTTP/2.0\r\nHost: x\r\n\r\n", "505"),
  ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400"),
  ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", "413"),
  ("GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", "400"), ("GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
  ("GET /\(String(repeating: "a", count: 9000)) HTTP/1.1\r\nHost: x\r\n\r\n", "414"),
  ("GET / HTTP/1.1\r\nHost: x\r\nX: \(String(repeating: "a", count: 20000))\r\n\r\n", "431"),
])
func `what is no request is answered with an error in JSON, and the connection ends`(garbage: String, status: String)
  throws
{
  let folder = Folder()
  let server = try ControlServer(path: folder.socket, handler: echo)
  defer { server.stop() }
  let raw = try #require(RawClient(folder.socket))
  raw.send(garbage)
  let answer = raw.read()
  #expect(answer.hasPrefix("HTTP/1.1 \(status) "))
  #expect(answer.contains("Connection: close\r\n"))
  #expect(answer.contains("\r\n\r\n{\"error\":\""))
  #expect(try ControlClient(path: folder.socket).request("GET", "/").isSuccess)
}

@Test func `a body in chunks has the same limit`() throws {
  let folder = Folder()
  var limits = ControlLimits()
  limits.body = 10
  let server = try ControlServer(path: folder.socket, limits: limits, handler: echo)
  defer { server.stop() }
  let raw = try #require(RawClient(folder.socket))
  raw.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n5\r\nfghij\r\n0\r\n\r\n")
  #expect(raw.read { $0.hasSuffix("}\n") }.contains("abcdefghij"))
  raw.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n6\r\nfghijk\r\n0\r\n\r\n")
  #expect(raw.read().hasPrefix("HTTP/1.1 413 "))
}

@Test func `a client that never reads costs nothing but its own connection`() throws {
  let folder = Folder()
  var limits = ControlLimits()
  limits.answer = .milliseconds(300)
  let server = try ControlServer(path: folder.socket, limits: limits) { request, answer in
    answer(ControlResponse(body: [UInt8](repeating: 0x20, count: request.path == "/x" ? 8 << 20 : 2)))
  }
  defer { server.stop() }
  let lazy = try (0..<10).map { _ in try #require(RawClient(folder.socket)) }
  for client in lazy { for _ in 0..<20 { client.send(ask) } }
  for _ in 0..<20 { #expect(try ControlClient(path: folder.socket).request("GET", "/").body.count == 2) }
  for client in lazy { #expect(eventually { client.isHungUp }) }
}

@Test func `a client that sends a byte now and then is ended, however busy it looks`() throws {
  let folder = Folder()
  var limits = ControlLimits()
  limits.request = .milliseconds(300)
  let server = try ControlServer(path: folder.socket, limits: limits, handler: echo)
  defer { server.stop() }
  let slow = try #require(RawClient(folder.socket))
  for byte in ask.utf8.prefix(10) {
    guard slow.send([byte]) else { break }
    usleep(50_000)
  }
  #expect(slow.read().hasPrefix("HTTP/1.1 408 "))
}

@Test func `a client that says nothing is ended after a while`() throws {
  let folder = Folder()
  var limits = ControlLimits()
  limits.idle = .milliseconds(100)
  let server = try ControlServer(path: folder.socket, limits: limits, handler: echo)
  defer { server.stop() }
  #expect(try #require(RawClient(folder.socket)).isEnded())
}

@Test func `of a hundred clients that stay, the oldest idle ones make room for who asks something`() throws {
  let folder = Folder()
  let server = try ControlServer(path: folder.socket, handler: echo)
  defer { server.stop() }
  let idle = try (0..<100).map { _ in try #require(RawClient(folder.socket)) }
  for _ in 0..<5 { #expect(try ControlClient(path: folder.socket).request("GET", "/").isSuccess) }
  #expect(idle[0].isEnded())
  // The youngest is still served.
  idle[99].send(ask)
  #expect(idle[99].read { $0.hasSuffix("}\n") }.hasPrefix("HTTP/1.1 200 "))
}

@Test func `a hundred clients that all ask at once are all answered`() throws {
  let folder = Folder()
  let server = try ControlServer(path: folder.socket, handler: echo)
  defer { server.stop() }
  let clients = try (0..<100).map { _ in
    let client = try #require(RawClient(folder.socket))
    client.send("GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    return client
  }
  for client in clients { #expect(client.read().hasPrefix("HTTP/1.1 200 ")) }
}

@Test func `a client that leaves before its answer is forgotten`() throws {
  let folder = Folder()
  let kept = Mutex<[ControlServer.Answer]>([])
  var limits = ControlLimits()
  limits.clients = 2
  let server = try ControlServer(path: folder.socket, limits: limits) { request, answer in
    if request.path != "/x" { return answer(ControlResponse()) }
    // Never answered as long as the client is there: the server may not keep a place for it afterwards.
    kept.withLock { $0.append(answer) }
  }
  defer { server.stop() }
  for _ in 0..<6 { try #require(RawClient(folder.socket)).send(ask) }
  #expect(try ControlClient(path: folder.socket).request("GET", "/").isSuccess)
}
