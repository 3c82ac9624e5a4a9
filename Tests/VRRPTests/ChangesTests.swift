import Basis
import Testing
import VRRP
import Wire

@Suite struct `A changed priority` {
  @Test func `an owner says it with its next advert, not before`() {
    var rig = Rig.active()
    #expect(rig.handle(.priority(150)) == [])
    #expect(rig.runToDeadline().map(\.sentPriority) == [150])
    #expect(rig.router.settings.priority == 200)
  }

  @Test func `an owner that fell below a peer yields to it`() {
    var rig = Rig.active()
    _ = rig.handle(.priority(100))
    _ = rig.hear(150)
    #expect(rig.router.state == .backup)
  }

  @Test func `a backup's wait moves by the difference of the skews`() {
    var rig = Rig.backup()
    rig.pass(.milliseconds(100))
    _ = rig.handle(.priority(100))
    #expect(rig.left == .microseconds(221_875 + 39_062) + .nanoseconds(500))
    _ = rig.handle(.priority(200))
    #expect(rig.left == .microseconds(221_875))
  }

  @Test func `a backup that fell below the owner leaves it the VIP`() {
    var rig = Rig.backup()
    _ = rig.handle(.priority(100))
    rig.pass(.milliseconds(300))
    _ = rig.hear(150)
    #expect(rig.left! > .milliseconds(300))
  }

  @Test func `zero is taken for one: it would be a farewell`() {
    var rig = Rig.active()
    _ = rig.handle(.priority(0))
    #expect(rig.runToDeadline().map(\.sentPriority) == [1])
  }
}

@Suite struct `A named successor` {
  @Test func `takes over with the owner's priority 0, without skew`() {
    var rig = Rig.backup()
    _ = rig.hear(254)
    _ = rig.handle(.successor(true))
    let outputs = rig.hear(0)
    #expect(outputs.first?.sentPriority == 200)
    #expect(outputs.last == .becameActive(.left(node11)))
  }

  @Test func `takes no notice of somebody else's while the owner advertises`() {
    var rig = Rig.backup()
    _ = rig.hear(254)
    _ = rig.handle(.successor(true))
    let left = rig.left
    #expect(rig.hear(0, from: node13) == [])
    #expect(rig.left == left)
  }

  @Test func `waits its skew when somebody else says it, an interval after the owner's last advert`() {
    var rig = Rig.backup()
    _ = rig.hear(254)
    _ = rig.handle(.successor(true))
    rig.pass(.milliseconds(100))
    #expect(rig.hear(0, from: node13) == [])
    #expect(rig.left == .nanoseconds(21_875_000))
  }

  @Test func `waits its skew when it is no longer named`() {
    var rig = Rig.backup()
    _ = rig.hear(254)
    _ = rig.handle(.successor(true))
    _ = rig.handle(.successor(false))
    #expect(rig.hear(0) == [])
    #expect(rig.left == .nanoseconds(21_875_000))
  }

  @Test func `doesn't come back before its time when it made way itself`() {
    var rig = Rig.active()
    _ = rig.handle(.yield)
    _ = rig.hear(254)
    _ = rig.handle(.successor(true))
    #expect(rig.hear(0) == [])
    #expect(rig.left! > .milliseconds(300))
  }
}

@Suite struct `Planned moves` {
  @Test func `a backup takes over at once when it is told to`() {
    var rig = Rig.backup()
    let outputs = rig.handle(.takeOver(.handedBy("lb1")))
    #expect(outputs.first?.sentPriority == 200)
    #expect(outputs.last == .becameActive(.handedBy("lb1")))
    #expect(rig.handle(.takeOver(.handedBy("lb1"))) == [], "it is active already")
  }

  @Test func `a router that is not running takes nothing`() {
    var rig = Rig()
    #expect(rig.handle(.takeOver(.handedBy("lb1"))) == [])
    #expect(rig.router.state == .initialize)
  }

  @Test func `an owner makes way with a priority 0 and the reason`() {
    var rig = Rig.active()
    let outputs = rig.handle(.makeWay(.handedTo("lb2")))
    #expect(outputs.map(\.sentPriority) == [0, nil])
    #expect(outputs.last == .becameBackup(.handedTo("lb2")))
  }

