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
    bench.give(.start)
    bench.advance(by: .milliseconds(100))
    let number = try #require(probe(bench.take()))
    #expect(!bench.node.services[0].isDown, "unknown is not down")
    let refused = CheckResult(.failed, latency: .milliseconds(1), message: "connection refused")
    bench.give(.check(service: 0, backend: 0, probe: number, refused))
    #expect(
      bench.take() == [
        .backend(service: 0, backend: 0, .down),
        .report(.backend(.down, service: 0, backend: 0, message: "connection refused")),
        .report(.allBackendsDown(service: 0)),
      ])
    #expect(bench.node.services[0].isDown)
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
