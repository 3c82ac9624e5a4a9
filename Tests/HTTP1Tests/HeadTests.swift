import HTTP1
import Testing

@Test func `a request is read into its parts`() {
  let reading = request("POST /a?b=c HTTP/1.1\r\nHost: app:80\r\nX-Empty:\r\nContent-Length:  5 \t\r\n\r\nhelloGET /")
  #expect(reading.first == ["POST", "/a?b=c", "1.1"])
  #expect(reading.fields == ["Host=app:80", "X-Empty=", "Content-Length=5"])
  #expect(reading.framing == .length(5))
  #expect(reading.body == Array("hello".utf8))
  #expect(reading.rest == 5)
  #expect(reading.keepsAlive)
}

@Test func `an answer is read into its parts`() {
  let reading = response("HTTP/1.0 404 Not Found at all\r\nServer: x\r\n\r\ngone")
  #expect(reading.first == ["404", "Not Found at all", "1.0"])
  #expect(reading.framing == .untilClose)
  #expect(reading.body == Array("gone".utf8))
  #expect(!reading.keepsAlive)
}

@Test func `a field is found by its name in any case`() throws {
  let bytes = Array("GET / HTTP/1.1\r\nHOST: a\r\ncontent-TYPE: text/plain\r\n\r\n".utf8)
  var scanner = RequestScanner()
  let found = try scanner.scan(bytes.span)
  let head = try #require(found)
  let value = head.value(of: "Content-Type", in: bytes.span)
  #expect(bytes.span.text(try #require(value)) == "text/plain")
  let absent = head.value(of: "Content-Typ", in: bytes.span)
  #expect(absent == nil)
}

