import Basis
import Testing
import VRRP
import Wire

/// The rows of RFC 9568 §6.4, one test each. Times: interval 100 ms, priority 200, so Skew_Time is 21.875 ms.
@Suite struct `Initialize` {
  @Test func `started with priority 255: an advert, the addresses, Active`() {
    var rig = Rig(priority: 255)
    let outputs = rig.handle(.startup(local: node12))
    #expect(outputs.map(\.sentPriority) == [255, nil])
    #expect(outputs.last == .becameActive(.ownsAddresses))
    #expect(rig.router.state == .active)
    #expect(rig.left == .milliseconds(100))
  }

  @Test func `started with less: Backup, and listens for an Active_Down_Interval`() {
    var rig = Rig()
    #expect(rig.handle(.startup(local: node12)) == [.becameBackup(.started)])
    #expect(rig.router.state == .backup)
    #expect(rig.router.interval == .milliseconds(100))
    #expect(rig.left == .microseconds(321_875))
  }

  @Test func `nothing happens before the start`() {
    var rig = Rig()
    #expect(rig.handle(.timer) == [])
    #expect(rig.handle(.shutdown) == [])
    #expect(rig.handle(.yield) == [])
    #expect(rig.handle(.abandon("")) == [])
    #expect(rig.router.state == .initialize && rig.router.deadline == nil)
  }

  @Test func `a source of the other family doesn't start it`() {
    var rig = Rig()
    #expect(rig.handle(.startup(local: v6("fe80::1"))) == [])
    #expect(rig.router.state == .initialize)
  }
}

@Suite struct `Backup` {
  @Test func `shutdown: back to Initialize, without a word`() {
    var rig = Rig.backup()
    #expect(rig.handle(.shutdown) == [.becameInitialize(.shutdown)])
    #expect(rig.router.state == .initialize && rig.router.deadline == nil)
  }

  @Test func `Active_Down_Timer: an advert, the addresses, Active`() {
    var rig = Rig.backup()
    let outputs = rig.runToDeadline()
    #expect(outputs.map(\.sentPriority) == [200, nil])
    #expect(outputs.last == .becameActive(.silence(of: nil, for: .microseconds(321_875))))
    #expect(rig.router.state == .active && rig.left == .milliseconds(100))
  }

  @Test func `a timer that comes early does nothing`() {
    var rig = Rig.backup()
    rig.pass(.milliseconds(321))
    #expect(rig.handle(.timer) == [])
    #expect(rig.left == .microseconds(875))
  }

  @Test func `priority 0: wait the Skew_Time only`() {
    var rig = Rig.backup()
    _ = rig.hear(210)
    _ = rig.hear(0)
    #expect(rig.left == .microseconds(21_875))
    #expect(rig.runToDeadline().last == .becameActive(.left(node11)))
    #expect(rig.router.counters.farewells == 1)
  }

  @Test func `skews are finer than a centisecond`() {
    var rig = Rig.backup(priority: 254, interval: .milliseconds(10))
    _ = rig.hear(0)
    #expect(rig.left == .nanoseconds(78_125))
  }

  @Test func `a stream of priority 0 can't keep it waiting`() {
    var rig = Rig.backup()
    _ = rig.hear(0)
    let deadline = rig.router.deadline
    rig.pass(.milliseconds(20))
    _ = rig.hear(0)
    #expect(rig.router.deadline == deadline)
  }

  @Test(arguments: [UInt8(200), 201, 255])
  func `an advert as good as ours or better: wait anew`(priority: UInt8) {
    var rig = Rig.backup()
    rig.pass(.milliseconds(300))
    #expect(rig.hear(priority).filter { $0.sentPriority != nil } == [])
    #expect(rig.left == .microseconds(321_875))
    #expect(rig.router.owner == .init(address: node11, priority: priority, heard: rig.now))
  }

  @Test func `the owner's interval is learned`() {
    var rig = Rig.backup()
    _ = rig.hear(210, interval: .seconds(2))
    #expect(rig.router.interval == .seconds(2))
    #expect(rig.left == .milliseconds(6_000) + .microseconds(437_500))  // 3 × 2 s + 56/256 × 2 s
    #expect(rig.router.counters.intervalStretched == 1)
    _ = rig.hear(210)
    #expect(rig.router.interval == .milliseconds(100) && rig.left == .microseconds(321_875))
    #expect(rig.router.counters.intervalStretched == 1)
  }

  @Test func `a worse advert while preempting: dropped, teaches nothing, and the wait goes on`() {
    var rig = Rig.backup()
    rig.pass(.milliseconds(300))
    _ = rig.hear(199, interval: .seconds(40))
    #expect(rig.left == .microseconds(21_875))
    #expect(rig.router.interval == .milliseconds(100))
    #expect(rig.router.counters.losing == 1)
    #expect(rig.runToDeadline().last == .becameActive(.preempts(owner: node11, theirs: 199, ours: 200)))
  }

  @Test func `a worse advert while not preempting: obeyed`() {
    var rig = Rig.backup(preempt: false)
    rig.pass(.milliseconds(300))
    _ = rig.hear(1, interval: .milliseconds(200))
    #expect(rig.left == .microseconds(643_750))
    #expect(rig.router.owner?.priority == 1)
    // When it falls silent, that is the reason: nothing was preempted.
    #expect(rig.runToDeadline().last == .becameActive(.silence(of: node11, for: .microseconds(643_750))))
  }

