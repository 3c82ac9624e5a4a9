import Foundation
import Testing

@testable import Configuration

@Test(arguments: [
  ("100ms", Duration.milliseconds(100)), ("1s", .seconds(1)), ("1.5s", .milliseconds(1500)),
  ("40.95s", .milliseconds(40_950)),
  ("5m", .seconds(300)), ("1h", .seconds(3600)), ("0s", .zero), ("0.000001ms", .nanoseconds(1)),
  ("0.5h", .seconds(1800)),
])
func `a duration is a number and a unit`(text: String, duration: Duration) {
  #expect(DurationText.read(text) == duration)
  #expect(DurationText.read(DurationText.write(duration)) == duration)
}

@Test(arguments: [
  "", "s", "1", "1d", "1 s", "-1s", "+1s", ".5s", "1.s", "1.2.3s", "1e3s", "1000000000s", "1.0000001s", "1S", "1us",
])
func `what is no duration is refused`(text: String) {
  #expect(DurationText.read(text) == nil)
}

@Test(arguments: [
  ("80/tcp", "80/tcp"), ("8000-8010/tcp", "8000-8010/tcp"), ("80-80/tcp", "80/tcp"), ("65535/tcp", "65535/tcp"),
])
func `ports are read and written alike`(text: String, written: String) {
  #expect(Configuration.Listen(text)?.description == written)
}

@Test(arguments: [
  "80", "80/udp", "0/tcp", "65536/tcp", "080/tcp", "90-80/tcp", "1-2-3/tcp", "-80/tcp", "80/tcp/tcp", "/tcp",
])
func `what are no ports is refused`(text: String) {
  #expect(Configuration.Listen(text) == nil)
}

@Test func `the nearest word is meant, and none where two are as near`() {
  #expect(nearest("sevrices", among: ["services", "vips", "cluster"]) == "services")
  #expect(nearest("Vips", among: ["services", "vips", "cluster"]) == "vips")
  #expect(nearest("lb3", among: ["lb1", "lb2"]) == nil)
  #expect(nearest("zebra", among: ["services", "vips"]) == nil)
  #expect(nearest("", among: ["a"]) == nil)
  #expect(editDistance(Array("abcd".utf8), Array("abdc".utf8)) == 1)
  #expect(editDistance(Array("abc".utf8), Array("".utf8)) == 3)
}

@Test func `mistakes as JSON are read by a JSON reader`() throws {
  struct Record: Decodable, Equatable {
    var severity, file, message: String
    var line, column, length: Int?
    var suggestion: String?
  }
  let reading = Configuration.read(
    text: "cluster:\n  nodes: { lb1: \"a\\\"b\\\\\" }\n  sekret: /x\n", file: "a \"b\".yaml")
  let records = try JSONDecoder().decode([Record].self, from: Data(reading.mistakes.json.utf8))
  #expect(records.map(\.message) == reading.mistakes.map(\.message))
  #expect(
    records.last
      == Record(
        severity: "error", file: "a \"b\".yaml", message: "unknown key 'sekret' of the cluster", line: 3, column: 3,
        length: 6,
        suggestion: "did you mean 'secret'?"))
  #expect([Mistake]().json == "[]")
}

@Test func `colour is only escape sequences more`() throws {
  let reading = Configuration.read(text: "clusters: 1\n", file: "x.yaml")
  let coloured = reading.mistakes.text(colour: true)
  #expect(coloured.contains("\u{1B}[1;31m"))
  #expect(coloured.replacing(try Regex("\u{1B}\\[[0-9;]*m"), with: "") == reading.mistakes.text())
}
