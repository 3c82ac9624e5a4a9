import Basis
import Testing
import VRRP
import Wire

@Suite struct `Preemption` {
  @Test func `a delay leaves a lower owner alone, then takes over`() {
    var rig = Rig.backup(preemptDelay: .seconds(5))
    for _ in 0..<50 {
      rig.pass(.milliseconds(100))
      _ = rig.hear(100)
      #expect(rig.router.state == .backup)
    }
    // The delay is over with the last of these: from there on the wait goes on, whatever the lower owner says.
    var waited = Duration.zero
    while rig.router.state == .backup, waited < .seconds(1) {
      let next = min(rig.left!, .milliseconds(100))
      rig.pass(next)
      waited += next
      _ = rig.handle(.timer)
      if rig.router.state == .backup { _ = rig.hear(100) }
    }
    #expect(rig.router.state == .active)
    #expect(waited <= .microseconds(321_875))
  }

  @Test func `a delay doesn't hold back from a dead owner`() {
    var rig = Rig.backup(preemptDelay: .seconds(500))
    #expect(rig.runToDeadline().last == .becameActive(.silence(of: nil, for: .microseconds(321_875))))
  }

  @Test func `the address owner always preempts`() {
    var rig = Rig(priority: 255, preempt: false, preemptDelay: .seconds(5))
    _ = rig.handle(.startup(local: node12))
    _ = rig.handle(.yield)
    #expect(rig.router.state == .backup)
    let deadline = rig.router.deadline
    _ = rig.hear(254)
    #expect(rig.router.deadline == deadline)
  }
}

@Suite struct `Making way` {
  @Test func `says priority 0, and stays away for an Active_Down_Interval`() {
    var rig = Rig.active()
    let outputs = rig.handle(.yield)
    #expect(outputs.map(\.sentPriority) == [0, nil])
    #expect(outputs.last == .becameBackup(.yielded))
    #expect(rig.left == .microseconds(321_875))
    rig.pass(.milliseconds(100))
    _ = rig.hear(0)  // the peer that took over leaves again
    #expect(rig.left == .microseconds(221_875))
    #expect(rig.runToDeadline().last == .becameActive(.left(node11)))
  }

  @Test func `a backup has nothing to give`() {
    var rig = Rig.backup()
    #expect(rig.handle(.yield) == [])
  }
}

@Suite struct `Notices` {
  private func notices(_ outputs: [VirtualRouter.Output]) -> [Notice] {
    outputs.compactMap { if case .notice(let notice) = $0 { notice } else { nil } }
  }

  /// A backup that has already told which checksum its peer uses.
  private var rig: Rig {
    var rig = Rig.backup()
    _ = rig.hear(210)
    return rig
  }

