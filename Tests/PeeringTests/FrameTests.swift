import Basis
import Peering
import Testing

private let samples: [PeerFrame] = [
  .hello(
    Hello(node: "lb1", software: "0.2.0", configuration: "0123456789abcdef", life: .max, advertKeys: [7, 255])),
  .ping(1), .pong(.max), .pong(.max, wall: nil),
  .message(.vips([])),
  .message(
    .vips([
      .init(name: "web", state: .active, priority: 254, isEligible: true),
      .init(name: "dns", state: .fault, priority: 0, isEligible: false),
    ])),
  .message(.successor(vip: "web", node: "lb2")), .message(.successor(vip: "web", node: nil)),
  .message(.prepare(vip: "web", move: 42)), .message(.ready(vip: "web", move: 42)),
  .message(.refused(vip: "web", move: 42, reason: "its link is down — quite")),
  .message(.moved(vip: "web", to: "lb2", move: 42)), .message(.leave(vip: "web", to: "lb2", move: 42)),
  .message(
    .moved(
      vip: "web", to: "lb2", move: 42, freshness: .init(after: .milliseconds(3), within: .milliseconds(100)))),
  .message(.taken(vip: "web", move: 42)),
  .message(.moveRequest(vip: "web", to: "lb2", move: 42)), .message(.moveRequest(vip: "web", to: nil, move: 42)),
  .message(.moveEnded(move: 42, error: nil, vacant: .microseconds(900))),
  .message(.moveEnded(move: 42, error: "nobody is fit", vacant: nil)),
]

private func frames(_ bytes: [UInt8], piece: Int = .max) throws -> [PeerFrame] {
  var reader = PeerFrameReader()
  var frames: [PeerFrame] = []
  var rest = bytes[...]
  while !rest.isEmpty {
    reader.append(rest.prefix(piece))
    rest = rest.dropFirst(min(piece, rest.count))
    while let frame = try reader.next() { frames.append(frame) }
  }
  #expect(reader.waiting == 0)
  return frames
}

struct FrameTests {
  @Test(arguments: samples)
  func `What is written is read`(_ frame: PeerFrame) throws {
    #expect(try frames(frame.encoded) == [frame])
  }

  @Test(arguments: [1, 2, 3, 7, 100])
  func `Frames come in pieces of any size`(_ size: Int) throws {
    #expect(try frames(samples.flatMap(\.encoded), piece: size) == samples)
  }

  @Test func `Every kind that ends early is an error, and none a crash`() {
    for frame in samples {
      let bytes = frame.encoded
      for length in 2..<(bytes.count - 4) {
        var cut = Array(bytes.prefix(4 + length))
        cut[2] = UInt8(length >> 8)
        cut[3] = UInt8(length & 255)
        #expect(throws: PeeringError.self, "\(frame) cut to \(length)") { try frames(cut) }
      }
    }
  }

  @Test func `What a newer node adds is skipped`() throws {
    for frame in samples {
      var longer = frame.encoded + [1, 2, 3]
      longer[3] += 3
      #expect(try frames(longer) == [frame])
    }
    // A kind, a version of framing, and a state of a VIP that are not known here.
    #expect(try frames([0, 0, 0, 5, 1, 200, 9, 9, 9] + PeerFrame.ping(1).encoded) == [.unknown(kind: 200), .ping(1)])
    #expect(try frames([0, 0, 0, 3, 2, 16, 0] + PeerFrame.ping(1).encoded) == [.unknown(kind: 16), .ping(1)])
    var strange = PeerFrame.message(
      .vips([
        .init(name: "a", state: .active, priority: 1, isEligible: true),
        .init(name: "b", state: .backup, priority: 2, isEligible: true),
      ])
    ).encoded
    strange[4 + 2 + 2 + 2 + 3] = 99
    let expected = PeerMessage.vips([.init(name: "b", state: .backup, priority: 2, isEligible: true)])
    #expect(try frames(strange) == [.message(expected)])
  }

  @Test func `A frame that is too long, or none, is an error before it is read`() {
    #expect(throws: PeeringError.tooLong(Int(UInt32.max))) { try frames([255, 255, 255, 255]) }
    #expect(throws: PeeringError.tooLong(PeerFrame.longest + 1)) { try frames([0, 4, 0, 1]) }
    #expect(throws: PeeringError.tooShort(0)) { try frames([0, 0, 0, 0]) }
    #expect(throws: PeeringError.tooShort(1)) { try frames([0, 0, 0, 1, 1]) }
  }

  @Test func `A text that is not UTF-8 is an error`() {
    var bytes = PeerFrame.message(.successor(vip: "web", node: nil)).encoded
    bytes[8] = 0xFF
    #expect(throws: PeeringError.text(kind: 17)) { try frames(bytes) }
  }

