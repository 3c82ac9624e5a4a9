import Basis
import Node
import Scenario
import Simulator
import Testing

struct RecordingTests {
  static let plan = Plan(Chaos(every: .seconds(5)), nodes: 3, vips: 2, duration: .seconds(60))

  @Test(arguments: 0..<8 as Range<UInt64>)
  func `a recorded incident is replayed with identical decisions`(seed: UInt64) throws {
    for node in 0..<3 {
      let recordings = Simulation.recordings(of: node, in: Self.plan, seed: seed)
      let first = try #require(recordings.first)
      // A later life may begin with what a reload has made of them.
      #expect(try RecordingReader(first).settings == Self.plan.settings[node])
      for recording in recordings {
        let replay = try Replay(recording)
        #expect(replay.outcome == .identical)
        #expect(replay.events > 0)
        #expect(!replay.isCut)
      }
    }
  }

  @Test func `a recording of a scenario is small`() throws {
    let scenario = try #require(Scenario.builtIn(named: "node-dead"))
    let recordings = Simulation.recordings(of: 1, in: Plan(scenario), seed: 1)
    let events = try recordings.map { try Replay($0).events }.reduce(0, +)
    let bytes = recordings.map(\.count).reduce(0, +)
    #expect(events > 100)
    #expect(bytes / events < 64, "\(bytes) bytes for \(events) events")
  }

  @Test func `an upgrade is a second life that begins where the first one was, and both are replayed`() throws {
    let scenario = try #require(Scenario.builtIn(named: "upgrade"))
    for node in 0..<2 {
      let recordings = Simulation.recordings(of: node, in: Plan(scenario), seed: 1)
      #expect(recordings.count == 2)
      for recording in recordings { #expect(try Replay(recording).outcome == .identical) }
      var reader = try RecordingReader(try #require(recordings.last))
      var (resumed, started) = (0, 0)
      while let item = try reader.next() {
        if case .event(.resume, _, _) = item { resumed += 1 }
        if case .event(.start, _, _) = item { started += 1 }
      }
      #expect((resumed, started) == (1, 0))
    }
  }

  @Test func `an advert that was changed afterwards is found at its place`() throws {
    let recording = try #require(Simulation.recordings(of: 1, in: Self.plan, seed: 1).first)
    // The first event of the backup whose message's priority can be raised: what follows from it differs.
    var reader = try RecordingReader(recording)
    var events: [(event: Event, at: Instant)] = []
    while let item = try reader.next() { if case .event(let event, let at, _) = item { events.append((event, at)) } }
    let place = try #require(events.firstIndex { if case .advert = $0.event { true } else { false } })
    guard case .advert(_, let message) = events[place].event else { return }
    // Found by its bytes; every byte of it is covered by the checksum.
    let start = try #require(
      recording.indices.first { recording[$0...].starts(with: message) }, "the message stands in the recording as it is"
    )
    var tampered = recording
    tampered[start + 2] ^= 0x55
    let replay = try Replay(tampered)
    guard case .differs(let difference) = replay.outcome else {
      Issue.record("a changed advert made no difference")
      return
    }
    // Dropping an advert shows when the deadline that it would have moved comes, or when it is answered.
    #expect(difference.index >= place)
    #expect(difference.index < place + 40)
  }

  @Test func `decisions of another program are found at the event that made them`() throws {
    let recording = try #require(Simulation.recordings(of: 0, in: Self.plan, seed: 3).first)
    var reader = try RecordingReader(recording)
    var writer = RecordingWriter()
    var other = Recording.header(reader.settings, seed: reader.seed)
    other.reserveCapacity(4 * recording.count)
    var node = Node(reader.settings, seed: reader.seed)
    var index = 0
    var changed: (index: Int, event: Event)?
    while let item = try reader.next() {
      guard case .event(let event, let at, _) = item else { continue }
      let fits = writer.write(event, at: at, into: &other)
      #expect(fits)
      node.handle(event, at: at) { effect in
        // This program forgets its 20th announcement.
        if case .announce = effect, changed == nil, index > 20 {
          changed = (index, event)
        } else {
          writer.decided(effect)
        }
      }
      index += 1
    }
    let fits = writer.finish(into: &other)
    #expect(fits)
    let replay = try Replay(other)
    guard case .differs(let difference) = replay.outcome, let changed else {
      Issue.record("nothing differs")
      return
    }
    #expect(difference.index == changed.index)
    #expect(difference.event == changed.event)
    #expect(difference.effects.contains { if case .announce = $0 { true } else { false } })
  }

  @Test func `a recording that was cut off anywhere is replayed as far as it goes`() throws {
    let recording = try #require(Simulation.recordings(of: 1, in: Self.plan, seed: 2).first)
    let whole = try Replay(recording).events
    for length in stride(from: recording.count - 60, to: recording.count, by: 1) {
      let replay = try Replay(Array(recording[..<length]))
      #expect(replay.outcome == .identical)
      #expect(replay.events <= whole)
    }
  }

  @Test func `bytes that were damaged give an outcome or an error, never a crash`() throws {
    let recording = try #require(
      Simulation.recordings(of: 1, in: Self.plan, seed: 2).min { $0.count < $1.count }
    ).prefix(4000)
    var random = SplitMix64(seed: 7)
    for _ in 0..<2000 {
      var damaged = Array(recording)
      for _ in 0...random.next(below: 4) {
        damaged[Int(random.next(below: UInt64(damaged.count)))] = UInt8(truncatingIfNeeded: random.next())
      }
      do { _ = try Replay(damaged) } catch { #expect(!error.description.isEmpty) }
    }
    #expect(throws: RecordingError.notARecording) { try Replay([]) }
    #expect(throws: RecordingError.version(9)) { try Replay(Array("ROOSTREC".utf8) + [9]) }
  }

  @Test func `a buffer without room is left as it is`() {
    var writer = RecordingWriter()
    var buffer: [UInt8] = []
    buffer.reserveCapacity(1000)
    let capacity = buffer.capacity
    var written = 0
    while writer.write(.timer, at: Instant(nanoseconds: Int64(written)), into: &buffer) { written += 1 }
    #expect(written > 100)
    #expect(buffer.capacity == capacity)
    let count = buffer.count
    let fits = writer.write(.timer, at: Instant(nanoseconds: 0), into: &buffer)
    #expect(!fits)
    #expect(buffer.count == count)
    #expect(writer.events == UInt64(written))
  }
}