  @Test func `another interval is told once, and obeyed`() {
    var rig = rig
    #expect(
      notices(rig.hear(210, interval: .seconds(1)))
        == [.intervalMismatch(from: node11, theirs: .seconds(1), ours: .milliseconds(100))])
    #expect(notices(rig.hear(210, interval: .seconds(1))) == [])
    #expect(rig.router.interval == .seconds(1))
    #expect(rig.router.counters.intervalMismatches == 2)
  }

  @Test func `another interval of v2 is obeyed too, where RFC 3768 would drop it`() {
    var rig = Rig.backup(version: .v2, interval: .seconds(1))
    _ = rig.hear(210, interval: .seconds(5))
    #expect(rig.router.counters.accepted == 1)
    #expect(rig.left == .seconds(15) + .nanoseconds(218_750_000))  // 3 × 5 s + 56/256 s
  }

  @Test func `other addresses are told once, and obeyed`() {
    var rig = rig
    let theirs = [vip, IPAddress.v4(IPv4Address(10, 0, 0, 101))]
    #expect(
      notices(rig.hear(210, addresses: theirs)) == [.addressesMismatch(from: node11, theirs: theirs, ours: [vip])])
    #expect(notices(rig.hear(210, addresses: theirs)) == [])
    #expect(rig.router.counters.addressMismatches == 2)
    #expect(rig.router.owner?.priority == 210)
  }

  @Test func `a changed mismatch is told, but not more often than each ten seconds`() {
    var rig = rig
    #expect(notices(rig.hear(210, interval: .seconds(1))).count == 1)
    #expect(notices(rig.hear(210, interval: .seconds(2))).count == 0)
    rig.pass(.seconds(10))
    #expect(
      notices(rig.hear(210, interval: .seconds(2)))
        == [.intervalMismatch(from: node11, theirs: .seconds(2), ours: .milliseconds(100))])
  }

  @Test func `the order of the addresses doesn't matter`() {
    let two = [vip, IPAddress.v4(IPv4Address(10, 0, 0, 101))]
    var rig = Rig(addresses: two)
    _ = rig.handle(.startup(local: node12))
    _ = rig.hear(210, addresses: two.reversed())
    #expect(rig.router.counters.addressMismatches == 0)
  }

  @Test func `the same address twice is not two addresses`() {
    let two = [vip, IPAddress.v4(IPv4Address(10, 0, 0, 101))]
    var rig = Rig(addresses: two)
    _ = rig.handle(.startup(local: node12))
    _ = rig.hear(210, addresses: [vip, vip])
    #expect(rig.router.counters.addressMismatches == 1)
  }

  @Test func `each vendor may have its own IPv6 link-local address`() {
    var rig = Rig(addresses: [v6("2001:db8::100")], local: v6("fe80::12"))
    _ = rig.handle(.startup(local: v6("fe80::12")))
    _ = rig.hear(210, from: v6("fe80::11"), addresses: [v6("fe80::100"), v6("2001:db8::100")])
    #expect(rig.router.counters.accepted == 1 && rig.router.counters.addressMismatches == 0)
  }
}

@Suite struct `Checksums over IPv4` {
  private func sent(_ rig: inout Rig) -> [UInt8] {
    _ = rig.runToDeadline()
    if case .transmit(let bytes, _)? = rig.runToDeadline().first { return bytes }
    return []
  }

  private func expected(_ coverage: ChecksumCoverage) -> [UInt8] {
    Advert(version: .v3, id: 51, priority: 200, interval: .milliseconds(100), addresses: [vip])
      .encoded(from: node12, to: group, coverage: coverage)
  }

  @Test(arguments: [ChecksumCoverage.pseudoHeader, .message])
  func `both readings are accepted, and counted`(coverage: ChecksumCoverage) {
    var rig = Rig.backup()
    _ = rig.hear(210, coverage: coverage)
    #expect(rig.router.counters.accepted == 1)
    #expect(rig.router.counters.checksumMessage == (coverage == .message ? 1 : 0))
    #expect(rig.router.counters.checksumPseudoHeader == (coverage == .message ? 0 : 1))
    #expect(sent(&rig) == expected(.pseudoHeader))
  }

  @Test func `what a peer uses is learned where the settings say so`() {
    var rig = Rig.backup(checksum: .learned)
    let outputs = rig.hear(210, coverage: .message)
    #expect(outputs == [.notice(.checksumCoverage(from: node11, .message))])
    #expect(sent(&rig) == expected(.message))
    _ = rig.hear(100, coverage: .pseudoHeader)
    if case .transmit(let bytes, _)? = rig.runToDeadline().first { #expect(bytes == expected(.pseudoHeader)) }
  }

  @Test func `the settings' own reading is sent`() {
    var rig = Rig.backup(checksum: .message)
    #expect(sent(&rig) == expected(.message))
  }
}

@Suite struct `What is sent` {
  @Test func `a new source makes new adverts`() {
    var rig = Rig.active()
    _ = rig.handle(.local(node13))
    #expect(
      rig.runToDeadline() == [
        .transmit(
          Advert(version: .v3, id: 51, priority: 200, interval: .milliseconds(100), addresses: [vip])
            .encoded(from: node13, to: group, coverage: .pseudoHeader), to: .multicast)
      ])
    _ = rig.handle(.local(v6("fe80::1")))
    #expect(rig.runToDeadline().count == 1)
  }

