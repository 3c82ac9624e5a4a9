import Basis
import Foundation
import Testing

@testable import Configuration

/// Each way in which a file can be large without meaning anything. `ROOST_TIMES=1` makes them as large as a file may be,
/// and prints what each takes.
private let hostile: [(name: String, text: String)] = {
  let size = ProcessInfo.processInfo.environment["ROOST_TIMES"] == nil ? 100_000 : SourceText.maximumSize
  func fill(_ start: String, _ piece: (Int) -> String) -> String {
    var text = start
    var index = 0
    while text.utf8.count < size - 40 {
      text += piece(index)
      index += 1
    }
    return text
  }
  let head = "cluster: { nodes: { lb1: 10.0.0.11, lb2: 10.0.0.12 } }\n"
  return [
    ("brackets", fill("a: ") { _ in "[" }),
    ("braces", fill("a: ") { _ in "{" }),
    ("nested and closed", fill("") { _ in "- " }),
    ("unknown keys", fill("") { "k\($0): 1\n" }),
    ("one long line", fill("cluster: { nodes: {") { "n\($0): x, " }),
    ("one key over and over", fill("") { _ in "a: 1\n" }),
    ("keys twice", fill("") { "k\($0 / 2): 1\n" }),
    ("aliases", fill("a: &a [x]\nb: [") { _ in "*a, " }),
    ("anchors", fill("") { "- &a\($0) x\n" }),
    (
      "expansion",
      "a0: &a0 [x,x]\n" + (1...60).map { "a\($0): &a\($0) [*a\($0 - 1), *a\($0 - 1)]\n" }.joined() + "? *a60\n: 1\n"
    ),
    ("quotes", fill("a: ") { _ in "\"" }),
    (
      "VIPs with one id",
      fill(head + "vips:\n") { "  v\($0): { addresses: 10.0.0.1, interface: e\($0), vrrp: { id: 1 } }\n" }
    ),
    (
      "ports",
      fill(
        head
          + "vips: { v: { addresses: 10.0.0.100, vrrp: { id: 1 } } }\nservices: { s: { vip: v, backends: { a: 10.0.0.1 }, listen: ["
      ) { "\($0 % 65_535 + 1)/tcp, " } + "1/tcp] } }\n"
    ),
    (
      "names that are not there",
      fill(head + "vips:\n") { "  v\($0): { addresses: 10.0.0.1, prefer: [lb\($0)], vrrp: { id: 1 } }\n" }
    ),
    ("spaces", fill("a:") { _ in " " }),
    ("comment", fill("# ") { _ in "*" }),
    ("question marks", fill("") { _ in "? " }),
    ("block text", fill("a: |\n") { _ in " *\n" }),
  ]
}()

@Test(arguments: hostile.map(\.name))
func `a large file without meaning is refused, with few words`(name: String) throws {
  let text = try #require(hostile.first { $0.name == name }).text
  let clock = ContinuousClock()
  let start = clock.now
  let reading = Configuration.read(text: text, file: "hostile.yaml")
  let output = reading.mistakes.text()
  if ProcessInfo.processInfo.environment["ROOST_TIMES"] != nil {
    print("\(name): \(text.utf8.count) bytes, \(clock.now - start), \(reading.mistakes.count) mistakes")
  }
  #expect(reading.configuration == nil)
  #expect(!reading.mistakes.isEmpty)
  #expect(reading.mistakes.count <= Mistakes.maximum + 1)
  #expect(output.utf8.count < 200_000)
}

@Test func `a file above the limit is not looked into`() {
  let reading = Configuration.read(
    bytes: [UInt8](repeating: 0x20, count: SourceText.maximumSize + 1), file: "large.yaml")
  #expect(reading.mistakes.text() == "large.yaml: error: the file is too large: 1048577 bytes, 1048576 at most")
}

/// What a fuzzer does at length, briefly and from a seed: pieces of right and wrong files, cut, doubled, exchanged, overwritten.
@Test func `no mutation of a file crashes the reader, or gives nothing`() throws {
  var seeds = try Folder.names(Folder.golden).map { try Folder.bytes(Folder.golden, "\($0).yaml") }
  seeds += try Folder.names(Folder.examples).map { try Folder.bytes(Folder.examples, "\($0).yaml") }
  seeds = seeds.filter { 1...4000 ~= $0.count }
  let pieces = [
    "*a", "&a ", "<<: ", "? ", ": ", "\n", "\t", "\"", "'", "[", "]", "{", "}", "- ", "|", "#", "%", "---\n", "!x ",
    "\u{0}",
    "\u{FEFF}", "\u{10FFFD}", "é", "\r", "0", "-1", "1e9", "99999999999999999999", "100ms", "::", "/", "lb1", "null",
    "~",
  ]
  var random = SplitMix64(seed: 1)
  func below(_ bound: Int) -> Int { Int(random.next(below: UInt64(max(1, bound)))) }
  for _ in 0..<3000 {
    var bytes = seeds[below(seeds.count)]
    for _ in 0...below(4) {
      let start = below(bytes.count + 1), end = min(bytes.count, start + below(20))
      switch below(5) {
      case 0: bytes.removeSubrange(start..<end)
      case 1: bytes.insert(contentsOf: bytes[start..<end], at: below(bytes.count + 1))
      case 2: bytes.insert(contentsOf: Array(pieces[below(pieces.count)].utf8), at: start)
      case 3: if start < bytes.count { bytes[start] = UInt8(below(256)) }
      default:
        let other = seeds[below(seeds.count)]
        bytes.replaceSubrange(start..<end, with: other.dropFirst(below(other.count)).prefix(below(60)))
      }
    }
    let reading = Configuration.read(bytes: bytes, file: "mutation.yaml")
    #expect((reading.configuration == nil) == reading.mistakes.hasError)
    #expect(!reading.mistakes.text(colour: true).contains("\u{0}"))
  }
}
