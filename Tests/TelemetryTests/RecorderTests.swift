import Basis
import Foundation
import Health
import Linux
import Node
import Telemetry
import Testing
import VRRP
import Wire

private let own = IPv4Address(10, 0, 0, 11)
private let peer = IPv4Address(10, 0, 0, 12)
private let vip = IPAddress.v4(IPv4Address(10, 0, 0, 100))

private let settings = NodeSettings(
  name: "lb1",
  vips: [
    VIPSettings(
      name: "web", interface: "eth0", addresses: [vip],
      election: .vrrp(
        VRRP.Settings(id: 51, family: .ipv4, priority: 200, interval: .milliseconds(100), addresses: [vip])),
      lease: .seconds(2), drain: .seconds(1))
  ],
  services: [ServiceSettings(name: "site", vip: 0, backends: ["app1", "app2"], check: Health.Settings(jitter: 0.5))])

/// A node that is recorded as the daemon does it: what comes in before the node is given it, then what it decided.
private struct Life {
  var node = Node(settings, seed: 7)
  var now = Instant(nanoseconds: 5_000_000_000)
  let recorder: Recorder
  private(set) var events = 0
  private(set) var takes = 0

  init(_ recorder: Recorder) { self.recorder = recorder }

  private mutating func decide(_ event: Event) {
    var taken = 0
    node.handle(event, at: now) { effect in
      if case .take = effect { taken += 1 }
      recorder.decided(effect)
    }
    takes += taken
    events += 1
  }

  mutating func give(_ event: Event) {
    recorder.record(event, at: now)
    decide(event)
  }

  mutating func hear(priority: UInt8) {
    let advert = Advert(version: .v3, id: 51, priority: priority, interval: .milliseconds(100), addresses: [vip])
    let group = IPAddress.v4(IPv4Address(224, 0, 0, 18))
    let message = advert.encoded(from: .v4(peer), to: group, coverage: .pseudoHeader)
    let envelope = Envelope(interface: "eth0", source: .v4(peer), destination: group, hopLimit: 255)
    recorder.record(message.span.bytes, in: envelope, at: now)
    decide(.advert(envelope, message))
  }

  mutating func advance(by duration: Duration) {
    let end = now + duration
    while let deadline = node.deadline, deadline <= end {
      now = max(now, deadline)
      give(.timer)
    }
    now = end
  }

  /// Wins, loses to a stronger peer, takes over again when that leaves, and stops.
  mutating func run() {
    give(.start)
    give(.link(interface: "eth0", LinkState(isUp: true, ipv4: own, linkLocal: nil)))
    advance(by: .milliseconds(500))
    give(.address(vip: 0, .added(generation: 1, until: now + .seconds(2))))
    give(.check(service: 0, backend: 0, probe: 1, CheckResult(.passed, latency: .milliseconds(1), message: "HTTP 200")))
    advance(by: .seconds(1))
    hear(priority: 250)
    advance(by: .milliseconds(50))
    give(.connectionsClosed(vip: 0, generation: 1))
    give(.address(vip: 0, .removed(generation: 1)))
    for _ in 0..<400 {
      hear(priority: 250)
      advance(by: .milliseconds(100))
    }
    hear(priority: 0)
    advance(by: .seconds(1))
    give(.stop)
    advance(by: .seconds(5))
  }
}

@Suite(.serialized) struct RecorderTests {
  private func place() -> String {
    FileManager.default.temporaryDirectory.appending(path: "roost-recording-\(UUID().uuidString)").path
  }

  @Test func `what was recorded replays to the same decisions`() throws {
    let path = place()
    defer { try? FileManager.default.removeItem(atPath: path) }
    let log = try Log()
    defer { log.close() }
    let recorder = try Recorder(path: path, settings: settings, seed: 7, log: log)
    var life = Life(recorder)
    life.run()
    recorder.close()
    #expect(recorder.isRecording && life.events > 400 && life.takes == 2)
    #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o600)

    let bytes = [UInt8](try Data(contentsOf: URL(filePath: path)))
    #expect(try RecordingReader(bytes).settings == settings)
    let replay = try Replay(bytes)
    #expect(replay.outcome == .identical && replay.events == life.events && !replay.isCut)
    #expect(replay.node.deadline == life.node.deadline)
    // As a crash leaves it.
    let cut = try Replay(Array(bytes.dropLast(bytes.count / 3)))
    #expect(cut.outcome == .identical && cut.events < life.events && cut.events > life.events / 3)
    // Another node's decisions are not these.
    var other = settings
    other.vips[0].lease = .seconds(60)
    let header = Recording.header(settings, seed: 7)
    let changed = try Replay(Recording.header(other, seed: 7) + bytes.dropFirst(header.count))
    #expect(changed.outcome != .identical)
  }

  @Test func `a full disk ends the recording with a line, and nothing else`() throws {
    let said = try standardError {
      let log = try Log()
      let recorder = try Recorder(path: "/dev/full", settings: settings, seed: 7, log: log)
      var life = Life(recorder)
      life.give(.start)
      let deadline = Clock.now() + .seconds(20)
      while recorder.isRecording, Clock.now() < deadline {
        // Long enough in the node's time for what waits to be handed over.
        life.now = life.now + .seconds(2)
        life.give(.timer)
        usleep(2000)
      }
      #expect(!recorder.isRecording)
      // The node goes on as if nobody recorded it.
      var unheard = Life(recorder)
      unheard.run()
      #expect(unheard.takes == 2)
      recorder.close()
      log.close()
    }
    #expect(said.contains("the recording /dev/full can't be written: No space left on device"))
    #expect(said.contains("the recording ends here"))
  }

  @Test func `a recording that can't be made is refused at once`() throws {
    let log = try Log()
    defer { log.close() }
    let error = #expect(throws: SystemError.self) {
      try Recorder(path: "/nowhere/recording", settings: settings, seed: 7, log: log)
    }
    #expect(error?.code == ENOENT)
    // Not through a link that somebody else put there.
    let link = place()
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: "/dev/null")
    defer { try? FileManager.default.removeItem(atPath: link) }
    #expect(throws: SystemError.self) { try Recorder(path: link, settings: settings, seed: 7, log: log) }
  }

  /// What is written to standard error meanwhile; others' lines too, which are passed on afterwards.
  private func standardError(_ body: () throws -> Void) throws -> String {
    let path = place()
    defer { try? FileManager.default.removeItem(atPath: path) }
    let file = open(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0o600)
    let saved = dup(STDERR_FILENO)
    try #require(file >= 0 && saved >= 0)
    defer {
      close(file)
      close(saved)
    }
    dup2(file, STDERR_FILENO)
    let outcome = Result { try body() }
    dup2(saved, STDERR_FILENO)
    try outcome.get()
    let data = try Data(contentsOf: URL(filePath: path))
    FileHandle.standardError.write(data)
    return String(decoding: data, as: UTF8.self)
  }
}
