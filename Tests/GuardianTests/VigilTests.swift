import Basis
import Testing
import Wire

@testable import Guardian

struct VigilTests {
  private let start = Instant(nanoseconds: 1_000_000_000)
  private let patience = Duration.milliseconds(50)

  @Test func `silence for the patience is death, and a beat is life`() {
    var vigil = Vigil(from: start)
    let planned = start + patience
    #expect(vigil.judge(beat: start, patience: patience, planned: planned, at: planned) == .silent(since: start))
    let beat = start + .milliseconds(10)
    #expect(vigil.judge(beat: beat, patience: patience, planned: planned, at: planned) == .alive)
  }

  @Test func `what was before the guardian is not counted`() {
    var vigil = Vigil(from: start)
    let old = start - .seconds(10)
    let soon = start + .milliseconds(49)
    #expect(vigil.judge(beat: old, patience: patience, planned: soon, at: soon) == .alive)
    #expect(vigil.silence(since: old) == start)
  }

  @Test(arguments: [7, 30, 50])
  func `a guardian that was late itself gives the loop as much time again`(late: Int) {
    var vigil = Vigil(from: start)
    let planned = start + patience
    let now = planned + .milliseconds(late)
    let until = now + .milliseconds(late)
    #expect(vigil.judge(beat: start, patience: patience, planned: planned, at: now) == .waiting(until: until))
    // The next look is planned for then, and no beat by then is death.
    #expect(vigil.silence(since: start) + patience == until)
    #expect(vigil.judge(beat: start, patience: patience, planned: until, at: until) == .silent(since: until - patience))
  }

  @Test func `a machine that stood still as a whole gets the full patience once more`() {
    var vigil = Vigil(from: start)
    let now = start + .seconds(3600)
    let verdict = vigil.judge(beat: start, patience: patience, planned: start + patience, at: now)
    #expect(verdict == .waiting(until: now + patience))
    let beat = now + .milliseconds(20)
    let next = now + patience
    #expect(vigil.judge(beat: beat, patience: patience, planned: next, at: next) == .alive)
  }

  @Test func `a guardian that is always late decides in the end`() {
    var vigil = Vigil(from: start)
    var (planned, looks) = (start + patience, 0)
    while looks < 100 {
      let now = planned + .milliseconds(40)
      looks += 1
      guard case .waiting(let until) = vigil.judge(beat: start, patience: patience, planned: planned, at: now) else {
        break
      }
      planned = until
    }
    #expect(looks == 5)
  }

  @Test(arguments: [(10, 50), (20, 50), (100, 250), (1000, 2500)])
  func `patience is two and a half intervals, and 50 ms at least`(interval: Int, patience: Int) {
    let charge = Charge(
      interval: .milliseconds(interval), hasServices: false, addresses: [], interface: 1, farewells: [])
    #expect(charge.patience == .milliseconds(patience))
  }

  @Test func `where there is no election a stall is no reason`() {
    #expect(Charge(interval: nil, hasServices: true, addresses: [], interface: 1, farewells: []).patience == nil)
  }
}

struct GuardianMessageTests {
  private static let v4 = IPAddress("10.9.0.100")!
  private static let v6 = IPAddress("2001:db8::100")!

  private static let all: [GuardianMessage] = [
    .charge(
      vip: 7,
      Charge(
        interval: .milliseconds(100), hasServices: true, addresses: [v4, v6], interface: 3,
        devices: .init(ipv4: 5, ipv6: 6), farewells: [],
        key: .init(id: 9, bytes: Array(0..<64)))),
    .charge(vip: 0, Charge(interval: nil, hasServices: false, addresses: [], interface: 0, farewells: [])),
    .farewell(
      vip: 1023, .init(interface: 3, source: v4, destination: v6, message: Array(repeating: 0x31, count: 4088))),
    .commit(vip: 7), .drop(vip: 7), .socket(.init(interface: 3, family: .ipv6)),
    .dropSocket(.init(interface: 3, family: .ipv4)), .goodbye, .ready,
    .released(
      Release(cause: .silence, vips: 3, leftovers: 2, silence: .seconds(1), farewell: .zero, erased: .milliseconds(2))),
    .released(Release(cause: .death, vips: 1, leftovers: 0, silence: .zero, farewell: .zero, erased: nil)),
    .demoted(.milliseconds(201)), .trouble("why"),
  ]

  @Test(arguments: all)
  func `what is said is understood`(message: GuardianMessage) throws {
    let bytes = message.bytes
    #expect(bytes.count <= GuardianMessage.longest)
    #expect(try bytes.withUnsafeBytes { try GuardianMessage($0) } == message)
  }

  @Test(arguments: all)
  func `what is cut off is an error`(message: GuardianMessage) {
    let bytes = message.bytes
    for count in 0..<min(bytes.count, 200) where count < bytes.count {
      // An end without a number after it may still be a whole message of another kind; it must only never crash.
      _ = bytes[..<count].withUnsafeBytes { try? GuardianMessage($0) }
    }
    #expect(throws: MalformedMessage.self) { try bytes[..<4].withUnsafeBytes { try GuardianMessage($0) } }
  }

  @Test func `a key is never printed`() {
    let charge = Charge(
      interval: nil, hasServices: false, addresses: [], interface: 0, farewells: [],
      key: .init(id: 9, bytes: [0xAB, 0xCD]))
    #expect(!"\(charge)".contains("171"))
  }
}
