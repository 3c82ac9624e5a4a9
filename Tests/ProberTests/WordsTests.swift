import HTTP1
import Testing

@testable import Prober

@Test(arguments: [
  ("Service Unavailable", "503 Service Unavailable"), ("", "503 Service Unavailable"),
  ("a\u{1B}[31mred\u{7}", "503 a?[31mred?"), ("\u{9B}2J\u{202E}evil\u{2028}x\u{200B}", "503 ?2J?evil?x?"),
  (String(repeating: "x", count: 5000), "503 " + String(repeating: "x", count: 120) + "…"),
])
func `what a server says is one short line that a terminal need not fear`(reason: String, expected: String) {
  #expect(Words.status(503, reason) == expected)
}

@Test func `a text is found however the body grew`() {
  for size in 1...7 {
    var search = Search(Array("ok!".utf8))
    let body = Array("o ook oook! ok".utf8)
    var grown: [UInt8] = []
    var found = false
    for start in stride(from: 0, to: body.count, by: size) {
      grown += body[start..<min(start + size, body.count)]
      found = found || search.advance(in: grown)
    }
    #expect(found)
  }
  var absent = Search(Array("okay".utf8))
  let foundAbsent = absent.advance(in: Array("okaokaoka".utf8))
  #expect(!foundAbsent)
  var empty = Search([])
  let foundEmpty = empty.advance(in: [])
  #expect(foundEmpty)
}
