import Basis
import Testing

@testable import Proxy

struct TimerWheelTests {
  /// Beside the wheel, a plain table of who is due when.
  @Test(arguments: [0, 0x7FFF_FFF0, 0xFFFF_FF00] as [UInt32])
  func `Timers fire in their tick, at any distance, even where ticks wrap`(start: UInt32) throws {
    let slab = try Slab(capacity: 256)
    for place in 0..<256 { slab.connections[place] = Connection() }
    var wheel = TimerWheel(at: start, connections: slab.connections)
    var due: [Int: UInt32] = [:]
    var dice = SplitMix64(seed: UInt64(start) + 1)
    var now = start
    for _ in 0..<20_000 {
      let place = Int(dice.next(below: 256))
      switch dice.next(below: 4) {
      case 0:
        wheel.disarm(place)
        due[place] = nil
      case 1, 2:
        let ahead = UInt32(1 + dice.next(below: [50, 5_000, 300_000][Int(dice.next(below: 3))]))
        wheel.arm(place, at: now &+ ahead)
        due[place] = now &+ ahead
      default:
        let step = UInt32(dice.next(below: dice.next(below: 50) == 0 ? 100_000 : 200))
        // The wheel must not sleep past the first of them.
        let soonest = due.values.map { Int32(bitPattern: $0 &- now) }.min() ?? .max
        #expect(wheel.delay(limit: 1000) <= max(soonest, 0))
        now &+= step
        while let fired = wheel.popExpired(by: now) {
          guard let time = due.removeValue(forKey: fired) else { Issue.record("\(fired) was not armed"); return }
          #expect(Int32(bitPattern: now &- time) >= 0)
        }
        #expect(due.values.allSatisfy { Int32(bitPattern: $0 &- now) > 0 })
      }
    }
  }

  @Test func `A timer beyond the horizon fires early rather than never`() throws {
    let slab = try Slab(capacity: 1)
    slab.connections[0] = Connection()
    var wheel = TimerWheel(at: 0, connections: slab.connections)
    wheel.arm(0, at: 1 << 30)
    #expect(wheel.popExpired(by: TimerWheel.horizon - 1) == nil)
    #expect(wheel.popExpired(by: TimerWheel.horizon) == 0)
  }

  @Test func `A connection at rest costs 112 bytes`() {
    #expect(MemoryLayout<Half>.stride == 32)
    #expect(MemoryLayout<Connection>.stride == 48)
  }
}
