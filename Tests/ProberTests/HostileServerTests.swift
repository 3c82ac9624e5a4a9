import Basis
import Glibc
import Health
import Synchronization
import Testing
import Wire

@testable import Prober

@Test func `a backend that listens passes the TCP check, one that does not is refused`() throws {
  let server = try RawServer { waitForEnd($0) }
  let passed = try check(CheckTarget(address: loopback, port: server.port, check: .tcp))
  #expect(passed?.verdict == .passed)
  #expect(passed?.message == "connected")
  server.stop()
  let refused = try check(CheckTarget(address: loopback, port: server.port, check: .tcp))
  #expect(refused?.verdict == .failed)
  #expect(refused?.message == "connection refused")
}

@Test(arguments: [
  ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", CheckResult.Verdict.passed, "200 OK"),
  ("HTTP/1.1 503 Service Unavailable\r\n\r\n", .failed, "503 Service Unavailable"),
  ("HTTP/1.0 200\r\n\r\nbody without end", .passed, "200 OK"),
  (
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", .passed,
    "204 No Content"
  ),
  (
    "HTTP/1.1 500 \u{1B}]0;evil\u{7}\r\n\r\n", .failed,
    "no valid HTTP answer: the status line is not: version, status, reason"
  ),
  ("SSH-2.0-OpenSSH_9.2p1\r\n", .failed, "no valid HTTP answer: the version is not HTTP/1.0 or HTTP/1.1"),
  ("HTTP/1.1 200 OK\nX: y\n\n", .failed, "no valid HTTP answer: a line ends with LF instead of CR LF"),
  (
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", .failed,
    "no valid HTTP answer: there is more than one Content-Length"
  ),
  ("", .failed, "the connection ended before an answer"),
  ("HTTP/1.1 200 OK\r\n", .failed, "the connection ended before an answer"),
  (
    "HTTP/1.1 200 OK\r\nX: \(String(repeating: "x", count: 20000))\r\n\r\n", .failed,
    "no valid HTTP answer: the head is longer than 16384 bytes"
  ),
])
func `an answer is judged, and named`(answer: String, verdict: CheckResult.Verdict, message: String) throws {
  let server = try RawServer { client in
    readSome(client)
    write(client, answer)
    shutdown(client, Int32(SHUT_WR))
    waitForEnd(client)
  }
  defer { server.stop() }
  let result = try check(http(server.port))
  #expect(result?.verdict == verdict)
  #expect(result?.message == message)
}

@Test(arguments: [
  ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nokay!", CheckResult.Verdict.passed, "200 OK"),
  ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnope", .failed, "body lacks \"okay\""),
  ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n2\r\nay\r\n0\r\n\r\n", .passed, "200 OK"),
  (
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: okay\r\n\r\n", .failed,
    "body lacks \"okay\""
  ),
  ("HTTP/1.1 200 OK\r\n\r\nuntil the end: okay", .passed, "200 OK"),
  ("HTTP/1.1 200 OK\r\n\r\nuntil the end: no", .failed, "body lacks \"okay\""),
  ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nnot", .failed, "the connection ended inside the answer"),
  (
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz", .failed,
    "no valid HTTP answer: the size of a chunk is not a hexadecimal number"
  ),
  ("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nokay", .failed, "404 Not Found"),
])
func `the body is searched`(answer: String, verdict: CheckResult.Verdict, message: String) throws {
  let server = try RawServer { client in
    readSome(client)
    // One byte at a time: pieces must not matter.
    for byte in answer.unicodeScalars where !write(client, String(byte)) { break }
    shutdown(client, Int32(SHUT_WR))
    waitForEnd(client)
  }
  defer { server.stop() }
  let result = try check(http(server.port, contains: "okay"))
  #expect(result?.verdict == verdict)
  #expect(result?.message == message)
}

@Test func `a server that never answers costs its time-out, and says so`() throws {
  let server = try RawServer { waitForEnd($0) }
  defer { server.stop() }
  let result = try check(http(server.port, timeout: .milliseconds(150)))
  #expect(result?.verdict == .failed)
  #expect(result?.message == "timed out after 150 ms: no answer")
  #expect(try #require(result).latency >= .milliseconds(150))
}

