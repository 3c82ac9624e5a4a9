import Basis
import Testing

@testable import Scenario

/// What was seen, held against what was expected.
struct JudgeTests {
  private func judge(_ expectation: String, _ change: (inout Observations) -> Void = { _ in }) throws -> Verdict {
    let scenario = try Scenario(
      reading: """
        # test: a story
        nodes 3
        at 2s node-dead owner
        at 7s heal
        until 12s
        expect \(expectation)
        """, file: "test.scenario")
    // lb1 owns; it dies; lb2 follows after 300 ms; lb1 comes back.
    var seen = Observations()
    seen.holdings = [
      .init(at: .seconds(-4), node: 0, holds: true), .init(at: .milliseconds(2000), node: 0, holds: false),
      .init(at: .milliseconds(2300), node: 1, holds: true), .init(at: .milliseconds(7400), node: 0, holds: true),
      .init(at: .milliseconds(7401), node: 1, holds: false),
    ]
    seen.twoOwners = [.seconds(-3) ..< .seconds(-1), .milliseconds(7400)..<(.milliseconds(7401))]
    seen.gaps = [.seconds(-5) ..< .seconds(-4), .milliseconds(2000)..<(.milliseconds(2301))]
    change(&seen)
    return try #require(scenario.judge(seen).first)
  }

  @Test(arguments: [
    "owner lb2 within 300ms of node-dead", "owner lb2 within 3 intervals of fault", "owner backup within 1s of fault",
    "owner lb1 within 500ms of heal", "one owner at end", "owner lb1 at end", "owner owner at end",
    "outage below 302ms of node-dead", "outage below 1ms of heal", "never two owners for longer than 1ms",
    "nobody owns for longer than 300ms", "nobody owns for longer than 300ms of node-dead",
    "nobody owns for longer than 0ms of heal", "no address on owner within 0ms of node-dead",
    "no address on lb3 within 0ms of heal",
  ])
  func `what was kept passes`(expectation: String) throws {
    let verdict = try judge(expectation)
    #expect(verdict.passed == true, "\(verdict.measured)")
    #expect(verdict.expectation.text == expectation)
  }

  @Test(arguments: [
    ("owner lb2 within 299ms of node-dead", "nobody"), ("owner lb3 within 1s of fault", "lb2"),
    ("owner lb1 within 300ms of heal", "lb2"), ("owner lb2 at end", "lb1"),
    ("nobody owns for longer than 299ms of fault", "300.0 ms"), ("same owner of node-dead", "also lb2"),
    ("outage below 301ms of node-dead", "301.0 ms"),
    ("never two owners for longer than 0ms", "1.0 ms"), ("no address on lb2 within 1s of node-dead", "left on lb2"),
  ])
  func `what was broken fails, and says what was measured`(expectation: String, measured: String) throws {
    let verdict = try judge(expectation)
    #expect(verdict.passed == false)
    #expect(verdict.measured.contains(measured), "\(verdict.measured)")
  }

  @Test func `what nobody looked at is neither kept nor broken`() throws {
    #expect(try judge("no connection broken").passed == nil)
    #expect(try judge("no request failed of heal").passed == nil)
    #expect(try judge("no connection broken") { $0.brokenConnections = [] }.passed == true)
    #expect(try judge("no connection broken of heal") { $0.brokenConnections = [.seconds(3)] }.passed == true)
    #expect(try judge("no connection broken of fault") { $0.brokenConnections = [.seconds(3)] }.passed == false)
    #expect(try judge("failed requests below 2 of fault") { $0.failedRequests = [.seconds(3)] }.passed == true)
    #expect(
      try judge("failed requests below 2 of fault") { $0.failedRequests = [.seconds(3), .seconds(4)] }.passed == false)
  }

  @Test func `the same owner may lose the address for a moment, and nobody else may have it`() throws {
    let stays = { (seen: inout Observations) in
      seen.holdings = [
        .init(at: .seconds(-4), node: 0, holds: true), .init(at: .milliseconds(2100), node: 0, holds: false),
        .init(at: .milliseconds(2103), node: 0, holds: true),
      ]
    }
    #expect(try judge("same owner of fault", stays).passed == true)
    #expect(try judge("nobody owns for longer than 3ms of fault", stays).passed == true)
    #expect(try judge("nobody owns for longer than 2ms of fault", stays).passed == false)
    let gone = try judge("same owner of fault") { seen in
      stays(&seen)
      seen.holdings.removeLast()
    }
    #expect(gone.passed == false && gone.measured == "nobody")
  }

  @Test func `what was sent out of turn counts in its window`() throws {
    #expect(try judge("quiet of fault").passed == nil)
    #expect(try judge("quiet of fault") { $0.outOfTurn = [.seconds(8)] }.passed == true)
    #expect(try judge("quiet of fault") { $0.outOfTurn = [.seconds(3)] }.passed == false)
    #expect(try judge("no connection fails of heal") { $0.failedConnections = [.seconds(3)] }.passed == true)
  }

  @Test func `an owner that others can reach too is not the owner yet`() throws {
    let verdict = try judge("owner lb2 within 300ms of fault") { seen in
      seen.twoOwners = [.milliseconds(2250)..<(.milliseconds(2500))]
    }
    #expect(verdict.passed == false)
  }

  @Test func `a backend's change counts from its step, in its window`() throws {
    let change = { (seen: inout Observations) in
      seen.backends = [
        .init(at: .milliseconds(2900), backend: 0, isUp: false), .init(at: .seconds(8), backend: 0, isUp: true),
      ]
    }
    #expect(try judge("backend app1 down within 1s of fault", change).passed == true)
    #expect(try judge("backend app1 down within 800ms of fault", change).passed == false)
    #expect(try judge("backend app1 up within 1s of heal", change).passed == true)
    #expect(try judge("backend app2 down within 1s of fault", change).measured == "not seen")
  }
}