  @Test func `unicast goes to each peer, each with its own checksum, and not to ourselves`() {
    var rig = Rig(peers: .unicast([node11, node12, node13]))
    _ = rig.handle(.startup(local: node12))
    let advert = Advert(version: .v3, id: 51, priority: 200, interval: .milliseconds(100), addresses: [vip])
    let outputs = rig.runToDeadline()
    #expect(
      outputs.dropLast() == [
        .transmit(advert.encoded(from: node12, to: node11, coverage: .pseudoHeader), to: .unicast(node11)),
        .transmit(advert.encoded(from: node12, to: node13, coverage: .pseudoHeader), to: .unicast(node13)),
      ])
    #expect(rig.router.counters.sent == 1)
  }

  @Test func `that a peer's hop limit has its adverts dropped is said, once`() {
    var rig = Rig(peers: .unicast([node11]))
    _ = rig.handle(.startup(local: node12))
    let advert = Advert(version: .v3, id: 51, priority: 210, interval: .milliseconds(100), addresses: [vip])
      .encoded(from: node11, to: node12, coverage: .pseudoHeader)
    let envelope = Envelope(interface: "eth0", source: node11, destination: node12, hopLimit: 64)
    #expect(rig.receive(advert, envelope) == [.notice(.peerHopLimit(from: node11, 64))])
    #expect(rig.receive(advert, envelope).isEmpty)
    #expect(rig.router.counters[.unicastHopLimit] == 2)
    #expect("\(Notice.peerHopLimit(from: node11, 64))".contains("unicast_ttl 255"))
  }

  @Test func `v2 is never spoken over IPv6`() {
    var rig = Rig(version: .v2, addresses: [v6("2001:db8::100")], local: v6("fe80::12"))
    _ = rig.handle(.startup(local: v6("fe80::12")))
    if case .transmit(let bytes, _)? = rig.runToDeadline().first { #expect(bytes[0] == 0x31) }
  }

  @Test func `every captured message of keepalived is accepted by a router of its kind`() {
    for captured in Captured.all {
      let isV6 = captured.source.family == .ipv6
      let local: IPAddress = isV6 ? v6("fe80::12") : node12
      var rig = Rig(
        interval: captured.advert.interval, version: captured.advert.version, addresses: captured.advert.addresses,
        peers: captured.destination.isMulticast ? .multicast : .unicast([node11]), local: local)
      _ = rig.handle(.startup(local: local))
      _ = rig.receive(
        captured.bytes,
        Envelope(interface: "va", source: captured.source, destination: captured.destination, hopLimit: 255))
      #expect(rig.router.counters.accepted == 1, "\(captured.name)")
      #expect(rig.router.counters.addressMismatches == 0 && rig.router.counters.intervalMismatches == 0)
    }
  }

  @Test func `reasons and notices read as sentences`() {
    #expect("\(Reason.silence(of: node11, for: .milliseconds(330)))" == "no advert from 10.0.0.11 for 330 ms")
    #expect("\(Reason.silence(of: nil, for: .milliseconds(3_600)))" == "no advert from anybody for 3.6 s")
    #expect("\(Reason.left(node12))" == "10.0.0.12 leaves (priority 0)")
    #expect(
      "\(Reason.higherPriority(node12, theirs: 254, ours: 253))" == "higher priority 254 > 253 heard from 10.0.0.12")
    #expect(
      "\(Notice.intervalMismatch(from: node11, theirs: .seconds(1), ours: .milliseconds(7)))"
        == "10.0.0.11 advertises every 1 s, this node every 7 ms: set the same interval on both")
  }
}