  @Test func `whoever must not preempt leaves a lower owner alone, until it may again`() {
    var rig = Rig.backup()
    _ = rig.handle(.preempt(false))
    for _ in 1...10 {
      rig.pass(.milliseconds(100))
      _ = rig.hear(100)
      _ = rig.handle(.timer)
    }
    #expect(rig.router.state == .backup)
    _ = rig.handle(.preempt(nil))
    for _ in 1...4 {
      _ = rig.hear(100)
      rig.pass(.milliseconds(100))
      _ = rig.handle(.timer)
    }
    #expect(rig.router.state == .active)
  }

  @Test func `postponed, a backup waits, and what was due meanwhile is due when that ends`() {
    var rig = Rig.backup()
    _ = rig.handle(.postpone(until: rig.now + .seconds(5)))
    #expect(rig.left == .seconds(5))
    rig.pass(.seconds(1))
    #expect(rig.handle(.timer) == [])
    _ = rig.handle(.postpone(until: rig.now))
    #expect(rig.left! <= .zero)
    #expect(rig.handle(.timer).last == .becameActive(.silence(of: nil, for: .microseconds(321_875))))
  }
}

@Suite struct `Other settings` {
  private func changed(_ rig: Rig, _ change: (inout Settings) -> Void) -> VirtualRouter.Input {
    var settings = rig.router.settings
    change(&settings)
    return .settings(settings)
  }

  @Test func `other addresses are in the next advert of an owner, which stays one`() {
    var rig = Rig.active()
    let two = [vip, IPAddress.v4(IPv4Address(10, 0, 0, 101))]
    #expect(rig.handle(changed(rig) { $0.addresses = two }) == [])
    let expected = Advert(version: .v3, id: 51, priority: 200, interval: .milliseconds(100), addresses: two)
      .encoded(from: node12, to: group, coverage: .pseudoHeader)
    #expect(rig.runToDeadline() == [.transmit(expected, to: .multicast)])
    #expect(rig.router.state == .active)
  }

  @Test func `while the list changes node by node nobody takes over and nobody yields`() {
    var owner = Rig.active(priority: 254)
    var backup = Rig.backup(priority: 200)
    let two = [vip, IPAddress.v4(IPv4Address(10, 0, 0, 101))]
    _ = backup.handle(changed(backup) { $0.addresses = two })
    for _ in 1...20 {
      backup.pass(.milliseconds(100))
      _ = backup.hear(254, addresses: [vip])
      _ = backup.handle(.timer)
      _ = owner.runToDeadline()
    }
    #expect(owner.router.state == .active && backup.router.state == .backup)
    #expect(backup.router.counters.addressMismatches == 20)
  }

  @Test func `a shorter interval begins at once`() {
    var rig = Rig.active()
    _ = rig.handle(changed(rig) { $0.interval = .milliseconds(20) })
    #expect(rig.left == .milliseconds(20))
  }

  @Test func `a longer interval begins with the next advert, which tells of it in time`() {
    var rig = Rig.active()
    _ = rig.handle(changed(rig) { $0.interval = .seconds(1) })
    #expect(rig.left == .milliseconds(100))
    _ = rig.runToDeadline()
    #expect(rig.left == .seconds(1))
  }

  @Test func `a backup that has learned its owner's interval keeps to that`() {
    var rig = Rig.backup()
    _ = rig.hear(254, interval: .milliseconds(50))
    _ = rig.handle(changed(rig) { $0.interval = .seconds(1) })
    #expect(rig.router.interval == .milliseconds(50))
  }

  @Test func `preemption, its delay and the peers are taken as they come`() {
    var rig = Rig(peers: .unicast([node11]))
    _ = rig.handle(.startup(local: node12))
    _ = rig.handle(changed(rig) { $0.peers = .unicast([node11, node13]) })
    #expect(rig.runToDeadline().count == 3)
  }

  @Test func `what would be another virtual router changes nothing`() {
    let changes: [@Sendable (inout Settings) -> Void] = [
      { $0.id = 52 }, { $0.version = .v2 }, { $0.family = .ipv6 }, { $0.peers = .unicast([node11]) },
    ]
    for change in changes {
      var rig = Rig.active()
      let before = rig.router.settings
      _ = rig.handle(changed(rig, change))
      #expect(rig.router.settings == before)
    }
  }
}
