import Basis
import Node
import Peering
import Testing
import VRRP
import Wire

/// More than one owner of a VIP, for longer than any take-over lasts: it is said, and nothing else follows from it.
struct SplitBrainTests {
  private func told(_ cluster: Cluster, on node: Int) -> [Occurrence] {
    cluster.effects.compactMap { entry in
      guard entry.node == node, case .report(let occurrence) = entry.effect else { return nil }
      switch occurrence {
      case .splitBrain, .splitBrainOver: return occurrence
      default: return nil
      }
    }
  }

  private func toldAnything(_ cluster: Cluster) -> Bool {
    cluster.nodes.indices.contains { !told(cluster, on: $0).isEmpty }
  }

  @Test func `two nodes that hear nothing of each other are told by their link, when a dead node's would be gone`()
    throws
  {
    let cluster = HandOverTests.settled(nodes: 3)
    cluster.loses = { if case .advert = $0.packet { $0.to == 1 || $0.from == 1 } else { false } }
    cluster.run(for: .milliseconds(4900))
    #expect(cluster.owners() == [0, 1] && !toldAnything(cluster))
    #expect(cluster.nodes[0].splitBrain(of: 0) == nil)
    cluster.run(for: .seconds(2))
    #expect(told(cluster, on: 0) == [.splitBrain(vip: 0, owners: [.node("lb1"), .node("lb2")], isHeard: false)])
    #expect(told(cluster, on: 1) == [.splitBrain(vip: 0, owners: [.node("lb2"), .node("lb1")], isHeard: false)])
    // Who owns nothing sees it as well.
    #expect(told(cluster, on: 2) == [.splitBrain(vip: 0, owners: [.node("lb1"), .node("lb2")], isHeard: false)])
    let split = try #require(cluster.nodes[0].splitBrain(of: 0))
    #expect(cluster.now - split.since > .seconds(6) && split.heard == nil)

    cluster.loses = { _ in false }
    cluster.run(for: .seconds(1))
    #expect(cluster.owners() == [0])
    for node in 0..<3 {
      #expect(cluster.nodes[node].splitBrain(of: 0) == nil)
      guard case .splitBrainOver(vip: 0, let lasted)? = told(cluster, on: node).last else {
        Issue.record("lb\(node + 1) was not told that it is over")
        continue
      }
      #expect(lasted > .seconds(6) && lasted < .seconds(8))
    }
  }

  @Test(arguments: [true, false])
  func `an owner that hears another one go on is told soon, link or not`(hasLinks: Bool) throws {
    let cluster = Cluster(hasLinks: hasLinks)
    cluster.run(for: .seconds(1))
    cluster.watch()
    cluster.loses = { if case .advert = $0.packet { $0.to == 1 } else { false } }
    cluster.run(for: .seconds(2))
    #expect(cluster.owners() == [0, 1])
    let rival: SplitBrain.Owner = hasLinks ? .node("lb2") : .address(.v4(Cluster.source(of: 1)))
    #expect(told(cluster, on: 0) == [.splitBrain(vip: 0, owners: [.node("lb1"), rival], isHeard: true)])
    #expect(cluster.nodes[0].splitBrain(of: 0)?.heard == .v4(Cluster.source(of: 1)))
    // The other hears nothing; without a link it can't know.
    cluster.run(for: .seconds(5))
    #expect(told(cluster, on: 1).isEmpty == !hasLinks)
    #expect(told(cluster, on: 0).count == 1)

    cluster.kill(1)
    cluster.run(for: .seconds(1))
    #expect(cluster.nodes[0].splitBrain(of: 0) == nil)
    if case .splitBrainOver? = told(cluster, on: 0).last {} else { Issue.record("it is not over") }
  }

  @Test func `a peer that is dead has said that it owns the VIP, and is no owner`() {
    let cluster = HandOverTests.settled(nodes: 3)
    cluster.loses = { $0.from == 0 || $0.to == 0 }
    cluster.run(for: .seconds(4))
    cluster.kill(0)
    cluster.run(for: .seconds(10))
    #expect(cluster.owners() == [1])
    #expect(told(cluster, on: 1).isEmpty && told(cluster, on: 2).isEmpty)
  }

  @Test func `no take-over, hand-over, return or stop is taken for one`() {
    let cluster = HandOverTests.settled(nodes: 3, vips: 2, backends: ["app1"])
    for target in [1, 2, 0] {
      let owner = cluster.owners()[0]
      cluster.give(.command(.move(vip: 0, to: .peer(cluster.peer(target, of: owner)!)), ticket: 1), to: owner)
      cluster.run(for: .seconds(3))
      #expect(cluster.owners() == [target])
    }
    for node in [0, 1, 0] {
      cluster.setLink(of: node, up: false)
      cluster.run(for: .seconds(7))
      cluster.setLink(of: node, up: true)
      cluster.run(for: .seconds(7))
    }
    cluster.give(.command(.standby, ticket: 2), to: 0)
    cluster.run(for: .seconds(7))
    cluster.give(.command(.resume, ticket: 3), to: 0)
    cluster.run(for: .seconds(7))
    #expect(!toldAnything(cluster))
    // The process ends, and its link with it.
    cluster.give(.stop, to: 0)
    cluster.run(for: .seconds(1))
    cluster.kill(0)
    cluster.run(for: .seconds(7))
    #expect(!toldAnything(cluster))
  }

  @Test func `a stream of losing adverts is said once, and the end of it once`() {
    var bench = Bench.owner(lease: nil)
    for _ in 0..<2000 {
      bench.hear(priority: 1)
      bench.advance(by: .milliseconds(1))
    }
    bench.advance(by: .seconds(1))
    let reports = bench.take().compactMap { effect -> Occurrence? in
      guard case .report(let occurrence) = effect else { return nil }
      switch occurrence {
      case .splitBrain, .splitBrainOver: return occurrence
      default: return nil
      }
    }
    #expect(reports.count == 2)
    if case .splitBrainOver(vip: 0, let lasted)? = reports.last { #expect(lasted > .seconds(2)) }
  }

  @Test func `a VIP that is removed takes what was said of it along`() {
    var bench = Bench.owner(lease: nil)
    for _ in 0..<20 {
      bench.hear(priority: 1)
      bench.advance(by: .milliseconds(50))
    }
    #expect(bench.node.splitBrain(of: 0) != nil)
    bench.reload { $0.vips[0] = .vacant }
    bench.advance(by: .seconds(5))
    #expect(bench.node.splitBrain(of: 0) == nil)
  }
}
