import Basis
import Node
import Testing

struct StandbyTests {
  @Test func `standby hands everything to the successor politely, and is answered when nothing is held`() {
    let cluster = HandOverTests.settled(vips: 2, backends: ["app1"], drain: .milliseconds(500))
    cluster.connectionsLast = .milliseconds(200)
    cluster.give(.command(.standby, ticket: 1), to: 0)
    cluster.run(for: .milliseconds(190))
    #expect(cluster.owners(0) == [0])
    #expect(cluster.answer(to: 1) == nil)
    cluster.run(for: .milliseconds(20))
    #expect(cluster.answer(to: 1) == .done)
    for vip in 0..<2 {
      #expect(cluster.owners(vip) == [1])
      #expect(cluster.holders(of: vip) == [1])
      #expect(cluster.longestVacancy(vip) <= .milliseconds(1))
      #expect(cluster.nodes[0].vips[vip].state == .fault)
      #expect(cluster.nodes[0].vips[vip].reason == "standby")
    }
    cluster.run(for: .seconds(30))
    #expect(cluster.owners() == [1])
  }

  @Test func `a node in standby takes nothing, not even when nobody else is there`() {
    let cluster = HandOverTests.settled()
    cluster.give(.command(.standby, ticket: 1), to: 1)
    #expect(cluster.answer(to: 1) == .done)
    cluster.give(.command(.move(vip: 0, to: .best), ticket: 2), to: 0)
    if case .refused(let why) = cluster.answer(to: 2) { #expect(why.contains("lb2 can't own vip0 now")) }
    cluster.kill(0)
    cluster.run(for: .seconds(5))
    #expect(cluster.owners() == [])
    cluster.give(.command(.resume, ticket: 3), to: 1)
    #expect(cluster.answer(to: 3) == .done)
    cluster.run(for: .seconds(1))
    #expect(cluster.owners() == [1])
  }

  @Test func `a preferred node that resumes takes its VIP back by the rules of preemption`() {
    let cluster = HandOverTests.settled()
    cluster.give(.command(.standby, ticket: 1), to: 0)
    cluster.run(for: .seconds(1))
    cluster.watch()
    cluster.give(.command(.resume, ticket: 2), to: 0)
    #expect(cluster.owners() == [1])
    cluster.run(for: .seconds(1))
    #expect(cluster.owners() == [0])
    #expect(cluster.longestVacancy() <= .milliseconds(1))
  }

  @Test func `standby twice is answered twice, and resume meanwhile answers all`() {
    let cluster = HandOverTests.settled(backends: ["app1"], drain: .seconds(1))
    cluster.connectionsLast = .seconds(1)
    cluster.give(.command(.standby, ticket: 1), to: 0)
    cluster.give(.command(.standby, ticket: 2), to: 0)
    cluster.run(for: .milliseconds(100))
    cluster.give(.command(.resume, ticket: 3), to: 0)
    for ticket in 1...2 {
      #expect(cluster.answer(to: UInt64(ticket)) == .refused("this node was told to resume meanwhile"))
    }
    #expect(cluster.answer(to: 3) == .done)
    cluster.run(for: .seconds(5))
    #expect(cluster.owners().count == 1)
    #expect(cluster.longestVacancy() <= .milliseconds(305))
  }

  @Test func `a node that is the last to be fit has to be told twice`() throws {
    let cluster = HandOverTests.settled()
    // The other one is there, and can't.
    cluster.setLink(of: 1, up: false)
    cluster.run(for: .milliseconds(100))
    cluster.give(.command(.standby, ticket: 1), to: 0)
    guard case .refused(let why) = cluster.answer(to: 1) else { throw Unexpected() }
    #expect(why.contains("nobody else can own vip0 now") && why.contains("lb2") && why.contains("--force"))
    // Or it is not heard of.
    cluster.kill(1)
    cluster.give(.command(.standby, ticket: 2), to: 0)
    guard case .refused(let why) = cluster.answer(to: 2) else { throw Unexpected() }
    #expect(why.contains("there is no peer link to lb2"))
    cluster.run(for: .seconds(1))
    #expect(cluster.owners() == [0])
    cluster.give(.command(.standbyAnyway, ticket: 3), to: 0)
    cluster.run(for: .seconds(1))
    #expect(cluster.answer(to: 3) == .done)
    #expect(cluster.owners() == [])
    // Once there, asking again is harmless.
    cluster.give(.command(.standby, ticket: 4), to: 0)
    #expect(cluster.answer(to: 4) == .done)
  }

  @Test func `where there is no peer link nobody can tell, and nobody is asked`() {
    let cluster = Cluster(hasLinks: false)
    cluster.run(for: .seconds(1))
    cluster.give(.command(.standby, ticket: 1), to: 0)
    cluster.run(for: .seconds(1))
    #expect(cluster.answer(to: 1) == .done)
  }

  private struct Unexpected: Error {}

  @Test func `commands of a node that does not run are refused`() {
    let cluster = HandOverTests.settled(backends: ["app1"], drain: .seconds(1))
    cluster.connectionsLast = .seconds(1)
    cluster.give(.stop, to: 0)
    cluster.give(.command(.standby, ticket: 1), to: 0)
    #expect(cluster.answer(to: 1) == .refused("lb1 is stopping"))
  }
}
