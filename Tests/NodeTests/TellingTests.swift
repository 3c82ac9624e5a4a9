import Basis
import Node
import Peering
import Testing

/// What a node tells its peers of its own VIPs, and how often.
struct TellingTests {
  private func snapshots(_ cluster: Cluster, from node: Int) -> Int {
    cluster.words(from: node).count { if case .vips = $0 { true } else { false } }
  }

  @Test func `the first change is told at once, and what follows it together`() {
    let cluster = HandOverTests.settled(vips: 40)
    for vip in 0..<40 {
      cluster.give(.address(vip: vip, .failed(generation: 1, code: 1)), to: 0)
      if vip == 0 { #expect(snapshots(cluster, from: 0) == 1) }
      cluster.run(for: .milliseconds(1))
    }
    #expect(snapshots(cluster, from: 0) <= 3)
    cluster.run(for: .milliseconds(50))
    #expect(snapshots(cluster, from: 0) <= 4)
    for vip in 0..<40 {
      #expect(cluster.nodes[1].coordination.peers[0].vips[vip]?.state != .active)
      #expect(cluster.owners(vip) == [1])
    }
  }

  @Test func `who comes is told everything at once`() {
    let cluster = HandOverTests.settled(vips: 3)
    cluster.unlink(0, 1)
    cluster.give(.address(vip: 0, .failed(generation: 1, code: 1)), to: 0)
    cluster.link(0, 1)
    #expect(snapshots(cluster, from: 0) >= 1)
    cluster.run(for: .milliseconds(1))
    #expect(cluster.nodes[1].coordination.peers[0].vips.allSatisfy { $0 != nil })
  }

  @Test func `when nothing changes nothing is told, however much is heard`() {
    let cluster = HandOverTests.settled(nodes: 3, vips: 8)
    cluster.run(for: .seconds(5))
    for node in 0..<3 { #expect(cluster.words(from: node).isEmpty) }
  }
}
