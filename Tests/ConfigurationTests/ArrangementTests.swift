import Node
import Testing

@testable import Configuration

private func configuration(_ vips: [String], groups: String = "", trackers: String = "", secret: Bool = true) throws
  -> Configuration
{
  let text =
    """
    cluster:
      \(secret ? "secret: /etc/roost/secret" : "realtime: true")
      nodes: { lb1: 10.0.0.11, lb2: 10.0.0.12, lb3: 10.0.0.13 }
    vips:
    \(vips.joined(separator: "\n"))
    \(trackers)
    \(groups)
    """
  let reading = Configuration.read(text: text, file: "test.yaml")
  #expect(!reading.mistakes.hasError, "\(reading.mistakes.text())")
  return try #require(reading.configuration)
}

private func vip(_ name: String, _ id: Int, _ more: String = "") -> String {
  "  \(name): { addresses: 10.0.0.\(100 + id), vrrp: { id: \(id) }\(more) }"
}

private func settings(_ configuration: Configuration) -> NodeSettings {
  configuration.nodeSettings(for: "lb1", interface: { _ in "eth0" })
}

@Test func `what stays keeps its place, what goes leaves it empty, what comes fills what was empty before`() {
  let first = Places(["a", "b", "c"])
  #expect(first.indices == [0, 1, 2])
  // b goes and d comes: not at b's place, which is only now being emptied.
  let second = Places(["d", "c", "a"], after: ["a", "b", "c"])
  #expect(second.indices == [2, nil, 1, 0])
  #expect(second.places == [3, 2, 0])
  let names = second.arrange(["d", "c", "a"], vacant: "")
  #expect(names == ["a", "", "c", "d"])
  // The next change may use it.
  #expect(
    Places(["d", "c", "a", "e", "f"], after: names).arrange(["d", "c", "a", "e", "f"], vacant: "") == [
      "a", "e", "c", "d", "f",
    ])
  #expect(Places([], after: names).indices == [nil, nil, nil, nil])
}

@Test func `a reload moves no VIP to another number, and all that names one follows`() throws {
  let old = settings(
    try configuration(
      [vip("web", 1), vip("api", 2, ", track: { front: forbid }"), vip("mail", 3)],
      groups: "groups: { pair: [web, mail] }",
      trackers: "trackers: { front: { vip: web } }"))
  let changed = settings(
    try configuration(
      [vip("news", 9), vip("api", 2, ", track: { up: forbid, front: 5 }"), vip("mail", 3)],
      groups: "groups: { pair: [mail, news] }",
      trackers: "trackers: { up: { file: /run/up }, front: { vip: mail } }"))
  let new = changed.arranged(changed.arrangement(after: old))
  #expect(new.vips.map(\.name) == ["", "api", "mail", "news"])
  #expect(new.vips[0].isVacant)
  #expect(new.trackers.map(\.name) == ["front", "up"])
  #expect(new.trackers[0].source == .vip(2))
  #expect(
    new.vips[1].tracks == [
      VIPSettings.Track(tracker: 1, consequence: .forbid), VIPSettings.Track(tracker: 0, consequence: .lower(5)),
    ])
  #expect(new.groups == [[2, 3]])
  #expect(new.peers == ["lb2", "lb3"])
  // Without the secret there is no peer link any more, and back again.
  let silent = settings(try configuration([vip("mail", 3)], secret: false))
  let quiet = silent.arranged(silent.arrangement(after: new))
  #expect(quiet.peers == ["", ""])
  #expect(quiet.vips.map(\.name) == ["", "", "mail", ""])
  #expect(quiet.trackers.map(\.isVacant) == [true, true])
}

@Test func `the same settings again are the same settings`() throws {
  let value = try configuration([vip("web", 1), vip("api", 2)])
  let first = settings(value)
  #expect(first.arranged(first.arrangement(after: first)) == first)
  #expect(first.arranged(first.arrangement(after: nil)) == first)
}

@Test func `a difference says what changes, part by part`() throws {
  let old = try configuration([vip("web", 1), vip("api", 2)])
  var new = try configuration(
    [vip("web", 1, ", drain: 5s, track: { up: 1 }"), vip("mail", 3)], trackers: "trackers: { up: { file: /run/up } }")
  new.cluster.realtime = false
  let difference = old.difference(to: new)
  #expect(difference.lines == ["VIP web: drain, track", "VIP mail: new", "VIP api: removed", "tracker up: new"])
  #expect(difference.needRestart == ["cluster: realtime"])
  #expect(old.difference(to: old).isEmpty)
}

@Test func `whatever counts for the hash counts for the difference`() throws {
  let base = try #require(Configuration.read(text: WrongForms.base, file: "base.yaml").configuration)
  for file in WrongForms.right {
    guard let value = Configuration.read(text: file.text, file: "x").configuration else { continue }
    #expect(base.difference(to: value).isEmpty == (base.hash == value.hash), "\(file.change)")
  }
}
