import Control
import Glibc
import Synchronization
import Testing

@Test func `a request reaches the handler whole, and its answer comes back`() throws {
  let folder = Folder()
  let server = try ControlServer(path: folder.socket, handler: echo)
  defer { server.stop() }
  let client = ControlClient(path: folder.socket)
  let answer = try client.request("POST", "/a%20b?x=1&y=%C3%A9", body: Array("{}".utf8))
  #expect(answer.status == 200)
  #expect(
    text(answer)
      == #"{"body":"{}","method":"POST","path":"/a b","pid":"\#(getpid())","query":"x=1 y=é","uid":"\#(getuid())"}"#
      + "\n")
  #expect(answer.errorMessage == nil)
}

@Test func `large bodies pass in both directions`() throws {
  let folder = Folder()
  let server = try ControlServer(path: folder.socket) { request, answer in
    answer(ControlResponse(body: request.body + request.body))
  }
  defer { server.stop() }
  let body = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
  let answer = try ControlClient(path: folder.socket).request("POST", "/", body: body)
  #expect(answer.body == body + body)
  #expect(throws: ControlError.answerTooLarge(path: folder.socket, limit: 1000)) {
    try ControlClient(path: folder.socket, limit: 1000).request("POST", "/", body: body)
  }
}

@Test func `routes tell what is not there from what cannot be done`() throws {
  let folder = Folder()
  var routes = ControlRoutes()
  routes.on("GET", "/status") { _, answer in answer(ControlResponse(encoding: ["it": "is"])) }
  routes.on("POST", "/vips/{vip}/move") { request, answer in answer(ControlResponse(encoding: request.parameters)) }
  routes.on("DELETE", "/vips/{vip}/move") { _, answer in answer(ControlResponse()) }
  let server = try ControlServer(path: folder.socket, handler: routes.handle)
  defer { server.stop() }
  let client = ControlClient(path: folder.socket)
  #expect(text(try client.request("GET", "/status")) == "{\"it\":\"is\"}\n")
  #expect(
    text(try client.request("POST", "/vips/web%2Fx/move")) == "{\"error\":\"there is nothing at /vips/web/x/move\"}\n")
  #expect(text(try client.request("POST", "/vips/web/move")) == "{\"vip\":\"web\"}\n")
  #expect(try client.request("GET", "/nothing").status == 404)
  #expect(try client.request("GET", "/status/").status == 404)
  let refused = try client.request("GET", "/vips/web/move")
  #expect(refused.status == 405)
  #expect(refused.errorMessage == "/vips/web/move does not know GET, only POST, DELETE")
  let raw = try #require(RawClient(folder.socket))
  raw.send("PUT /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
  #expect(raw.read().contains("\r\nAllow: GET\r\n"))
}

@Test func `an answer may come later, from another thread, and only the first counts`() throws {
  let folder = Folder()
  let waiting = Mutex<[ControlServer.Answer]>([])
  let server = try ControlServer(path: folder.socket) { _, answer in waiting.withLock { $0.append(answer) } }
  defer { server.stop() }
  let raw = try #require(RawClient(folder.socket))
  raw.send("GET /one HTTP/1.1\r\nHost: x\r\n\r\n")
  #expect(eventually { waiting.withLock { $0.count == 1 } })
  let answer = try #require(waiting.withLock { $0.popLast() })
  answer(ControlResponse(body: Array("first".utf8)))
  answer(ControlResponse(body: Array("second".utf8)))
  #expect(raw.read { $0.hasSuffix("first") }.hasSuffix("first"))
  raw.send("GET /two HTTP/1.1\r\nHost: x\r\n\r\n")
  #expect(eventually { waiting.withLock { $0.count == 1 } })
  answer(ControlResponse(body: Array("third".utf8)))
  waiting.withLock { $0[0](ControlResponse(body: Array("right".utf8))) }
  #expect(raw.read { $0.hasSuffix("right") }.hasSuffix("\r\n\r\nright"))
}

@Test func `a request that the handler drops is answered with an error`() throws {
  let folder = Folder()
  let server = try ControlServer(path: folder.socket) { _, _ in }
  defer { server.stop() }
  let answer = try ControlClient(path: folder.socket).request("GET", "/")
  #expect(answer.status == 500)
  #expect(answer.errorMessage == "the daemon dropped the request without an answer")
}

@Test func `a handler that takes too long is given up`() throws {
  let folder = Folder()
  let kept = Mutex<[ControlServer.Answer]>([])
  var limits = ControlLimits()
  limits.handling = .milliseconds(100)
  let server = try ControlServer(path: folder.socket, limits: limits) { _, answer in kept.withLock { $0.append(answer) }
  }
  defer { server.stop() }
  #expect(try ControlClient(path: folder.socket).request("GET", "/").status == 504)
}

@Test func `requests that are sent ahead are answered in order`() throws {
  let folder = Folder()
  let server = try ControlServer(path: folder.socket) { request, answer in
    answer(ControlResponse(body: Array("<\(request.path)>".utf8)))
  }
  defer { server.stop() }
  let raw = try #require(RawClient(folder.socket))
  let requests = (0..<20).map { "POST /\($0) HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" }.joined()
  raw.send(requests + "GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
  let answers = raw.read()
  let places = (0..<20).map { answers.firstRange(of: "</\($0)>")?.lowerBound }
  #expect(places.allSatisfy { $0 != nil })
  #expect(places.compactMap { $0 } == places.compactMap { $0 }.sorted())
  #expect(answers.hasSuffix("</last>"))
}

@Test func `a client that waits to be told to go on is told`() throws {
  let folder = Folder()
  let server = try ControlServer(path: folder.socket, handler: echo)
  defer { server.stop() }
  let raw = try #require(RawClient(folder.socket))
  raw.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
  #expect(raw.read { $0.hasSuffix("\r\n\r\n") } == "HTTP/1.1 100 Continue\r\n\r\n")
  raw.send("body")
  #expect(raw.read().contains(#""body":"body""#))
}

@Test func `the answer to HEAD says how long it would be, and is not sent`() throws {
  let folder = Folder()
  let server = try ControlServer(path: folder.socket) { _, answer in answer(ControlResponse(body: Array("12345".utf8)))
  }
  defer { server.stop() }
  let raw = try #require(RawClient(folder.socket))
  raw.send("HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
  let answer = raw.read()
  #expect(answer.contains("Content-Length: 5\r\n"))
  #expect(answer.hasSuffix("\r\n\r\n"))
  #expect(try ControlClient(path: folder.socket).request("HEAD", "/").body.isEmpty)
}
