import Basis
import Health
import Testing

/// A monitor and the time, driven as the node drives it: by its deadline and by results.
private struct Bench {
  var monitor: Monitor
  var now = Instant(nanoseconds: 0)
  var changes: [String] = []
  var probing: UInt64?

  init(_ settings: Settings = Settings(jitter: 0), seed: UInt64 = 1) {
    monitor = Monitor(settings, seed: seed)
    give(.start)
  }

  mutating func give(_ input: Monitor.Input) {
    var outputs: [Monitor.Output] = []
    monitor.handle(input, at: now) { outputs.append($0) }
    for output in outputs {
      switch output {
      case .probe(let number): probing = number
      case .changed(let from, let to, _): changes.append("\(from)-\(to)")
      }
    }
  }

  /// Goes on until the next probe starts, and says how long that took.
  @discardableResult mutating func untilProbe() -> Duration {
    let begin = now
    probing = nil
    while probing == nil, let deadline = monitor.deadline {
      now = deadline
      give(.timer)
    }
    return now - begin
  }

  /// One whole check that ends so after a millisecond.
  mutating func check(_ verdict: CheckResult.Verdict) {
    untilProbe()
    now = now + .milliseconds(1)
    give(.result(CheckResult(verdict, latency: .milliseconds(1), message: "said so"), probe: probing ?? 0))
  }
}

@Test(arguments: [(CheckResult.Verdict.passed, "unknown-up"), (.failed, "unknown-down")])
func `the first verdict decides at once`(verdict: CheckResult.Verdict, change: String) {
  var bench = Bench()
  bench.check(verdict)
  #expect(bench.changes == [change])
  #expect(bench.monitor.since == bench.now)
  #expect(bench.monitor.last?.message == "said so")
}

@Test func `a backend that is up falls with the third failure in a row`() {
  var bench = Bench(Settings(fall: 3))
  for verdict in [.passed, .failed, .failed, .passed, .failed, .failed] as [CheckResult.Verdict] {
    bench.check(verdict)
  }
  #expect(bench.changes == ["unknown-up"])
  bench.check(.failed)
  #expect(bench.changes == ["unknown-up", "up-down"])
}

@Test func `a backend that is down rises with the second success in a row`() {
  var bench = Bench(Settings(rise: 2))
  for verdict in [.failed, .passed, .failed, .passed] as [CheckResult.Verdict] { bench.check(verdict) }
  #expect(bench.monitor.state == .down)
  bench.check(.passed)
  #expect(bench.changes == ["unknown-down", "down-up"])
}

@Test func `unknown neither counts nor breaks a streak`() {
  var bench = Bench(Settings(rise: 2, fall: 2))
  bench.check(.unknown)
  #expect(bench.monitor.state == .unknown)
  for verdict in [.passed, .failed, .unknown, .unknown] as [CheckResult.Verdict] { bench.check(verdict) }
  #expect(bench.monitor.state == .up)
  #expect(bench.monitor.last?.verdict == .unknown)
  bench.check(.failed)
  #expect(bench.changes == ["unknown-up", "up-down"])
}

@Test func `a probe whose result never comes has failed, and what it says later is ignored`() {
  var bench = Bench(Settings(interval: .seconds(1), timeout: .milliseconds(400), fall: 2, jitter: 0))
  bench.check(.passed)
  bench.untilProbe()
  let abandoned = bench.probing ?? 0
  let begin = bench.now
  let recheck = bench.untilProbe()
  #expect(bench.monitor.failures == 1)
  #expect(recheck == .milliseconds(400) + Monitor.grace(after: .milliseconds(400)) + .milliseconds(100))
  #expect(bench.now - begin < .seconds(1))

  bench.give(.result(CheckResult(.passed, latency: .zero, message: "late"), probe: abandoned))
  #expect(bench.monitor.failures == 1)
  bench.give(.result(CheckResult(.failed, latency: .zero, message: "refused"), probe: bench.probing ?? 0))
  #expect(bench.monitor.state == .down)
}

@Test func `a result counts once`() {
  var bench = Bench(Settings(fall: 2))
  bench.check(.passed)
  bench.check(.failed)
  bench.give(.result(CheckResult(.failed, latency: .zero, message: "again"), probe: bench.monitor.probes))
  #expect(bench.monitor.failures == 1)
  #expect(bench.monitor.state == .up)
}