@Test func `a scanner reads the next message after a reset`() throws {
  var scanner = RequestScanner()
  for path in ["/one", "/two"] {
    let bytes = Array("GET \(path) HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
    let found = try scanner.scan(bytes.span)
    let head = try #require(found)
    #expect(bytes.span.text(head.target) == path)
    #expect(head.fields.count == 1)
    scanner.reset()
  }
}

@Test(arguments: [
  ("HTTP/1.1", "", true), ("HTTP/1.1", "Connection: close\r\n", false),
  ("HTTP/1.1", "Connection: x , CLOSE\r\n", false),
  ("HTTP/1.0", "", false), ("HTTP/1.0", "Connection: Keep-Alive\r\n", true),
  ("HTTP/1.0", "Connection: keep-alive, close\r\n", false), ("HTTP/1.1", "Connection: ,,,\r\n", true),
  ("HTTP/1.1", "Connection: closed\r\n", true),
])
func `whether a connection goes on follows version and Connection`(version: String, field: String, expected: Bool) {
  #expect(request("GET / \(version)\r\nHost: a\r\n\(field)\r\n").keepsAlive == expected)
}

@Test(arguments: [
  ("GET /\r\nHost: a\r\n\r\n", MessageError.invalidRequestLine),
  ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", .invalidRequestLine),
  ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", .unsupportedVersion),
  ("GET / x HTTP/1.1\r\nHost: a\r\n\r\n", .unsupportedVersion),
  (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", .invalidMethod),
  ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", .invalidMethod),
  ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", .invalidRequestLine),
  ("GET /\u{7F} HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
  ("GET /é HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
  ("GET path HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
  ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
  ("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
  ("CONNECT http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
  ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", .unsupportedVersion),
  ("GET / http/1.1\r\nHost: a\r\n\r\n", .unsupportedVersion),
  ("GET / HTTP/1.11\r\nHost: a\r\n\r\n", .unsupportedVersion),
  ("GET / HTTP/1.1\nHost: a\n\n", .bareLineFeed),
  ("GET / HTTP/1.1\r\nHost: a\n\r\n", .bareLineFeed),
  ("GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n", .bareCarriageReturn),
  ("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", .bareCarriageReturn),
  ("GET / HTTP/1.1\r\nHost: a\r\n\rX", .bareCarriageReturn),
  ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", .invalidRequestLine),
  ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", .bareLineFeed),
  ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", .foldedField),
  ("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", .foldedField),
  ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", .spaceBeforeColon),
  ("GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n", .invalidFieldName),
  ("GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", .invalidFieldName),
  ("GET / HTTP/1.1\r\nHost: a\r\nX(y): z\r\n\r\n", .invalidFieldName),
  ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", .invalidFieldValue),
  ("GET / HTTP/1.1\r\nHost: a\r\nX: a\u{1B}[0m\r\n\r\n", .invalidFieldValue),
  ("GET / HTTP/1.1\r\n\r\n", .missingHost),
  ("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", .repeatedHost),
  ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", .invalidHost),
  ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", .invalidHost),
  ("GET / HTTP/1.1\r\nHost: u@b\r\n\r\n", .invalidHost),
  ("GET / HTTP/1.1\r\nHost: a\r\n", .truncated),
])
func `a head that is not as the RFC says is refused, and named`(text: String, error: MessageError) {
  #expect(request(text).error == error)
}

@Test(arguments: [
  "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
  "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
  "GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost:\r\n\r\n",
  "GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\nX:\u{E9}\r\n\r\n", "M-SEARCH!#$ / HTTP/1.1\r\nHost: a\r\n\r\n",
])
func `what is unusual but allowed is read`(text: String) {
  let reading = request(text)
  #expect(reading.error == nil)
  #expect(reading.isComplete)
}

@Test(
  arguments: [
    ("HTTP/1.1 200\r\n\r\n", nil), ("HTTP/1.1 200 \r\n\r\n", nil),
    ("HTTP/1.1 20 OK\r\n\r\n", MessageError.invalidStatusLine),
    ("HTTP/1.1 2000 OK\r\n\r\n", .invalidStatusLine), ("HTTP/1.1 099 OK\r\n\r\n", .invalidStatusLine),
    ("HTTP/1.1 600 OK\r\n\r\n", .invalidStatusLine), ("HTTP/1.1  200 OK\r\n\r\n", .invalidStatusLine),
    ("HTTP/1.1 +20 OK\r\n\r\n", .invalidStatusLine), ("HTTP/1.1 200 O\u{7}K\r\n\r\n", .invalidStatusLine),
    ("ICY 200 OK, more\r\n\r\n", .unsupportedVersion), ("SSH-2.0-OpenSSH_9.2\r\n", .unsupportedVersion),
    ("\r\nHTTP/1.1 200 OK\r\n\r\n", .invalidStatusLine),
  ] as [(String, MessageError?)])
func `a status line is three digits behind a version`(text: String, error: MessageError?) {
  #expect(response(text).error == error)
}

@Test func `limits hold, to the byte`() {
  let head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
  let size = head.utf8.count
  #expect(request(head, limits: Limits(head: size)).error == nil)
  #expect(request(head, limits: Limits(head: size - 1)).error == .headTooLarge(limit: size - 1))
  #expect(request(head, limits: Limits(startLine: 16)).error == nil)
  #expect(request(head, limits: Limits(startLine: 15)).error == .startLineTooLong(limit: 15))
  #expect(request(head, limits: Limits(fields: 1)).error == nil)
  #expect(request(head, limits: Limits(fields: 0)).error == .tooManyFields(limit: 0))
  #expect(request(String(repeating: "A", count: 1 << 20)).error == .startLineTooLong(limit: 8192))
  let many = "GET / HTTP/1.1\r\nHost: a\r\n" + String(repeating: "a:\r\n", count: 5000)
  #expect(request(many).error == .tooManyFields(limit: 100))
}

@Test func `every error says what is wrong and has a status`() {
  let errors: [MessageError] = [
    .headTooLarge(limit: 1), .startLineTooLong(limit: 1), .unsupportedVersion, .bareLineFeed,
  ]
  #expect(errors.map(\.status) == [431, 414, 505, 400])
  #expect(errors.allSatisfy { !$0.description.isEmpty })
}
