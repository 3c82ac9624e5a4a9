import Basis
import Node
import Testing
import VRRP
import Wire

struct GroupTests {
  private func together(_ cluster: Cluster) -> Bool {
    cluster.owners(0) == cluster.owners(1) && cluster.owners(0).count == 1
  }

  @Test func `an obstacle of one is an obstacle of all, with its name`() {
    let cluster = Cluster(vips: 3, groups: [[0, 1]]) { _, settings in
      settings.trackers = [TrackerSettings(name: "disk", source: .external)]
      settings.vips[1].tracks = [.init(tracker: 0, consequence: .forbid)]
    }
    cluster.run(for: .seconds(1))
    cluster.watch()
    cluster.give(.track(tracker: 0, .bad("full")), to: 0)
    #expect(cluster.nodes[0].vips[1].reason == "tracker disk is bad: full")
    #expect(cluster.nodes[0].vips[0].reason == "VIP vip1 of the group is in fault: tracker disk is bad: full")
    cluster.run(for: .milliseconds(20))
    #expect(cluster.owners(0) == [1])
    #expect(cluster.owners(1) == [1])
    #expect(cluster.owners(2) == [0])
    cluster.give(.track(tracker: 0, .good), to: 0)
    cluster.run(for: .seconds(2))
    #expect(cluster.owners(0) == [0])
    #expect(cluster.owners(1) == [0])
    for vip in 0..<2 { #expect(cluster.longestVacancy(vip) <= .milliseconds(2)) }
  }

  @Test func `what lowers one lowers all by the same`() {
    let cluster = Cluster(vips: 2, groups: [[0, 1]]) { _, settings in
      settings.trackers = [TrackerSettings(name: "disk", source: .external)]
      settings.vips[1].tracks = [.init(tracker: 0, consequence: .lower(20))]
    }
    cluster.run(for: .seconds(1))
    cluster.give(.track(tracker: 0, .bad("slow")), to: 0)
    #expect(cluster.nodes[0].vips[0].router?.priority == 234)
    #expect(cluster.nodes[0].vips[1].router?.priority == 234)
    cluster.run(for: .seconds(2))
    #expect(cluster.owners(0) == [1])
    #expect(cluster.owners(1) == [1])
  }

  @Test func `preemption happens for all at once`() {
    let cluster = Cluster(vips: 2, groups: [[0, 1]])
    cluster.setLink(of: 0, up: false)
    cluster.run(for: .seconds(2))
    #expect(cluster.owners(0) == [1])
    cluster.watch()
    cluster.setLink(of: 0, up: true)
    cluster.run(for: .seconds(2))
    let takes = cluster.effects.filter { if case .take = $0.effect { $0.node == 0 } else { false } }
    #expect(takes.count == 2)
    #expect(takes.first?.at == takes.last?.at)
    #expect(together(cluster))
  }

  @Test(arguments: [[0], [1]])
  func `adverts of one member that are lost for good move nothing, as long as the other's come`(lost: [Int]) {
    let cluster = Cluster(vips: 2, groups: [[0, 1]])
    cluster.run(for: .seconds(1))
    cluster.watch()
    cluster.loses = { sent in if case .advert(let vip, _) = sent.packet { lost.contains(vip) } else { false } }
    cluster.run(for: .seconds(60))
    #expect(cluster.owners(0) == [0])
    #expect(cluster.owners(1) == [0])
    #expect(cluster.takes(0) + cluster.takes(1) == 0)
    cluster.kill(0)
    cluster.run(for: .seconds(1))
    #expect(together(cluster))
    for vip in 0..<2 { #expect(cluster.longestVacancy(vip) <= .milliseconds(305)) }
  }

  /// Each node is configured as the better one of one member, by priority or by a tie that an address decides.
  @Test(arguments: [(254, 100, 100, 254), (254, 254, 254, 254), (200, 200, 200, 100), (100, 200, 254, 200)])
  func `two nodes that could each win one member end with one owner of both, and stay so`(
    priorities: (UInt8, UInt8, UInt8, UInt8)
  ) {
    let cluster = Cluster(vips: 2, groups: [[0, 1]]) { node, settings in
      for vip in 0..<2 {
        guard case .vrrp(var router) = settings.vips[vip].election else { continue }
        router.priority =
          node == 0 ? (vip == 0 ? priorities.0 : priorities.1) : (vip == 0 ? priorities.2 : priorities.3)
        settings.vips[vip].election = .vrrp(router)
      }
    }
    var random = SplitMix64(seed: 3)
    cluster.loses = { _ in random.next() % 2 == 0 }
    cluster.run(for: .seconds(30))
    cluster.loses = { _ in false }
    cluster.run(for: .seconds(3))
    #expect(together(cluster))
    cluster.watch()
    cluster.run(for: .seconds(60))
    #expect(together(cluster))
    #expect(cluster.takes(0) + cluster.takes(1) == 0)
  }

  @Test(arguments: 1...30) func `lost adverts never part a group for good`(seed: Int) {
    var random = SplitMix64(seed: UInt64(seed))
    let cluster = Cluster(nodes: 3, vips: 3, groups: [[0, 1, 2]], hasLinks: seed % 2 == 0)
    cluster.loses = { _ in random.next() % 5 < 2 }
    cluster.run(for: .seconds(60))
    cluster.loses = { _ in false }
    cluster.run(for: .seconds(2))
    for vip in 0..<3 {
      #expect(cluster.owners(vip) == [0])
      #expect(cluster.holders(of: vip) == [0])
    }
  }

  @Test func `a polite stop leaves all members at one moment, when the last connection has ended`() {
    let cluster = Cluster(vips: 2, groups: [[0, 1]], drain: .milliseconds(300)) { _, settings in
      settings.services = [ServiceSettings(name: "web", vip: 1, backends: ["app1"], check: nil)]
    }
    cluster.connectionsLast = .milliseconds(200)
    cluster.run(for: .seconds(1))
    cluster.watch()
    cluster.give(.stop, to: 0)
    cluster.run(for: .milliseconds(150))
    #expect(cluster.owners(0) == [0])
    cluster.run(for: .milliseconds(60))
    #expect(cluster.owners(0) == [1])
    #expect(cluster.owners(1) == [1])
    for vip in 0..<2 { #expect(cluster.longestVacancy(vip) <= .milliseconds(1)) }
    #expect(cluster.effects.contains { $0.effect == .stopped })
  }
}
