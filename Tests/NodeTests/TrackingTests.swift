import Basis
import Node
import Testing
import VRRP
import Wire

struct TrackingTests {
  /// lb1 is preferred; its VIP is tracked.
  private func cluster(
    _ consequence: VIPSettings.Track.Consequence, rise: Int = 1, fall: Int = 1, priority: UInt8 = 254
  ) -> Cluster {
    let cluster = Cluster { node, settings in
      settings.trackers = [TrackerSettings(name: "uplink", source: .external, rise: rise, fall: fall)]
      settings.vips[0].tracks = [.init(tracker: 0, consequence: consequence)]
      guard node == 0, case .vrrp(var router) = settings.vips[0].election else { return }
      router.priority = priority
      settings.vips[0].election = .vrrp(router)
    }
    cluster.run(for: .seconds(1))
    #expect(cluster.owners() == [0])
    cluster.watch()
    return cluster
  }

  private func report(_ cluster: Cluster, _ report: TrackReport, node: Int = 0) {
    cluster.give(.track(tracker: 0, report), to: node)
  }

  @Test func `a tracker that forbids is an obstacle with its reason, and the peer takes over at once`() {
    let cluster = cluster(.forbid)
    report(cluster, .bad("no carrier"))
    #expect(cluster.nodes[0].vips[0].state == .fault)
    #expect(cluster.nodes[0].vips[0].reason == "tracker uplink is bad: no carrier")
    cluster.run(for: .milliseconds(20))
    #expect(cluster.owners() == [1])
    report(cluster, .good)
    cluster.run(for: .seconds(1))
    #expect(cluster.owners() == [0])
  }

  @Test func `unknown changes nothing, before a verdict and after one`() {
    let cluster = cluster(.forbid, fall: 2)
    report(cluster, .unknown("the command can't be started"))
    #expect(cluster.nodes[0].coordination.trackers[0].verdict == .unknown)
    report(cluster, .good)
    report(cluster, .bad("one"))
    for _ in 1...10 { report(cluster, .unknown("busy")) }
    #expect(cluster.owners() == [0])
    // Neither for it nor against it: the row of bad reports goes on.
    report(cluster, .bad("two"))
    #expect(cluster.nodes[0].coordination.trackers[0].verdict == .bad)
    for _ in 1...10 { report(cluster, .unknown("busy")) }
    #expect(cluster.nodes[0].vips[0].reason == "tracker uplink is bad: two")
  }

  @Test func `rise and fall count reports in a row, and the first report decides`() {
    let cluster = cluster(.forbid, rise: 2, fall: 3)
    report(cluster, .good)
    for round in 1...3 {
      report(cluster, .bad("x"))
      report(cluster, .bad("x"))
      #expect(cluster.owners() == [0], "\(round)")
      report(cluster, .good)
    }
    for _ in 1...3 { report(cluster, .bad("x")) }
    #expect(cluster.nodes[0].vips[0].state == .fault)
    report(cluster, .good)
    report(cluster, .bad("x"))
    report(cluster, .good)
    #expect(cluster.nodes[0].vips[0].state == .fault)
    cluster.run(for: .milliseconds(1))
    report(cluster, .good)
    #expect(cluster.nodes[0].vips[0].state == .backup)
  }

  @Test func `one that flaps is damped, says so, and counts again when it has been good for 30 s`() {
    let cluster = cluster(.forbid)
    for _ in 1...3 {
      report(cluster, .good)
      report(cluster, .bad("no carrier"))
      cluster.run(for: .seconds(1))
    }
    #expect(cluster.effects.contains { $0.effect == .report(.trackerDamped(0, message: "no carrier")) })
    report(cluster, .good)
    cluster.run(for: .seconds(29))
    #expect(cluster.nodes[0].vips[0].state == .fault)
    #expect(cluster.nodes[0].vips[0].reason.contains("3 times"))
    // One more bad report, and the time begins anew.
    report(cluster, .bad("no carrier"))
    report(cluster, .good)
    cluster.run(for: .seconds(29))
    #expect(cluster.nodes[0].vips[0].state == .fault)
    cluster.run(for: .seconds(3))
    #expect(cluster.owners() == [0])
    #expect(cluster.effects.contains { $0.effect == .report(.trackerCalm(0)) })
  }