@Test func `a server that goes on for ever, slowly, is given up at the time-out`() throws {
  let server = try RawServer { client in
    readSome(client)
    write(client, "HTTP/1.1 200 OK\r\n\r\n")
    while write(client, "x") { usleep(5_000) }
  }
  defer { server.stop() }
  let result = try check(http(server.port, contains: "y", timeout: .milliseconds(200)))
  #expect(result?.verdict == .failed)
  #expect(result?.message == "timed out after 200 ms: the answer is not complete")
}

@Test func `a server that sends without end is cut off at 64 KiB`() throws {
  let server = try RawServer { client in
    readSome(client)
    write(client, "HTTP/1.1 200 OK\r\n\r\n")
    while write(client, String(repeating: "x", count: 10_000)) {}
  }
  defer { server.stop() }
  let result = try check(http(server.port, contains: "y\u{1B}"))
  #expect(result?.verdict == .failed)
  #expect(result?.message == "the first 64 KiB of the body lack \"y?\"")
}

@Test func `a server that resets is told from one that ends`() throws {
  let server = try RawServer { client in
    readSome(client)
    var now = linger(l_onoff: 1, l_linger: 0)
    setsockopt(client, SOL_SOCKET, SO_LINGER, &now, socklen_t(MemoryLayout<linger>.size))
  }
  defer { server.stop() }
  let result = try check(http(server.port))
  #expect(result?.verdict == .failed)
  #expect(result?.message == "connection reset")
}

@Test func `a queue that is full looks like a backend that is away`() throws {
  let (listener, port) = try listening(backlog: 0)
  defer { close(listener) }
  let results = Results()
  let targets = [CheckTarget](
    repeating: CheckTarget(
      address: loopback, port: port, check: .http(path: "/", host: nil, statuses: [200...200], contains: nil),
      timeout: .milliseconds(200)), count: 4)
  let prober = try Prober(targets, report: results.report)
  defer { prober.stop() }
  for index in 0..<4 { prober.probe(index, number: UInt64(index + 1)) }
  #expect(eventually { results.all.count == 4 })
  #expect(results.all.allSatisfy { $0.result.verdict == .failed })
  #expect(results.all.contains { $0.result.message == "timed out after 200 ms: no connection" })
}

@Test func `the request is what was asked for`() throws {
  let seen = Mutex("")
  let server = try RawServer { client in
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = recv(client, &buffer, buffer.count, 0)
    seen.withLock { $0 = String(decoding: buffer[..<max(0, count)], as: UTF8.self) }
    write(client, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    waitForEnd(client)
  }
  defer { server.stop() }
  _ = try check(http(server.port, "/healthz?full=1", host: "app.example"))
  #expect(seen.withLock { $0 }.hasPrefix("GET /healthz?full=1 HTTP/1.1\r\nHost: app.example\r\n"))
  _ = try check(http(server.port))
  #expect(seen.withLock { $0 }.hasPrefix("GET / HTTP/1.1\r\nHost: 127.0.0.1:\(server.port)\r\n"))
}

@Test func `many probes are in flight at once, and each is reported once`() throws {
  let server = try RawServer(backlog: 512) { client in
    write(client, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    readSome(client)
  }
  defer { server.stop() }
  let results = Results()
  let prober = try Prober([CheckTarget](repeating: http(server.port), count: 300), report: results.report)
  defer { prober.stop() }
  for index in 0..<300 { prober.probe(index, number: UInt64(index)) }
  #expect(eventually { results.all.count >= 300 })
  #expect(Set(results.all.map(\.index)).count == 300)
  #expect(results.all.allSatisfy { $0.result.verdict == .passed && $0.number == UInt64($0.index) })
}

@Test func `a probe that is asked for again ends the one before, unreported`() throws {
  let server = try RawServer { waitForEnd($0) }
  defer { server.stop() }
  let results = Results()
  let prober = try Prober([http(server.port, timeout: .milliseconds(300))], report: results.report)
  defer { prober.stop() }
  for number in 1...5 as ClosedRange<UInt64> { prober.probe(0, number: number) }
  #expect(results.result(5)?.message == "timed out after 300 ms: no answer")
  #expect(results.all.map(\.number) == [5])
}
