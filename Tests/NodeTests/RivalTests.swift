import Basis
import Node
import Peering
import Testing
import VRRP

/// The number of a virtual router is changed on one node after another, so that for a while two halves of the cluster don't hear each other.
struct RivalTests {
  private static func renumber(_ node: Int, in cluster: Cluster, to id: UInt8 = 99) {
    var settings = cluster.nodes[node].settings
    guard case .vrrp(var router) = settings.vips[0].election else { return }
    router.id = id
    settings.vips[0].election = .vrrp(router)
    cluster.give(.settings(settings), to: node)
  }

  static let orders = [[0, 1], [1, 0], [0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]

  @Test(arguments: orders, [Duration.milliseconds(1), .milliseconds(150), .seconds(2)])
  func `a rolling change of the VRID never makes two owners`(_ order: [Int], _ pause: Duration) {
    let cluster = Cluster(nodes: order.count)
    cluster.run(for: .seconds(2))
    #expect(cluster.holders() == [0])
    cluster.watch()
    for node in order {
      Self.renumber(node, in: cluster)
      cluster.run(for: pause)
    }
    cluster.run(for: .seconds(3))
    // Who takes a VIP back by VRRP's own rules has its address a moment before the other has let go.
    #expect(cluster.shared[0] < .milliseconds(1))
    #expect(cluster.holders() == [0] && cluster.owners() == [0])
    // Who was renumbered a moment ago listens for three intervals like one that has just started.
    #expect(cluster.longestVacancy() < .milliseconds(pause > .milliseconds(500) ? 50 : 450))
  }

  @Test func `while it waits, a node says for whom`() {
    let cluster = Cluster()
    cluster.run(for: .seconds(2))
    Self.renumber(1, in: cluster)
    cluster.run(for: .seconds(2))
    #expect(cluster.nodes[1].vips[0].state == .backup)
    #expect(cluster.nodes[1].vips[0].reason.contains("waiting: lb1 owns it as virtual router 51, not 99 as here"))
  }

  @Test func `an owner that dies meanwhile is followed as soon as its link is down`() {
    let cluster = Cluster()
    cluster.run(for: .seconds(2))
    Self.renumber(1, in: cluster)
    cluster.run(for: .seconds(2))
    cluster.watch()
    cluster.kill(0)
    cluster.run(for: .milliseconds(20))
    #expect(cluster.holders() == [1])
  }

  @Test func `without a link both claim, and when it is up the lower priority gives way`() {
    let cluster = Cluster()
    cluster.run(for: .seconds(2))
    cluster.unlink(0, 1)
    Self.renumber(1, in: cluster)
    cluster.run(for: .seconds(2))
    #expect(cluster.holders() == [0, 1])
    cluster.link(0, 1)
    cluster.run(for: .milliseconds(200))
    #expect(cluster.holders() == [0])
    cluster.watch()
    cluster.run(for: .seconds(10))
    #expect(cluster.takes() == 0, "and doesn't come back")
  }

  @Test func `a better node that never claims is not waited for longer than it may take`() {
    // lb1 hears that it may not own: its claims are lost in an obstacle that it doesn't tell of.
    let cluster = Cluster(nodes: 3)
    cluster.run(for: .seconds(2))
    Self.renumber(2, in: cluster)
    cluster.run(for: .seconds(1))
    cluster.kill(0)
    // lb2's timer is late for ever, but its link is up and it says that it is ready.
    cluster.freeze(1)
    cluster.run(for: .seconds(2))
    #expect(cluster.holders() == [2])
  }

  @Test func `the same virtual router is never waited for, whatever the link says`() {
    let cluster = Cluster()
    cluster.run(for: .seconds(2))
    // lb1's adverts are lost, and its link works: that is VRRP's own business.
    cluster.loses = { if case .advert = $0.packet { $0.from == 0 } else { false } }
    cluster.run(for: .seconds(1))
    #expect(cluster.owners() == [0, 1])
  }

  @Test func `nobody names a successor that could not hear it, or moves a VIP there`() {
    let cluster = Cluster()
    cluster.run(for: .seconds(2))
    Self.renumber(1, in: cluster)
    cluster.watch()
    cluster.run(for: .seconds(1))
    #expect(cluster.words(from: 0).contains(.successor(vip: "vip0", node: nil)))
    cluster.give(.command(.move(vip: 0, to: .best), ticket: 7), to: 0)
    cluster.run(for: .seconds(1))
    #expect(cluster.owners() == [0])
  }
}
