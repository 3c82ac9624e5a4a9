import Basis
import Node
import Peering
import Testing
import VRRP
import Wire

struct EventRecordingTests {
  private static var settings: NodeSettings {
    var settings = Bench(backends: ["app1"]).node.settings
    settings.vips[0].tracks = [.init(tracker: 0, consequence: .forbid), .init(tracker: 1, consequence: .lower(50))]
    settings.vips[0].warmUp = .seconds(30)
    settings.vips[0].refresh = .seconds(60)
    settings.vips[0].preparation = .seconds(5)
    settings.vips.append(.vacant)
    settings.services.append(.vacant)
    settings.trackers = [
      TrackerSettings(name: "uplink", source: .external, rise: 2, fall: 3),
      TrackerSettings(name: "fit", source: .service(0, atLeast: 1)), TrackerSettings(name: "own", source: .vip(0)),
    ]
    settings.groups = [[0]]
    settings.peers = ["lb2", "lb3"]
    settings.hasWitnesses = true
    return settings
  }

  private static var messages: [PeerMessage] {
    [
      .vips([.init(name: "web", state: .active, priority: 254, isEligible: true)]), .vips([]),
      .vips([
        .init(
          name: "web", state: .backup, priority: 254, isEligible: true,
          router: .init(id: 51, version: 3, usesIPv6: false, isUnicast: true)),
        .init(
          name: "web6", state: .backup, priority: 254, isEligible: true,
          router: .init(id: 52, version: 3, usesIPv6: true, isUnicast: false), linkLocal: 0xFE80 << 112 | 0x12),
      ]),
      .successor(vip: "web", node: "lb2"), .successor(vip: "web", node: nil), .prepare(vip: "web", move: 1),
      .ready(vip: "web", move: .max), .refused(vip: "web", move: 3, reason: "no carrier"),
      .moved(vip: "web", to: "lb2", move: 4), .leave(vip: "web", to: "lb2", move: 4),
      .moved(vip: "web", to: "lb2", move: 4, freshness: .init(after: .milliseconds(3), within: .milliseconds(100))),
      .taken(vip: "web", move: 5),
      .moveRequest(vip: "web", to: nil, move: 6), .moveRequest(vip: "web", to: "lb3", move: 6),
      .moveEnded(move: 7, error: nil, vacant: .microseconds(900)), .moveEnded(move: 7, error: "lost", vacant: nil),
    ]
  }

  private static var events: [Event] {
    var silent = LinkState(isUp: true, ipv4: Bench.own, linkLocal: nil)
    silent.hasReceived = false
    let mac = MACAddress(rawValue: 0x0200_0000_0001)
    var events: [Event] = [
      .link(interface: "eth0", silent), .track(tracker: 0, .good), .track(tracker: 1, .bad("no route to 192.0.2.1")),
      .track(tracker: 0, .unknown("the command could not be run")), .witness(vip: 0, round: 7), .peer(0, .up),
      .peer(1, .down), .command(.move(vip: 0, to: .best), ticket: 1), .command(.move(vip: 0, to: .thisNode), ticket: 2),
      .command(.move(vip: 0, to: .peer(1)), ticket: .max), .command(.standby, ticket: 4), .command(.resume, ticket: 5),
      .command(.standbyAnyway, ticket: 6),
      .settings(settings), .prepared(vip: 0, generation: 3, succeeded: true),
      .prepared(vip: 0, generation: 3, succeeded: false), .address(vip: 0, .revoked(generation: 9)),
      .address(vip: 0, .claimed(Bench.vip, by: mac)),
      .address(vip: 0, .duplicate(.v6(IPv6Address(rawValue: 0x2001_0DB8 << 96 | 1)))),
    ]
    events.append(.resume(Bench.owner().node.resumption))
    for message in messages { events.append(.peer(0, .said(message))) }
    return events
  }

  private func recording() -> [UInt8] {
    var bytes = Recording.header(Self.settings, seed: 1)
    bytes.reserveCapacity(1 << 16)
    var writer = RecordingWriter()
    for event in Self.events {
      let written = writer.write(event, at: Instant(nanoseconds: 5), into: &bytes)
      #expect(written)
    }
    return bytes
  }

  @Test func `every event is the same after a recording, and so are the settings`() throws {
    var reader = try RecordingReader(recording())
    #expect(reader.settings == Self.settings)
    for event in Self.events {
      guard case .event(let read, _, _)? = try reader.next() else {
        Issue.record("no event was read where \(event) was written")
        return
      }
      #expect(read == event)
    }
    let end = try reader.next()
    #expect(end == nil)
  }

  @Test func `an event that doesn't fit is not begun, but new settings make room`() {
    var writer = RecordingWriter()
    var buffer: [UInt8] = []
    buffer.reserveCapacity(100)
    let capacity = buffer.capacity
    let long = Event.peer(0, .said(.refused(vip: "web", move: 1, reason: String(repeating: "x", count: 200))))
    let fits = writer.write(long, at: Instant(nanoseconds: 0), into: &buffer)
    #expect(!fits && buffer.isEmpty && buffer.capacity == capacity)
    let grows = writer.write(.settings(Self.settings), at: Instant(nanoseconds: 0), into: &buffer)
    #expect(grows && buffer.count > 100)
  }

  @Test func `a recording cut off anywhere is told, and never more`() throws {
    let whole = recording()
    for length in 0..<whole.count {
      do throws(RecordingError) {
        var reader = try RecordingReader(Array(whole[..<length]))
        while try reader.next() != nil {}
      } catch {
        guard length >= 8 else { continue }
        if case .cut = error { continue }
        Issue.record("\(length): \(error)")
      }
    }
  }

  @Test func `any byte may be another one`() {
    let whole = recording()
    var random = SplitMix64(seed: 42)
    for _ in 1...20_000 {
      var damaged = whole
      for _ in 0...random.next(below: 3) {
        damaged[Int(random.next(below: UInt64(whole.count)))] = UInt8(truncatingIfNeeded: random.next())
      }
      // Its hash would stop most of what is damaged in the settings; those are read again among the events.
      _ = try? Replay(damaged)
    }
  }

  @Test func `every decision of these stories is made again by a replay`() throws {
    var node = Node(Self.settings, seed: 3)
    var bytes = Recording.header(Self.settings, seed: 3)
    bytes.reserveCapacity(1 << 18)
    var writer = RecordingWriter()
    var now = Instant(nanoseconds: 0)
    func give(_ event: Event) {
      let written = writer.write(event, at: now, into: &bytes)
      #expect(written)
      node.handle(event, at: now) { writer.decided($0) }
    }
    give(.start)
    give(Bench.linkUp)
    for round in 0..<6 {
      for event in Self.events {
        give(event)
        now = now + .milliseconds(70)
        give(.timer)
      }
      give(.witness(vip: 0, round: UInt64(round)))
    }
    let finished = writer.finish(into: &bytes)
    #expect(finished)
    let replay = try Replay(bytes)
    #expect(replay.outcome == .identical && replay.isFinished)
  }
}
