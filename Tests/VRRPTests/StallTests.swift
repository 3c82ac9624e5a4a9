import Basis
import Testing
import VRRP
import Wire

// An owner of priority 200 with adverts every 100 ms. Backups wait for at least 300 ms.
@Suite struct `After a stall` {
  /// An owner whose thread was not run for that long after its last advert.
  private func owner(silentFor silence: Duration, preempt: Bool = true) -> Rig {
    var rig = Rig.active(preempt: preempt)
    rig.pass(silence)
    return rig
  }

  @Test func `an owner that is a little late says its advert and no more`() {
    var rig = owner(silentFor: .milliseconds(190))
    #expect(rig.handle(.timer).map(\.sentPriority) == [200])
  }

  @Test func `an owner late by more than an interval announces besides`() {
    var rig = owner(silentFor: .milliseconds(250))
    let outputs = rig.handle(.timer)
    #expect(outputs.first?.sentPriority == 200)
    #expect(outputs.last == .announce(.stalled(.milliseconds(150))))
    #expect(rig.router.state == .active)
  }

  @Test func `before anybody can have taken over a losing advert is answered as ever`() {
    var rig = owner(silentFor: .milliseconds(299))
    let outputs = rig.hear(100)
    #expect(outputs.compactMap(\.sentPriority) == [200])
    #expect(rig.router.state == .active)
  }

  @Test func `an owner that hears its successor when it wakes makes way without a word`() {
    var rig = owner(silentFor: .milliseconds(400))
    let outputs = rig.hear(100)
    #expect(outputs == [.becameBackup(.overslept(.milliseconds(400)))])
    #expect(rig.router.state == .backup)
    #expect(rig.left == .microseconds(321_875))
  }

  @Test func `with preemption it is back after an Active_Down_Interval`() {
    var rig = owner(silentFor: .milliseconds(400))
    let start = rig.now
    _ = rig.hear(100)
    while rig.router.state == .backup {
      rig.pass(min(rig.left ?? .zero, .milliseconds(100)))
      _ = rig.handle(.timer)
      if rig.router.state == .backup { _ = rig.hear(100) }
    }
    #expect(rig.now - start == .microseconds(321_875))
  }

  @Test func `without preemption its successor keeps the VIP`() {
    var rig = owner(silentFor: .milliseconds(400), preempt: false)
    _ = rig.hear(100)
    for _ in 1...100 {
      rig.pass(.milliseconds(100))
      _ = rig.handle(.timer)
      _ = rig.hear(100)
    }
    #expect(rig.router.state == .backup)
  }

  @Test func `an owner that hears nobody when it wakes goes on, for nobody took over`() {
    var rig = owner(silentFor: .seconds(60))
    let outputs = rig.handle(.timer)
    #expect(outputs.compactMap(\.sentPriority) == [200])
    #expect(outputs.last == .announce(.stalled(.milliseconds(59_900))))
    #expect(rig.router.state == .active)
  }

  @Test func `a better owner gets its last advert, stall or not`() {
    var rig = owner(silentFor: .milliseconds(400))
    let outputs = rig.hear(250)
    #expect(outputs.map(\.sentPriority) == [200, nil])
    #expect(rig.router.state == .backup)
  }

  @Test func `a successor that left again by then is answered with an advert`() {
    var rig = owner(silentFor: .milliseconds(400))
    #expect(rig.hear(0).compactMap(\.sentPriority) == [200])
    #expect(rig.router.state == .active)
  }

  @Test func `one that stalls again and again leaves its successor the VIP for longer each time`() {
    var rig = Rig.active()
    var waits: [Duration] = []
    for _ in 1...4 {
      rig.pass(.milliseconds(400))
      _ = rig.hear(100)
      let start = rig.now
      while rig.router.state == .backup {
        rig.pass(.milliseconds(20))
        _ = rig.handle(.timer)
        if rig.router.state == .backup { _ = rig.hear(100) }
      }
      waits.append(rig.now - start)
    }
    #expect(waits[0] < .milliseconds(400))
    #expect(waits[1] > .milliseconds(600))
    #expect(waits[2] > .milliseconds(1_200))
    #expect(waits[3] > .milliseconds(2_400))
  }

  @Test func `but takes over from one that falls silent as fast as ever`() {
    var rig = Rig.active()
    for _ in 1...3 {
      rig.pass(.milliseconds(400))
      _ = rig.hear(100)
      _ = rig.runToDeadline()
      #expect(rig.router.state == .active)
    }
  }
}

@Suite struct `Being deposed` {
  @Test func `not a word is said, and a full wait begins`() {
    var rig = Rig.active()
    #expect(rig.handle(.deposed(.revoked)) == [.becameBackup(.revoked)])
    #expect(rig.left == .microseconds(321_875))
  }

  @Test func `a priority 0 does not bring it back sooner`() {
    var rig = Rig.active()
    _ = rig.handle(.deposed(.revoked))
    rig.pass(.milliseconds(10))
    _ = rig.hear(0)
    #expect(rig.left == .microseconds(311_875))
  }

  @Test(arguments: [false, true])
  func `whoever is not active has nothing to lose`(isStarted: Bool) {
    var rig = isStarted ? Rig.backup() : Rig()
    #expect(rig.handle(.deposed(.revoked)) == [])
  }
}
