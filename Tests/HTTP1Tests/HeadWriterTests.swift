import HTTP1
import Testing

@Test func `what is written can be read`() throws {
  var writer = try HeadWriter(method: "GET", target: "/healthz?full=1")
  try writer.field("Host", "app")
  try writer.field("X-Note", "a\tb é")
  writer.finish()
  let reading = read(.request, writer.bytes)
  #expect(reading.first == ["GET", "/healthz?full=1", "1.1"])
  #expect(reading.fields == ["Host=app", "X-Note=a\tb é"])

  var answer = try HeadWriter(status: 503)
  try answer.field("Content-Length", "0")
  answer.finish()
  #expect(read(.response, answer.bytes).first == ["503", "Service Unavailable", "1.1"])
}

@Test(arguments: ["a\r\nX: y", "a\n", "a\r", "a\0", "a\u{7F}"])
func `nothing can be smuggled into a head that is written`(evil: String) {
  #expect(throws: MessageError.self) { try HeadWriter(method: evil, target: "/") }
  #expect(throws: MessageError.self) { try HeadWriter(method: "GET", target: "/" + evil) }
  #expect(throws: MessageError.self) { try HeadWriter(status: 200, reason: evil) }
  #expect(throws: MessageError.self) {
    var writer = try HeadWriter(status: 200)
    try writer.field("X", evil)
  }
  #expect(throws: MessageError.self) {
    var writer = try HeadWriter(status: 200)
    try writer.field(evil, "x")
  }
}

@Test(arguments: ["", "a b", "a:"])
func `a method or a field name is a token`(name: String) {
  #expect(throws: MessageError.invalidMethod) { try HeadWriter(method: name, target: "/") }
}