@Test func `a stall of this node is no failure of the backend`() {
  var bench = Bench(Settings(fall: 1))
  bench.check(.passed)
  bench.untilProbe()
  bench.now = bench.now + .seconds(30)
  bench.give(.timer)
  #expect(bench.monitor.state == .up)
  #expect(bench.monitor.last?.verdict == .unknown)
}

@Test func `only the first failure of a backend that is up is checked again soon`() {
  var bench = Bench(Settings(interval: .seconds(1), fall: 3, recheck: .milliseconds(100), jitter: 0))
  bench.check(.failed)
  #expect(bench.untilProbe() == .milliseconds(999))
  bench.give(.result(CheckResult(.passed, latency: .zero, message: ""), probe: bench.monitor.probes))
  bench.check(.passed)
  bench.check(.failed)
  #expect(bench.untilProbe() == .milliseconds(100))
  bench.give(.result(CheckResult(.failed, latency: .zero, message: ""), probe: bench.monitor.probes))
  #expect(bench.untilProbe() == .seconds(1))
}

@Test func `a check that takes longer than the interval is followed by the next at once, never joined by it`() {
  var bench = Bench(Settings(interval: .milliseconds(100), timeout: .milliseconds(100), jitter: 0))
  bench.check(.failed)
  bench.untilProbe()
  let first = bench.probing ?? 0
  #expect(bench.untilProbe() == .milliseconds(125))
  #expect(bench.probing == first + 1)
}

@Test func `first probes of many monitors spread over a tenth of a second, and starts wander by the jitter`() {
  var firsts: [Duration] = []
  for seed in 0..<200 as Range<UInt64> {
    var bench = Bench(Settings(interval: .seconds(1), jitter: 0.1), seed: seed)
    firsts.append(bench.now - Instant(nanoseconds: 0) + bench.untilProbe())
    var start = bench.now
    for _ in 0..<20 {
      bench.give(.result(CheckResult(.passed, latency: .zero, message: ""), probe: bench.probing ?? 0))
      bench.untilProbe()
      let gap = bench.now - start
      #expect(gap >= .milliseconds(900) && gap <= .milliseconds(1100))
      start = bench.now
    }
  }
  #expect(firsts.allSatisfy { $0 < .milliseconds(100) })
  #expect(firsts.filter { $0 < .milliseconds(50) }.count > 60)
  #expect(firsts.filter { $0 >= .milliseconds(50) }.count > 60)
}

@Test func `a stopped monitor knows nothing, wants nothing, and decides at once when it starts again`() {
  var bench = Bench(Settings(rise: 3, fall: 3))
  bench.check(.passed)
  bench.untilProbe()
  let abandoned = bench.probing ?? 0
  bench.give(.stop)
  #expect(bench.monitor.state == .unknown)
  #expect(bench.monitor.deadline == nil)
  bench.give(.result(CheckResult(.failed, latency: .zero, message: ""), probe: abandoned))
  bench.give(.timer)
  #expect(bench.monitor.state == .unknown)
  bench.give(.start)
  bench.check(.failed)
  #expect(bench.changes == ["unknown-up", "unknown-down"])
}

@Test func `a timer that comes early or twice does nothing`() {
  var bench = Bench()
  bench.untilProbe()
  let before = bench.monitor
  bench.give(.timer)
  bench.give(.start)
  #expect(bench.monitor == before)
}

@Test func `settings that make no sense neither trap nor spin`() {
  var bench = Bench(Settings(interval: .zero, timeout: .zero, rise: 0, fall: -1, recheck: .seconds(-1), jitter: 9))
  for _ in 0..<50 { bench.check(.failed) }
  for _ in 0..<50 { bench.check(.passed) }
  #expect(bench.now - Instant(nanoseconds: 0) >= .milliseconds(50))
  #expect(bench.monitor.state == .up)
}

@Test func `the same seed makes the same life`() {
  func life(_ seed: UInt64) -> [Instant] {
    var bench = Bench(Settings(jitter: 0.5), seed: seed)
    return (0..<50).map { _ in
      bench.check(.passed)
      return bench.now
    }
  }
  #expect(life(7) == life(7))
  #expect(life(7) != life(8))
}
