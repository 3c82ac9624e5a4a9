import Foundation
import Linux
import Testing

@testable import Telemetry

private let now = WallTime("2026-11-22T12:00:00Z")!

private let report = StatusReport(
  node: "lb1", version: "1.0.0", uptime_ms: 7_800_000, config_hash: "c0ffee",
  loop: .init(turns: 12_345, late_max_ms: 0.25),
  vips: [
    .init(
      name: "web", addresses: ["10.0.0.100", "2001:db8::100"], interface: "eth0", state: "active", owner: "lb1",
      priority: 254, since: "2026-11-22T11:56:56Z", reason: "no advert from anybody for 3.6 s", announcements: 3,
      interval_ms: 1000, adverts: ["sent": 42, "accepted": 1]),
    .init(
      name: "db", addresses: ["10.0.0.101"], interface: "eth1", state: "fault", owner: nil, priority: nil, since: nil,
      reason: "eth1 is down", announcements: 0, interval_ms: nil, adverts: [:]),
  ],
  services: [
    .init(
      name: "site", vip: "web", listen: "80", mode: "tcp", balance: "round-robin", state: "up", refused_at_limit: 0,
      refused_no_backend: 0,
      backends: [
        .init(
          name: "app1", address: "10.0.1.1:8080", state: "up", weight: 100, connections: 12, connections_total: 3456,
          connect_failures: 0, bytes_in: 1, bytes_out: 2,
          check: .init(last_ms: 0.87, since: "2026-11-22T11:00:00Z", message: "HTTP 200")),
        .init(
          name: "app2", address: "10.0.1.2:8080", state: "unknown", weight: 100, connections: 0, connections_total: 0,
          connect_failures: 0, bytes_in: 0, bytes_out: 0, check: .init(last_ms: nil, since: nil, message: nil)),
      ]),
    .init(
      name: "dead", vip: "db", listen: "5432", mode: "tcp", balance: "least-connections", state: "down",
      refused_at_limit: 0, refused_no_backend: 9,
      backends: [
        .init(
          name: "pg", address: "10.0.1.3:5432", state: "down", weight: 1, connections: 0, connections_total: 7,
          connect_failures: 7, bytes_in: 0, bytes_out: 0, check: nil)
      ]),
  ],
  peers: [
    .init(name: "lb2", address: "10.0.0.12", state: "up", last_seen_ms: 340),
    .init(name: "lb3", address: "10.0.0.13", state: "unknown", last_seen_ms: nil),
  ])

@Test func `a status comes back from its JSON as it was`() throws {
  let bytes = report.json()
  #expect(try StatusReport(json: bytes).json() == bytes)
  let text = String(decoding: bytes, as: UTF8.self)
  // What is absent is absent, and slashes are not escaped.
  #expect(!text.contains("null") && !text.contains("\\/"))
  let object = try #require(try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any])
  #expect(
    Set(object.keys) == ["api", "node", "version", "uptime_ms", "config_hash", "loop", "vips", "services", "peers"])
  #expect(object["api"] as? Int == 1)
  #expect(object["uptime_ms"] as? Double == 7_800_000)
}

@Test func `a status is three tables, and what is wrong`() {
  #expect(
    report.text(color: false, now: now) == """
      lb1  roost 1.0.0  up 2 h 10 min

      VIP  STATE   OWNER  ADDRESSES                         SINCE          WHY
      web  active  lb1    10.0.0.100 2001:db8::100 on eth0  3 min 4 s ago  no advert from anybody for 3.6 s
      db   fault   -      10.0.0.101 on eth1                -              eth1 is down

      SERVICE    BACKEND             STATE    CONN  TOTAL  CHECK
      site 80                        up                    tcp, round-robin
                 app1 10.0.1.1:8080  up       12    3456   HTTP 200, 0.87 ms
                 app2 10.0.1.2:8080  unknown  0     0      not checked yet
      dead 5432                      down                  tcp, least-connections
                 pg 10.0.1.3:5432    down     0     7      no check

      PEER  ADDRESS    STATE    HEARD
      lb2   10.0.0.12  up       340 ms ago
      lb3   10.0.0.13  unknown  -

      service dead: no backend is up; its clients are refused

      """)
}

@Test func `colour changes nothing but the colour`() throws {
  let coloured = report.text(color: true, now: now)
  #expect(coloured.contains("\u{1B}[32mactive") && coloured.contains("\u{1B}[31mfault"))
  #expect(coloured.replacing(try Regex("\u{1B}\\[[0-9]+m"), with: "") == report.text(color: false, now: now))
}