  @Test func `A text that is too long is cut between two characters`() throws {
    let reason = String(repeating: "ü", count: 1000)
    let read = try frames(PeerFrame.message(.refused(vip: "web", move: 1, reason: reason)).encoded)
    #expect(read == [.message(.refused(vip: "web", move: 1, reason: String(repeating: "ü", count: 512)))])
  }

  @Test func `As many VIPs as a configuration can have fit`() throws {
    let reports = (0..<1024).map { (index: Int) -> PeerMessage.VIPReport in
      let linkLocal: UInt128? = index % 3 == 0 ? nil : UInt128(0xFE80) << 112
      return PeerMessage.VIPReport(
        name: String(repeating: "x", count: 60) + "\(index)", state: .backup, priority: 253, isEligible: true,
        router: .init(id: 51, version: 3, usesIPv6: false, isUnicast: index % 2 == 0), linkLocal: linkLocal)
    }
    let bytes = PeerFrame.message(.vips(reports)).encoded
    #expect(bytes.count < PeerFrame.longest)
    #expect(try frames(bytes, piece: 16_384) == [.message(.vips(reports))])
  }

  @Test func `Random bytes are frames or errors`() {
    var random = SplitMix64(seed: 1)
    for _ in 0..<20_000 {
      var body = (0..<Int(random.next(below: 60))).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      if body.count > 1 {
        body[0] = 1
        body[1] = UInt8([1, 2, 3, 16, 17, 18, 19, 20, 21, 22, 23, 24][Int(random.next(below: 12))])
      }
      _ = try? frames([0, 0, 0, UInt8(body.count)] + body)
    }
  }

  @Test func `The highest protocol in common is spoken`() {
    let hello = Hello(node: "a", software: "1", protocols: 2...4, configuration: "", life: 1)
    #expect(hello.common(with: 1...3) == 3)
    #expect(hello.common(with: 3...9) == 4)
    #expect(hello.common(with: 1...1) == nil)
    #expect(hello.common(with: 5...6) == nil)
  }

  @Test func `A pong says the time of day, and one of an earlier version does not`() throws {
    // Length, version of the framing, kind, number, nanoseconds since 1970.
    let bytes: [UInt8] = [0, 0, 0, 18, 1, 3] + [0, 0, 0, 0, 0, 0, 0, 7] + [0x18, 0, 0, 0, 0, 0, 0, 1]
    #expect(PeerFrame.pong(7, wall: 0x1800_0000_0000_0001).encoded == bytes)
    #expect(try frames(bytes) == [.pong(7, wall: 0x1800_0000_0000_0001)])
    // What an earlier version sends, and what it reads of the new one, which skips what it doesn't know.
    #expect(try frames([0, 0, 0, 10, 1, 3, 0, 0, 0, 0, 0, 0, 0, 7]) == [.pong(7)])
    #expect(PeerFrame.pong(7).encoded == [0, 0, 0, 10, 1, 3, 0, 0, 0, 0, 0, 0, 0, 7])
    #expect(bytes[6..<14].elementsEqual(PeerFrame.pong(7).encoded[6...]))
    for wall in [Int64.min, -1, 0, .max] {
      #expect(
        try frames(PeerFrame.pong(1, wall: wall).encoded + PeerFrame.ping(2).encoded) == [
          .pong(1, wall: wall), .ping(2),
        ])
    }
  }
}

struct ClockSkewTests {
  @Test func `The truth lies within half a round trip`() {
    // The peer is 3 s ahead; the question takes 1 ms, the answer 5.
    var skew = ClockSkew()
    #expect(skew.estimate == nil)
    skew.answered(
      theirs: 1_003_000_000_000 + 1_000_000, ours: 1_000_000_000_000 + 6_000_000, roundTrip: .milliseconds(6))
    #expect(skew.estimate == .init(offset: .seconds(3) - .milliseconds(2), error: .milliseconds(3)))
  }

  @Test func `The shortest round trip counts, until it is old`() {
    var skew = ClockSkew()
    skew.answered(theirs: 0, ours: 0, roundTrip: .microseconds(200))
    for _ in 0..<7 { skew.answered(theirs: 9_000_000, ours: 0, roundTrip: .milliseconds(40)) }
    #expect(skew.estimate?.error == .microseconds(100))
    skew.answered(theirs: 9_000_000, ours: 0, roundTrip: .milliseconds(40))
    #expect(skew.estimate?.error == .milliseconds(20))
  }

  @Test(arguments: [Int64.min, .min + 1, -1, 0, .max - 1, .max])
  func `No time of day that a peer may say is one too many`(_ theirs: Int64) {
    for ours in [Int64.min, -1, 0, 1_800_000_000_000_000_000, .max] {
      for trip in [Duration.zero, .seconds(-5), .milliseconds(1), .nanoseconds(Int64.max)] {
        var skew = ClockSkew()
        skew.answered(theirs: theirs, ours: ours, roundTrip: trip)
        #expect(skew.estimate.map { $0.error >= .zero && $0.offset > .nanoseconds(Int64.min) } == true)
      }
    }
  }
}
