import Basis
import Glibc
import Linux
import Testing

private let measuredRuns = getenv("ROOST_MEASURE").flatMap { Int(String(cString: $0)) } ?? 0

/// How quick the guardian is, in numbers: `ROOST_MEASURE=20 swift test --filter MeasureTests`. Nothing is asserted of times.
@Suite(
  .serialized,
  .enabled(if: canMakeNamespaces && roostProgram != nil && measuredRuns > 0, "asked for by ROOST_MEASURE=RUNS"))
struct MeasureTests {
  @Test(arguments: [0, 1000, 9000])
  func `from kill -9 to farewell and address gone`(connections: Int) throws {
    var (farewells, removals) = ([Double](), [Double]())
    for _ in 0..<measuredRuns {
      try Stage.run { stage in
        let capture = try Capture(on: stage.there)
        let addresses = try AddressLog(on: stage.here)
        let daemon = try stage.start("lb1", interval: "20ms", connections: connections)
        try #require(eventually { (try? stage.hasVIP()) == true && daemon.guardian != nil }, "\(daemon.logText)")
        usleep(100_000)
        let killed = Clock.now()
        daemon.signal(SIGKILL)
        try #require(
          eventually {
            capture.adverts.all.contains { $0.entry.priority == 0 } && addresses.changes.all.contains { !$0.entry }
          })
        let said = try #require(capture.adverts.all.first { $0.entry.priority == 0 })
        let gone = try #require(addresses.changes.all.first { !$0.entry })
        farewells.append((said.at - killed).milliseconds)
        removals.append((gone.at - killed).milliseconds)
      }
    }
    print("\(connections) connections: farewell \(summary(farewells)), address gone \(summary(removals)) ms")
  }

  @Test func `from SIGSTOP to farewell, and what a daemon says afterwards, at 10 ms adverts`() throws {
    var (farewells, late) = ([Double](), 0)
    for _ in 0..<measuredRuns {
      try Stage.run { stage in
        let capture = try Capture(on: stage.there)
        let daemon = try stage.start("lb1", interval: "10ms")
        try #require(eventually { (try? stage.hasVIP()) == true && daemon.guardian != nil })
        let other = try stage.start("lb2", interval: "10ms")
        try #require(eventually { other.vipState == "backup" })
        // Anywhere in the loop's turn.
        usleep(UInt32.random(in: 100_000..<110_000))
        let stopped = Clock.now()
        daemon.signal(SIGSTOP)
        try #require(eventually { capture.adverts.all.contains { $0.entry.source == 1 && $0.entry.priority == 0 } })
        let said = try #require(capture.adverts.all.first { $0.entry.source == 1 && $0.entry.priority == 0 })
        farewells.append((said.at - stopped).milliseconds)
        try #require(eventually { (try? stage.hasVIP(stage.there)) == true })
        let continued = Clock.now()
        daemon.signal(SIGCONT)
        try #require(eventually { daemon.vipState == "backup" })
        usleep(100_000)
        for advert in capture.adverts.all where advert.at > said.at && advert.entry.source == 1 {
          late += 1
          print(
            "\(advert.entry) \((advert.at - said.at).milliseconds) ms after the farewell, \((advert.at - continued).milliseconds) ms after SIGCONT"
          )
        }
        for claim in capture.announcements.all where claim.at > said.at && claim.entry == 1 {
          late += 1
          print(
            "announcement \((claim.at - said.at).milliseconds) ms after the farewell, \((claim.at - continued).milliseconds) ms after SIGCONT: \(daemon.logText)"
          )
        }
      }
    }
    print("SIGSTOP at 10 ms adverts: farewell \(summary(farewells)) ms; packets of the old owner afterwards: \(late)")
    #expect(late == 0)
  }

  @Test func `memory and processor time of both, and 200 VIPs at once`() throws {
    try Stage.run { stage in
      let capture = try Capture(on: stage.there)
      let daemon = try stage.start("lb1", vips: 200)
      try #require(
        eventually { daemon.logText.contains("vip199: active") || capture.adverts.all.contains { $0.entry.id == 200 } })
      let guardian = try #require(daemon.guardian)
      usleep(500_000)
      for (name, pid) in [("daemon", daemon.pid), ("guardian", guardian)] {
        let before = try processorTime(pid)
        sleep(5)
        let used = try processorTime(pid) - before
        let memory = try shell(
          "grep -E 'VmRSS|VmLck' /proc/\(pid)/status; grep -E '^(Pss|Private_Dirty):' /proc/\(pid)/smaps_rollup")
        print(
          "\(name), 200 VIPs at 100 ms: \(used / 50_000_000) % of a processor; \(memory.split(whereSeparator: \.isWhitespace).joined(separator: " "))"
        )
      }
      let killed = Clock.now()
      daemon.signal(SIGKILL)
      try #require(eventually { capture.adverts.all.filter { $0.at > killed && $0.entry.priority == 0 }.count == 200 })
      let said = capture.adverts.all.filter { $0.at > killed && $0.entry.priority == 0 }.map {
        ($0.at - killed).milliseconds
      }
      #expect(eventually { daemon.isGone() && !isRunning(guardian) })
      let left = try shell("ip address show dev eth0 | grep -c 'inet 10.9.1.' || true")
      print(
        "200 VIPs: farewells from \(said.min() ?? -1) to \(said.max() ?? -1) ms; \(daemon.logText.split(separator: "\n").last ?? "")"
      )
      #expect(left.hasPrefix("0"))
    }
  }

  /// Of all threads, in nanoseconds.
  private func processorTime(_ pid: Int32) throws -> Double {
    let text = try shell("cat /proc/\(pid)/task/*/schedstat")
    return text.split(separator: "\n").compactMap { $0.split(separator: " ").first.flatMap { Double($0) } }.reduce(0, +)
  }

  private func summary(_ values: [Double]) -> String {
    let sorted = values.sorted()
    guard let first = sorted.first, let last = sorted.last else { return "nothing" }
    func text(_ value: Double) -> String { "\((value * 1000).rounded() / 1000)" }
    return "min \(text(first)) median \(text(sorted[sorted.count / 2])) max \(text(last))"
  }
}