@Test func `durations are in the two units that matter`() {
  let cases: [(Double, String)] = [
    (0, "0 ms"), (340.9, "340 ms"), (999, "999 ms"), (12_000, "12 s"), (184_000, "3 min 4 s"),
    (7_800_000, "2 h 10 min"), (442_800_000, "5 d 3 h"), (-5, "0 ms"), (.nan, "0 ms"), (-.infinity, "0 ms"),
    (.infinity, "100000 d 0 h"), (1e300, "100000 d 0 h"),
  ]
  for (milliseconds, text) in cases { #expect(StatusReport.words(milliseconds: milliseconds) == text) }
}

@Test func `no answer of a daemon breaks the terminal or the program`() throws {
  var hostile = report
  hostile.uptime_ms = 1e300
  hostile.node = "lb\u{1B}[2J1"
  hostile.version = "\u{9B}31m"
  hostile.vips[0].reason = "\u{1B}]0;title\u{07}\r\nroot# \u{7F}"
  hostile.vips[0].since = "0001-01-01T00:00:00Z"
  hostile.vips[1].since = "9999-12-31T23:59:59Z"
  hostile.services[0].backends[0].check = .init(last_ms: -1e300, since: nil, message: "a\tb")
  hostile.services[0].backends[1].check = .init(last_ms: 1e300, since: nil, message: "\u{85}")
  hostile.services[1].name = "\u{1B}c"
  hostile.peers[0].last_seen_ms = 1e308
  let text = try StatusReport(json: hostile.json()).text(color: false, now: now)
  let controls = text.unicodeScalars.filter { $0 != "\n" && ($0.value < 0x20 || 0x7F...0x9F ~= $0.value) }
  #expect(controls.isEmpty)
  #expect(text.contains("lb\u{FFFD}[2J1  roost \u{FFFD}31m  up 100000 d 0 h\n"))
  // Not a line more than without.
  #expect(text.count { $0 == "\n" } == report.text(color: false, now: now).count { $0 == "\n" })
  #expect(throws: (any Error).self) { try StatusReport(json: Array(#"{"uptime_ms": 1e999}"#.utf8)) }
}

@Test func `a split brain is said first, with who, since when and what to look at`() throws {
  var split = report
  split.split_brains = [
    .init(vip: "web", owners: ["lb1", "lb2"], since: "2026-11-22T11:56:56Z", heard_from: "10.0.0.12")
  ]
  let bytes = split.json()
  #expect(try StatusReport(json: bytes).json() == bytes)
  let lines = split.text(color: false, now: now).split(separator: "\n", omittingEmptySubsequences: false)
  #expect(
    lines[2] == "SPLIT BRAIN: lb1 and lb2 own VIP web at the same time, since 2026-11-22T11:56:56Z (3 min 4 s ago)")
  #expect(lines[3].contains("does not hear this node's") && lines[3].contains("IP protocol 112"))
  let object = try #require(try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any])
  let told = try #require((object["split_brains"] as? [[String: Any]])?.first)
  #expect(Set(told.keys) == ["vip", "owners", "since", "heard_from", "advice"])
  #expect(split.text(color: true, now: now).contains("\u{1B}[31mSPLIT BRAIN"))
}

@Test(
  arguments: [
    (0.3, 0.1, 5000.0, "0.3 ms (± 0.1 ms) ahead", false), (-2600, 0.2, 5000, "2.6 s (± 0.2 ms) behind", true),
    (1e300, .nan, 5000, "100000 d 0 h (± 0 ms) ahead", true), (-2600, 0.2, nil, "2.6 s (± 0.2 ms) behind", false),
  ] as [(Double, Double, Double?, String, Bool)])
func `a peer's clock is shown, and what it may lead to`(
  ahead: Double, error: Double, window: Double?, words: String, isTooFar: Bool
) {
  var skewed = report
  skewed.clock_window_ms = window
  skewed.peers[0].clock_ahead_ms = ahead
  skewed.peers[0].clock_error_ms = error
  let text = skewed.text(color: false, now: now)
  #expect(text.contains("PEER  ADDRESS    STATE    HEARD       CLOCK"))
  #expect(text.contains("340 ms ago  \(words)\n"))
  #expect(text.contains("run chrony") == isTooFar)
}
