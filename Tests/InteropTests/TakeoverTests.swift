import Configuration
import Glibc
import Testing
import Wire

@testable import Lab

/// Every kind of packet that both speak, with either preferred.
private let combinations: [Setup] = [(2, Setup.Families.ipv4), (3, .ipv4), (3, .ipv6)].flatMap { version, families in
  [Configuration.Peers.multicast, .unicast].flatMap { peers in
    ["lb1", "lb2"].map { keepalived in
      Setup(
        version: version, families: families, peers: peers, keepalived: keepalived,
        milliseconds: version == 2 ? 1000 : 200)
    }
  }
}

/// One VIP of both families: one election, over either, carries both.
private let mixed = [false, true].flatMap { electsOverIPv6 in
  ["lb1", "lb2"].map { Setup(families: .both, keepalived: $0, electsOverIPv6: electsOverIPv6) }
}

@Suite(.enabled(if: missing == nil, "\(missing ?? "")"))
struct `Roost and keepalived` {
  @Test(arguments: combinations + mixed)
  func `take over from each other`(setup: Setup) async throws {
    let pair = try Pair(setup)
    defer { pair.remove() }
    try await pair.awaitLink()
    try await pair.takeTurns()

    let frames = try await pair.frames()
    expectRightAdverts(frames, of: pair)
    let (start, stop, back, death, again) =
      (pair.phases[0], pair.phases[1], pair.phases[2], pair.phases[3], pair.phases[4])
    for phase in [start, back, again] {
      expectTakeover(frames, by: "lb1", in: phase, of: pair)
      #expect(lastSpeaker(frames, in: phase, of: pair) == "lb1", "\(phase.name)")
    }
    for phase in [stop, death] {
      expectTakeover(frames, by: "lb2", in: phase, of: pair)
      #expect(lastSpeaker(frames, in: phase, of: pair) == "lb2", "\(phase.name)")
    }

    // A polite stop says so, and is followed.
    let farewell = try #require(adverts(frames, of: "lb1", in: stop, pair).first { $0.advert?.priority == 0 })
    let succession = try #require(adverts(frames, of: "lb2", in: stop, pair).first)
    #expect(farewell.time < succession.time)

    // A death says nothing, and is noticed by Active_Down_Interval, no earlier.
    #expect(adverts(frames, of: "lb1", in: death, pair).isEmpty)
    let before = try #require(
      frames.last { $0.advert != nil && $0.sourceMAC == pair.mac("lb1") && $0.time < death.began })
    let after = try #require(adverts(frames, of: "lb2", in: death, pair).first)
    #expect(after.time - before.time > 2.9 * Double(setup.milliseconds) / 1000)
  }

  private func adverts(_ frames: [Frame], of node: String, in phase: Pair.Phase, _ pair: Pair) -> [Frame] {
    frames.filter { $0.advert != nil && $0.sourceMAC == pair.mac(node) && phase.began...phase.ended ~= $0.time }
  }

  private func lastSpeaker(_ frames: [Frame], in phase: Pair.Phase, of pair: Pair) -> String? {
    let last = frames.last { $0.advert != nil && $0.time <= phase.ended }
    return last.flatMap { frame in pair.machines.nodes.first { pair.mac($0) == frame.sourceMAC } }
  }

  /// The new owner says that it is one, and tells every neighbour its own MAC address for each of the VIP's.
  private func expectTakeover(_ frames: [Frame], by node: String, in phase: Pair.Phase, of pair: Pair) {
    let priority = node == "lb1" ? 254 : 253
    #expect(adverts(frames, of: node, in: phase, pair).contains { $0.advert?.priority == priority }, "\(phase.name)")
    for vip in pair.setup.vips {
      let announced = frames.filter { phase.began...phase.ended ~= $0.time && $0.announcement?.address == "\(vip)" }
      #expect(
        announced.contains { $0.announcement?.mac == pair.mac(node) && $0.sourceMAC == pair.mac(node) }, "\(phase.name)"
      )
    }
  }

  /// Each advert of either is as RFC 9568 §5 (RFC 3768 §5) wants it.
  private func expectRightAdverts(_ frames: [Frame], of pair: Pair) {
    let setup = pair.setup
    let interval = setup.version == 2 ? setup.milliseconds / 1000 : setup.milliseconds / 10
    let listed = setup.vips.filter { $0.family == setup.family }.map(\.description)
    let all = frames.filter { $0.advert != nil }
    #expect(Set(all.map(\.sourceMAC)) == Set(pair.machines.nodes.map { pair.mac($0) }))
    for frame in all {
      guard let advert = frame.advert, let node = pair.machines.nodes.first(where: { pair.mac($0) == frame.sourceMAC })
      else { continue }
      #expect(advert.hasGoodChecksum, "\(node) \(frame)")
      #expect(frame.hopLimit == 255, "\(node) \(frame)")
      #expect(advert.version == setup.version && advert.id == 51 && advert.interval == interval, "\(node) \(frame)")
      #expect([0, node == "lb1" ? 254 : 253].contains(advert.priority), "\(node) \(frame)")
      #expect(advert.addresses.suffix(listed.count) == listed[...], "\(node) \(frame)")
      let own = setup.own(node).first { $0.family == setup.family }.map(\.description) ?? ""
      let others = setup.own(pair.peer(of: node)).first { $0.family == setup.family }.map(\.description) ?? ""
      switch (setup.peers, setup.family) {
      case (.unicast, _): #expect(frame.source == own && frame.destination == others, "\(node) \(frame)")
      case (.multicast, .ipv4): #expect(frame.source == own && frame.destination == "224.0.0.18", "\(node) \(frame)")
      case (.multicast, .ipv6):
        #expect(frame.source.hasPrefix("fe80::") && frame.destination == "ff02::12", "\(node) \(frame)")
      }
      if setup.family == .ipv6 { #expect(advert.addresses.first == "fe80::200:5eff:fe00:233", "\(node) \(frame)") }
    }
  }
}
