import Basis
import Testing
import VRRP
import Wire

@Suite struct `Whatever comes in` {
  @Test(arguments: [AddressFamily.ipv4, .ipv6], [Version.v2, .v3])
  func `each message is counted exactly once, and nothing crashes`(family: AddressFamily, version: Version) {
    var random = SplitMix64(seed: 112)
    let isV4 = family == .ipv4
    let sources: [IPAddress] = isV4 ? [node11, node12, node13] : [v6("fe80::11"), v6("fe80::12"), v6("fe80::13")]
    let addresses: [IPAddress] = isV4 ? [vip] : [v6("fe80::100"), v6("2001:db8::100")]
    var rig = Rig(version: version, addresses: addresses, local: sources[1])
    _ = rig.handle(.startup(local: sources[1]))
    var given: UInt64 = 0
    for _ in 0..<20_000 {
      let source = sources[Int(random.next(below: 3))]
      var bytes = Advert(
        version: rig.router.settings.version, id: 51, priority: UInt8(random.next(below: 256)),
        interval: .milliseconds(10 * Int(random.next(below: 4096))), addresses: addresses
      ).encoded(from: source, to: family.vrrpGroup, coverage: .pseudoHeader)
      switch random.next(below: 4) {
      case 0: break
      case 1:
        let index = Int(random.next(below: UInt64(bytes.count)))
        bytes[index] = UInt8(truncatingIfNeeded: random.next())
      case 2: bytes = (0..<random.next(below: 64)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      default: bytes.removeLast(Int(random.next(below: UInt64(bytes.count + 1))))
      }
      _ = rig.receive(
        bytes,
        Envelope(
          interface: "eth0", source: source, destination: family.vrrpGroup,
          hopLimit: random.next(below: 8) == 0 ? 1 : 255))
      given += 1
      #expect(rig.router.counters.accepted + rig.router.counters.discarded == given)
      #expect(rig.router.state != .initialize && rig.router.deadline != nil)
      rig.pass(.milliseconds(Int(random.next(below: 50))))
      _ = rig.handle(.timer)
      if random.next(below: 50) == 0 { _ = rig.handle(.yield) }
    }
    #expect(rig.router.counters.accepted > 1_000 && rig.router.counters.discarded > 1_000)
  }

  @Test func `the same inputs give the same outputs`() {
    func run() -> [VirtualRouter.Output] {
      var random = SplitMix64(seed: 7)
      var rig = Rig.backup()
      var outputs: [VirtualRouter.Output] = []
      for _ in 0..<2_000 {
        rig.pass(.milliseconds(Int(random.next(below: 200))))
        outputs += rig.handle(.timer)
        if random.next(below: 3) == 0 { outputs += rig.hear(UInt8(random.next(below: 256))) }
      }
      return outputs
    }
    let first = run()
    #expect(first == run())
    #expect(first.count > 1_000)
  }

  @Test func `the ends of time don't trap`() {
    for end in [Int64.min, -1, 0, .max - 1, .max] {
      var rig = Rig(preemptDelay: .seconds(Int64.max))
      rig.now = Instant(nanoseconds: end)
      _ = rig.handle(.startup(local: node12))
      _ = rig.hear(210, interval: .milliseconds(40_950))
      rig.now = Instant(nanoseconds: .max)
      _ = rig.handle(.timer)
      _ = rig.hear(1)
      _ = rig.handle(.yield)
      rig.now = Instant(nanoseconds: .min)
      _ = rig.hear(210)
      _ = rig.handle(.timer)
    }
  }

  @Test func `two routers on a wire settle on the better one, wherever they begin`() {
    for (first, second) in [(UInt8(100), UInt8(200)), (200, 100), (150, 150), (254, 253), (1, 255)] {
      var rigs = [Rig(priority: first, local: node11), Rig(priority: second, local: node12)]
      let start = rigs[0].now
      func deliver(_ outputs: [VirtualRouter.Output], from sender: Int, depth: Int = 0) {
        guard depth < 10 else {
          Issue.record("they never stop answering each other")
          return
        }
        for output in outputs {
          guard case .transmit(let bytes, _) = output else { continue }
          let answer = rigs[1 - sender].receive(
            bytes, Envelope(interface: "eth0", source: rigs[sender].local, destination: group, hopLimit: 255))
          deliver(answer, from: 1 - sender, depth: depth + 1)
        }
      }
      // Apart at first: both become active without hearing the other.
      for index in 0...1 { _ = rigs[index].handle(.startup(local: rigs[index].local)) }
      for index in 0...1 where rigs[index].router.state == .backup { _ = rigs[index].runToDeadline() }
      // Together again.
      for step in 4...40 {
        for index in 0...1 { rigs[index].now = start + .milliseconds(100 * step) }
        for index in 0...1 { deliver(rigs[index].handle(.timer), from: index) }
      }
      let winner = first > second ? 0 : 1
      #expect(rigs[winner].router.state == .active && rigs[1 - winner].router.state == .backup, "\(first) \(second)")
    }
  }
}
