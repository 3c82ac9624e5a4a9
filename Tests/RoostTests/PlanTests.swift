import Configuration
import Testing

@testable import roost

/// What a plan keeps of the one before it.
struct PlanTests {
  private func plan(
    id: Int = 51, path: String = "/healthz", every: String = "1s", apps: String,
    after old: DaemonPlan? = nil
  ) throws -> DaemonPlan {
    let text = """
      cluster: { nodes: { lb1: 10.254.0.11, lb2: 10.254.0.12, lb3: 10.254.0.13 } }
      vips:
        web: { addresses: 10.254.0.100, prefer: [lb1, lb2], vrrp: { id: \(id) } }
      services:
        web: { vip: web, listen: 80/tcp, mode: proxy, check: { http: \(path), every: \(every) }, backends: { \(apps) } }
        api: { vip: web, listen: 81/tcp, mode: proxy, check: { tcp: true }, backends: { app9: "10.0.0.29:81" } }
      """
    let reading = Configuration.read(text: text, file: "roost.yaml")
    let configuration = try #require(reading.configuration, "\(reading.mistakes.text())")
    return try DaemonPlan(configuration, name: "lb1", interfaces: ["eth0"], after: old)
  }

  private static let quoted = #"app1: "10.0.0.21:80", app2: "10.0.0.22:80""#

  @Test func `checks that did not change are known again, whatever happens beside them`() throws {
    let old = try plan(apps: Self.quoted)
    #expect(old.probes.count == 3)
    #expect(try plan(apps: Self.quoted, after: old).probeOrigins(in: old) == [0, 1, 2])
    #expect(try plan(path: "/other", apps: Self.quoted, after: old).probeOrigins(in: old) == [nil, nil, 2])
    // Another rhythm is the node's to begin with; it asks anew.
    #expect(try plan(every: "2s", apps: Self.quoted, after: old).probeOrigins(in: old) == [nil, nil, 2])
    let fewer = try plan(apps: #"app2: "10.0.0.22:80""#, after: old)
    #expect(fewer.probeOrigins(in: old) == [nil, 2])
  }

  @Test func `another VRID is worth a warning, that names who may become a second owner`() throws {
    let old = try plan(apps: Self.quoted)
    let new = try plan(id: 61, apps: Self.quoted, after: old)
    #expect(old.disagreements(with: old, linked: []) == [])
    let linked = new.disagreements(with: old, linked: ["lb2", "lb3"])
    #expect(linked.count == 1 && linked[0].contains("uses VRID 61 now") && linked[0].contains("use 51"))
    #expect(!linked[0].contains("two owners"))
    let apart = new.disagreements(with: old, linked: ["lb2"])
    #expect(apart.count == 1 && apart[0].contains("connects this node with lb3,") && apart[0].contains("two owners"))
  }
}
