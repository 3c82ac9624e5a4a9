import Basis
import Health
import Node
import Testing

struct ServiceTests {
  private func probe(_ effects: [Effect]) -> UInt64? {
    for case .probe(_, _, let number) in effects { return number }
    return nil
  }

  @Test func `the first check of a backend decides, and all down is said once`() throws {
    var bench = Bench(backends: ["app1"], check: Health.Settings())
    bench.give(Bench.linkUp)
    bench.give(.start)
    bench.advance(by: .milliseconds(100))
    let number = try #require(probe(bench.take()))
    #expect(!bench.node.services[0].isDown, "unknown is not down")
    let refused = CheckResult(.failed, latency: .milliseconds(1), message: "connection refused")
    bench.give(.check(service: 0, backend: 0, probe: number, refused))
    #expect(
      bench.take().filter { !$0.isTransmit } == [
        .backend(service: 0, backend: 0, .down),
        .report(.backend(.down, service: 0, backend: 0, message: "connection refused")),
        .report(.allBackendsDown(service: 0)),
      ])
    #expect(bench.node.services[0].isDown)
  }

  @Test func `checks that fail while the link is down say nothing of the backends`() throws {
    var bench = Bench(backends: ["app1"], check: Health.Settings())
    bench.give(Bench.linkUp)
    bench.give(.start)
    let passed = CheckResult(.passed, latency: .milliseconds(1), message: "200 OK")
    bench.advance(by: .milliseconds(100))
    bench.give(.check(service: 0, backend: 0, probe: try #require(probe(bench.take())), passed))
    bench.give(Bench.linkDown)
    let timedOut = CheckResult(.failed, latency: .seconds(1), message: "timed out")
    for _ in 1...5 {
      while bench.node.services[0].backends[0].monitor?.deadline != nil {
        bench.advance(by: .milliseconds(100))
        if let number = probe(bench.take()) {
          bench.give(.check(service: 0, backend: 0, probe: number, timedOut))
          break
        }
      }
    }
    #expect(bench.node.services[0].backends[0].state == .up)
  }

  @Test func `results for no backend of ours change nothing`() {
    var bench = Bench(backends: ["app1"], check: Health.Settings())
    bench.give(.start)
    let passed = CheckResult(.passed, latency: .zero, message: "")
    bench.give(.check(service: 3, backend: 0, probe: 1, passed))
    bench.give(.check(service: 0, backend: 3, probe: 1, passed))
    #expect(bench.node.services[0].backends[0].state == .unknown)
  }
}
