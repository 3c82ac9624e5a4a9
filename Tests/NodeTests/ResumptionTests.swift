import Basis
import Health
import Node
import Testing
import VRRP
import Wire

/// One process goes on in the place of another: nobody may be able to tell, by what is said and by what is done.
struct ResumptionTests {
  /// What the old process says, as the new one reads it, which has the same settings unless `change` is given.
  private static func successor(of old: Bench, change: (inout NodeSettings) -> Void = { _ in }) throws -> Bench {
    var settings = old.node.settings
    change(&settings)
    var bench = Bench()
    bench.node = Node(settings, seed: 2)
    bench.now = old.now
    bench.give(Bench.linkUp)
    bench.give(.resume(try Resumption(old.node.resumption.bytes)))
    return bench
  }

  @Test func `an owner goes on as the owner, with the next advert when it was due, and takes nothing`() throws {
    var old = Bench.owner()
    old.advance(by: .milliseconds(130))
    var new = try Self.successor(of: old)
    #expect(new.node.vips[0].state == .active)
    #expect(new.node.vips[0].holding == old.node.vips[0].holding)
    #expect(new.take().isEmpty)
    let due = try #require(old.node.vips[0].router?.deadline)
    #expect(new.node.vips[0].router?.deadline == due)
    new.advance(by: due - new.now)
    let effects = new.take()
    #expect(effects.compactMap(\.priority) == [254])
    #expect(effects.contains { if case .renew(0, 1, _) = $0 { true } else { false } }, "the lease is renewed at once")
    #expect(!effects.contains { $0.isTake })
  }

  @Test func `its next ownership has a number of its own`() throws {
    let old = Bench.owner()
    var new = try Self.successor(of: old)
    new.hear(priority: 255)
    new.give(.address(vip: 0, .removed(generation: 1)))
    new.advance(by: .milliseconds(500))
    #expect(new.take().contains { if case .take(0, 2, _, _) = $0 { true } else { false } })
  }

  @Test func `a backup waits as long as it would have, and knows its owner`() throws {
    var old = Bench(priority: 100)
    old.give(.start)
    old.give(Bench.linkUp)
    old.hear(priority: 200)
    old.advance(by: .milliseconds(250))
    let new = try Self.successor(of: old)
    #expect(new.node.vips[0].state == .backup)
    #expect(new.node.vips[0].router?.owner == old.node.vips[0].router?.owner)
    #expect(new.node.vips[0].router?.deadline == old.node.vips[0].router?.deadline)
  }

  @Test func `a backend that was down is down, and needs no check to be known for that`() throws {
    let check = Health.Settings(interval: .seconds(1))
    var old = Bench(backends: ["app1", "app2"], check: check)
    old.give(.start)
    old.give(Bench.linkUp)
    old.advance(by: .seconds(1))
    for case .probe(let service, let backend, let probe) in old.take() {
      old.give(
        .check(
          service: service, backend: backend, probe: probe,
          CheckResult(backend == 0 ? .failed : .passed, latency: .zero, message: "said")))
    }
    #expect(old.node.services[0].backends.map(\.state) == [.down, .up])
    var new = try Self.successor(of: old)
    #expect(new.node.services[0].backends.map(\.state) == [.down, .up])
    #expect(new.take().contains(.backend(service: 0, backend: 0, .down)))
  }

  @Test func `a tracker that was bad stays so until it is looked at`() throws {
    var old = Bench(priority: 100) {
      $0.trackers = [TrackerSettings(name: "disk", source: .external)]
      $0.vips[0].tracks = [.init(tracker: 0, consequence: .forbid)]
    }
    old.give(.start)
    old.give(Bench.linkUp)
    old.give(.track(tracker: 0, .bad("full")))
    #expect(old.node.vips[0].state == .fault)
    var new = try Self.successor(of: old)
    new.advance(by: .seconds(2))
    #expect(new.node.vips[0].state == .fault)
    new.give(.track(tracker: 0, .good))
    #expect(new.node.vips[0].state == .backup)
  }

  @Test func `standby lasts`() throws {
    var old = Bench.owner()
    old.give(.command(.standby, ticket: 1))
    old.give(.address(vip: 0, .removed(generation: 1)))
    var new = try Self.successor(of: old)
    new.advance(by: .seconds(2))
    #expect(new.node.vips[0].state == .fault)
    #expect(!new.take().contains { $0.isTransmit })
  }

  @Test func `a VIP that only the new process knows begins as ever`() throws {
    let old = Bench.owner()
    let new = try Self.successor(of: old) {
      var other = $0.vips[0]
      other.name = "db"
      $0.vips.insert(other, at: 0)
    }
    #expect(new.node.vips.map(\.state) == [.backup, .active])
  }

  @Test func `nobody goes on while a VIP is being let go`() {
    var old = Bench.owner(backends: ["app1"])
    #expect(old.node.obstacleToResumption == nil)
    old.give(.stop)
    #expect(old.node.obstacleToResumption != nil)
  }

  @Test func `bytes that were cut or changed are refused, or lead nowhere bad`() throws {
    let whole = Bench.owner(backends: ["app1"]).node.resumption.bytes
    for length in 0..<whole.count {
      #expect(throws: RecordingError.self) { try Resumption(Array(whole[..<length])) }
    }
    var random = SplitMix64(seed: 7)
    for _ in 1...5000 {
      var bytes = whole
      bytes[Int(random.next(below: UInt64(whole.count)))] = UInt8(truncatingIfNeeded: random.next())
      guard let resumption = try? Resumption(bytes) else { continue }
      var bench = Bench()
      bench.give(Bench.linkUp)
      bench.give(.resume(resumption))
      bench.hear(priority: 100)
      bench.advance(by: .milliseconds(100))
    }
  }
}