  @Test func `silence names who fell silent, and for how long`() {
    var rig = Rig.backup()
    _ = rig.hear(210)
    let outputs = rig.runToDeadline()
    #expect(outputs.last == .becameActive(.silence(of: node11, for: .microseconds(321_875))))
    #expect(rig.router.owner == nil)
  }
}

@Suite struct `Active` {
  @Test func `shutdown: priority 0, Initialize`() {
    var rig = Rig.active()
    let outputs = rig.handle(.shutdown)
    #expect(outputs.map(\.sentPriority) == [0, nil])
    #expect(outputs.last == .becameInitialize(.shutdown))
    #expect(rig.router.deadline == nil && rig.router.counters.sentFarewells == 1)
  }

  @Test func `abandoned: Initialize without a word`() {
    var rig = Rig.active()
    #expect(rig.handle(.abandon("eth0 is down")) == [.becameInitialize(.abandoned("eth0 is down"))])
  }

  @Test func `Adver_Timer: an advert in each interval, without drift`() {
    var rig = Rig.active()
    let start = rig.now
    for count in 1...5 {
      rig.now = rig.router.deadline! + .milliseconds(3)  // a loop that is always late
      #expect(rig.handle(.timer).map(\.sentPriority) == [200])
      #expect(rig.router.deadline == start + .milliseconds(100) * (count + 1))
    }
  }

  @Test func `after a long stall one advert goes out, not all that were missed`() {
    var rig = Rig.active()
    rig.pass(.seconds(60))
    #expect(rig.handle(.timer).filter { $0.sentPriority != nil }.count == 1)
    #expect(rig.left == .milliseconds(100))
  }

  @Test func `priority 0: an advert at once, and the timer anew`() {
    var rig = Rig.active()
    rig.pass(.milliseconds(40))
    let outputs = rig.hear(0)
    #expect(outputs.compactMap(\.sentPriority) == [200])
    #expect(rig.router.state == .active && rig.left == .milliseconds(100))
  }

  @Test func `a higher priority: Backup, learning the interval`() {
    var rig = Rig.active()
    let outputs = rig.hear(201, from: node11, interval: .milliseconds(200))
    #expect(outputs.last == .becameBackup(.higherPriority(node11, theirs: 201, ours: 200)))
    #expect(rig.router.state == .backup && rig.router.interval == .milliseconds(200))
    #expect(rig.left == .microseconds(643_750))
    #expect(rig.router.owner?.address == node11)
  }

  @Test func `the loser's last advert lets the winner announce again`() {
    var loser = Rig.active()
    let last = loser.hear(201).compactMap { output -> [UInt8]? in
      if case .transmit(let bytes, to: .multicast) = output { bytes } else { nil }
    }
    #expect(last.count == 1)
    var winner = Rig(priority: 201, local: node11)
    _ = winner.handle(.startup(local: node11))
    _ = winner.runToDeadline()
    let outputs = winner.receive(
      last[0], Envelope(interface: "eth0", source: node12, destination: group, hopLimit: 255))
    #expect(outputs.contains(.announce(.losingAdvert(from: node12, theirs: 200, ours: 201))))
  }

  @Test func `equal priority and a greater address: Backup`() {
    var rig = Rig.active()
    #expect(rig.hear(200, from: node13).last == .becameBackup(.greaterAddress(node13, priority: 200)))
  }

  @Test func `addresses compare as unsigned numbers`() {
    var rig = Rig.active()
    #expect(rig.hear(200, from: .v4(IPv4Address(200, 0, 0, 1))).last != nil)
    #expect(rig.router.state == .backup)
  }

  @Test(arguments: [(UInt8(199), node13), (UInt8(200), node11), (UInt8(1), node13)])
  func `a losing advert: an advert at once, and the neighbours are told again`(priority: UInt8, source: IPAddress) {
    var rig = Rig.active()
    rig.pass(.milliseconds(50))
    let outputs = rig.hear(priority, from: source, interval: .seconds(40))
    #expect(outputs.compactMap(\.sentPriority) == [200])
    #expect(outputs.contains(.announce(.losingAdvert(from: source, theirs: priority, ours: 200))))
    #expect(rig.router.state == .active)
    #expect(rig.router.interval == .milliseconds(100))  // learned nothing
    #expect(rig.router.counters.losing == 1 && rig.router.counters.reasserted == 1)
  }

  @Test func `a storm of losing adverts draws one answer in a quarter of an interval, the last one included`() {
    var rig = Rig.active()
    let start = rig.now
    var answers: [Duration] = []
    for step in 0..<1_000 {  // one each 0.1 ms
      rig.now = start + .microseconds(100 * step)
      var outputs = rig.hear(100)
      if rig.now >= rig.router.deadline! { outputs += rig.handle(.timer) }
      if outputs.contains(where: { $0.sentPriority != nil }) { answers.append(rig.now - start) }
    }
    #expect(answers == [.zero, .milliseconds(25), .milliseconds(50), .milliseconds(75)])
    // One is owed for those after the last answer, and it needs no further advert to come out.
    let outputs = rig.runToDeadline()
    #expect(rig.now - start == .milliseconds(100))
    #expect(outputs.contains { if case .announce = $0 { true } else { false } })
    #expect(rig.runToDeadline().count == 1 && rig.now - start == .milliseconds(200))
  }
}