  @Test func `one that lowers moves the VIP to a better node, with no gap, and back`() {
    let cluster = cluster(.lower(10))
    report(cluster, .bad("slow"))
    #expect(cluster.owners() == [0], "it owns the VIP until a better one preempts")
    #expect(cluster.nodes[0].vips[0].router?.priority == 244)
    cluster.run(for: .seconds(2))
    #expect(cluster.owners() == [1])
    #expect(cluster.longestVacancy() <= .milliseconds(1))
    report(cluster, .good)
    cluster.run(for: .seconds(2))
    #expect(cluster.owners() == [0])
    #expect(cluster.longestVacancy() <= .milliseconds(1))
  }

  @Test func `a lowered owner without a better peer goes on`() {
    let cluster = cluster(.lower(10))
    report(cluster, .bad("slow"), node: 1)
    report(cluster, .bad("slow"), node: 0)
    cluster.run(for: .seconds(5))
    #expect(cluster.owners() == [0])
    #expect(cluster.takes() == 0)
  }

  @Test func `lowering adds up, ends at 1, and never touches an address owner`() {
    let cluster = Cluster(nodes: 1) { _, settings in
      settings.trackers = (0..<3).map { TrackerSettings(name: "t\($0)", source: .external) }
      settings.vips[0].tracks = (0..<3).map { .init(tracker: $0, consequence: .lower(100)) }
    }
    cluster.run(for: .seconds(1))
    cluster.give(.track(tracker: 0, .bad("")), to: 0)
    #expect(cluster.nodes[0].vips[0].router?.priority == 154)
    cluster.give(.track(tracker: 1, .bad("")), to: 0)
    cluster.give(.track(tracker: 2, .bad("")), to: 0)
    #expect(cluster.nodes[0].vips[0].router?.priority == 1)
    let owner = self.cluster(.lower(100), priority: 255)
    report(owner, .bad(""))
    #expect(owner.nodes[0].vips[0].router?.priority == 255)
  }

  @Test func `a VIP follows another one`() {
    let cluster = Cluster(vips: 2) { _, settings in
      settings.trackers = [TrackerSettings(name: "first", source: .vip(0))]
      settings.vips[1].tracks = [.init(tracker: 0, consequence: .forbid)]
    }
    cluster.run(for: .seconds(2))
    #expect(cluster.owners(0) == [0])
    #expect(cluster.owners(1) == [0])
    #expect(cluster.nodes[1].vips[1].reason == "tracker first is bad: this node does not own vip0")
    cluster.give(.command(.move(vip: 0, to: .best), ticket: 1), to: 0)
    cluster.run(for: .seconds(2))
    #expect(cluster.owners(0) == [1])
    #expect(cluster.owners(1) == [1])
  }

  @Test func `VIPs that wait for each other in a circle are owned all the same`() {
    let cluster = Cluster(vips: 4, groups: [[2, 3]]) { _, settings in
      settings.trackers = (0..<4).map { TrackerSettings(name: "vip\($0)", source: .vip($0)) }
      settings.vips[0].tracks = [.init(tracker: 1, consequence: .forbid), .init(tracker: 0, consequence: .forbid)]
      settings.vips[1].tracks = [.init(tracker: 0, consequence: .forbid)]
      // Through a group: 2 waits for 3, which goes with it.
      settings.vips[2].tracks = [.init(tracker: 3, consequence: .forbid), .init(tracker: 9, consequence: .forbid)]
    }
    cluster.run(for: .seconds(2))
    for vip in 0..<4 { #expect(cluster.owners(vip) == [0]) }
  }

  @Test func `a service without enough backends keeps its VIP away`() {
    let cluster = Cluster(backends: ["app1", "app2"]) { node, settings in
      settings.trackers = [TrackerSettings(name: "fitness", source: .service(0, atLeast: node == 0 ? 3 : 2))]
      settings.vips[0].tracks = [.init(tracker: 0, consequence: .forbid)]
    }
    cluster.run(for: .seconds(2))
    #expect(cluster.owners() == [1])
    #expect(cluster.nodes[0].vips[0].reason.contains("2 of the 3 backends"))
  }

  @Test func `reports for no tracker of ours change nothing`() {
    let cluster = cluster(.forbid)
    cluster.give(.track(tracker: 5, .bad("")), to: 0)
    cluster.give(.track(tracker: -1, .bad("")), to: 0)
    #expect(cluster.owners() == [0])
  }
}
