import Basis
import Testing

@testable import Telemetry

private func at(_ time: Duration) -> Instant { Instant(nanoseconds: 1_000_000_000_000) + time }

private func line(_ text: String, cause: String? = nil) -> LineFolder.Line {
  LineFolder.Line(level: .warning, text: text, cause: cause)
}

@Test func `repeated lines of one cause become one, and then fewer and fewer`() {
  var folder = LineFolder()
  var written: [String] = []
  let write: (LogLevel, String) -> Void = { written.append($1) }
  for index in 0..<10 { folder.admit(line("advert \(index) was refused"), at: at(.milliseconds(index)), write) }
  #expect(written == ["advert 0 was refused", "advert 1 was refused", "advert 2 was refused"])
  #expect(folder.deadline == at(.seconds(10)))
  folder.expire(at: at(.seconds(10)), write)
  #expect(written.last == "… and 7 more like it in 10 s, the last: advert 9 was refused")
  // It goes on: nothing at once, and the window is twice as long.
  folder.admit(line("advert 11 was refused"), at: at(.seconds(11)), write)
  folder.expire(at: at(.seconds(29)), write)
  #expect(written.count == 4)
  folder.expire(at: at(.seconds(30)), write)
  #expect(written.last == "advert 11 was refused")
  // A quiet window, and it is as if nothing had been.
  folder.expire(at: at(.seconds(70)), write)
  #expect(folder.deadline == nil)
  folder.admit(line("advert 12 was refused"), at: at(.seconds(71)), write)
  #expect(written.last == "advert 12 was refused")
}

@Test func `another cause is not held back, and the end says what was`() {
  var folder = LineFolder()
  var written: [String] = []
  for index in 0..<5 {
    folder.admit(line("web: active \(index)", cause: "active web"), at: at(.seconds(1))) { written.append($1) }
    folder.admit(line("api: active \(index)", cause: "active api"), at: at(.seconds(1))) { written.append($1) }
  }
  #expect(written.count == 6)
  folder.expire(at: at(.seconds(2)), isLast: true) { written.append($1) }
  #expect(
    written.suffix(2) == [
      "… and 2 more like it in 1 s, the last: api: active 4", "… and 2 more like it in 1 s, the last: web: active 4",
    ])
}

/// Split brain of 255 VIPs: at each interval of 100 ms each hears the other owner, and every few seconds one makes way and comes back.
@Test func `an hour of split brain writes less than 1 MB`() {
  var folder = LineFolder()
  var size = 0
  var lines = 0
  let write: (LogLevel, String) -> Void = {
    size += "2026-11-22T13:14:23.000042Z warning \($1)\n".utf8.count
    lines += 1
  }
  for tick in 0..<36_000 {
    let now = at(.milliseconds(tick * 100))
    folder.expire(at: now, write)
    for vip in 0..<255 where (tick + vip) % 10 == 0 {
      folder.admit(
        line(
          "vip v\(vip): 10.0.0.12 (02:00:00:00:\(tick % 90):0c) claims 10.0.0.\(vip) too", cause: "conflict v\(vip)"),
        at: now, write)
      folder.admit(
        line("vip v\(vip): active (a better advert from 10.0.0.12)", cause: "active v\(vip)"), at: now, write)
      // Texts that differ in more than digits, as nobody should make them: each is a cause of its own.
      folder.admit(line("vip v\(vip): \(String(tick, radix: 16)) \(String(tick * vip, radix: 36))"), at: now, write)
    }
  }
  folder.expire(at: at(.seconds(3600)), isLast: true, write)
  print("an hour of split brain of 255 VIPs: \(size) bytes in \(lines) lines")
  #expect(size < 1_000_000)
  #expect(lines > 255)
}

@Test func `beyond the budget lines are counted, and that is said when there is room`() {
  var limits = LineFolder.Limits()
  limits.burst = 1000
  limits.bytesPerSecond = 1000
  var folder = LineFolder(limits)
  var written: [String] = []
  for index in 0..<100 {
    folder.admit(line(String(repeating: "x", count: 60), cause: "\(index)"), at: at(.zero)) { written.append($1) }
  }
  #expect(written.count == 10)
  folder.expire(at: at(.milliseconds(500))) { written.append($1) }
  #expect(written.count == 10)
  folder.expire(at: at(.seconds(2))) { written.append($1) }
  #expect(written.last == "90 lines were left out: there were more than the log may take")
}

@Test func `what was said last is seen soon after it has become quiet, however long the window`() {
  var folder = LineFolder()
  var written: [String] = []
  let write: (LogLevel, String) -> Void = { written.append($1) }
  // A tracker that flaps for half an hour: by then a window is ten minutes long.
  for second in 0..<1800 {
    folder.expire(at: at(.seconds(second)), write)
    folder.admit(line("uplink: \(second % 2 == 0 ? "bad" : "good")", cause: "uplink"), at: at(.seconds(second)), write)
  }
  let before = written.count
  #expect(folder.deadline.map { $0 <= at(.seconds(1829)) } == true)
  folder.expire(at: at(.seconds(1829)), write)
  #expect(written.count == before + 1)
  #expect(written.last?.hasSuffix("the last: uplink: good") == true)
}

@Test func `what there is no room for is said when there is`() {
  var limits = LineFolder.Limits()
  limits.burst = 200
  limits.bytesPerSecond = 1
  var folder = LineFolder(limits)
  var written: [String] = []
  let write: (LogLevel, String) -> Void = { written.append($1) }
  for index in 0..<8 { folder.admit(line("state \(index)", cause: "state"), at: at(.milliseconds(index)), write) }
  let before = written.count
  folder.expire(at: at(.seconds(10)), write)
  #expect(written.count == before)
  for second in stride(from: 20, through: 900, by: 10) { folder.expire(at: at(.seconds(second)), write) }
  #expect(written.contains { $0.hasSuffix("the last: state 7") })
}
