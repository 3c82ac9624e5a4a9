/// When each connection wants to be looked at again: a hierarchical wheel, 4 levels of 64 slots, in ticks of a millisecond.
///
/// Arming and disarming take constant time and no memory: a slot is a list through the connections themselves. A timer is not
/// moved when bytes flow; it fires, the worker sees when bytes last moved, and arms it again.
struct TimerWheel: ~Copyable {  // owns its memory
  static let noSlot = UInt16.max
  /// The furthest that the wheel can see, 4.6 h; a later timer fires early and is armed again.
  static let horizon: UInt32 = 1 << 24 - 1 << 18

  /// The tick up to which timers have fired.
  private(set) var current: UInt32
  private let heads: UnsafeMutablePointer<Int32>
  /// For each level, which slots have something in them.
  private var occupied = SIMD4<UInt64>(repeating: 0)
  private let connections: UnsafeMutablePointer<Connection>

  init(at tick: UInt32, connections: UnsafeMutablePointer<Connection>) {
    current = tick
    self.connections = connections
    heads = .allocate(capacity: 4 * 64)
    heads.initialize(repeating: -1, count: 4 * 64)
  }

  deinit { heads.deallocate() }

  /// Has `place` fire at `tick`, or at the next one if that is past. It may be armed already.
  mutating func arm(_ place: Int, at tick: UInt32) {
    disarm(place)
    // Ticks wrap after 49 days; only differences mean something.
    let ahead = Int32(bitPattern: tick &- current)
    link(place, at: ahead > 0 ? current &+ min(UInt32(ahead), TimerWheel.horizon) : current &+ 1)
  }

  mutating func disarm(_ place: Int) {
    let slot = connections[place].slot
    guard slot != TimerWheel.noSlot else { return }
    let (next, previous) = (connections[place].next, connections[place].previous)
    if next >= 0 { connections[Int(next)].previous = previous }
    if previous >= 0 {
      connections[Int(previous)].next = next
    } else {
      heads[Int(slot)] = next
      if next < 0 { occupied[Int(slot >> 6)] &= ~(1 << UInt64(slot & 63)) }
    }
    connections[place].slot = TimerWheel.noSlot
  }

  /// The next connection whose time has come by `tick`, disarmed; nil when there is none left.
  mutating func popExpired(by tick: UInt32) -> Int? {
    while true {
      let head = heads[Int(current & 63)]
      if head >= 0 {
        disarm(Int(head))
        return Int(head)
      }
      guard Int32(bitPattern: tick &- current) > 0 else { return nil }
      advance()
    }
  }

  /// Milliseconds until the wheel wants to be turned, at most `limit`.
  func delay(limit: Int32) -> Int32 {
    var soonest = UInt32(bitPattern: limit)
    let here = UInt64(current & 63)
    if occupied[0] != 0 {
      let turned = occupied[0] >> here | occupied[0] << ((64 - here) & 63)
      soonest = min(soonest, UInt32(turned.trailingZeroBitCount))
    }
    // What lies further is sorted into finer slots when the first level has gone round.
    if occupied[1] | occupied[2] | occupied[3] != 0 { soonest = min(soonest, UInt32(64 - here)) }
    return Int32(bitPattern: soonest)
  }

  private mutating func advance() {
    current &+= 1
    guard current & 63 == 0 else { return }
    if current & 0xFFF == 0 {
      if current & 0x3FFFF == 0 { spread(level: 3) }
      spread(level: 2)
    }
    spread(level: 1)
  }

  /// Sorts the slot of `level` that begins now into the finer levels.
  private mutating func spread(level: UInt32) {
    let slot = Int(level << 6 | (current >> (6 * level)) & 63)
    var place = heads[slot]
    heads[slot] = -1
    occupied[Int(level)] &= ~(1 << UInt64(slot & 63))
    while place >= 0 {
      let next = connections[Int(place)].next
      link(Int(place), at: connections[Int(place)].timer)
      place = next
    }
  }

  private mutating func link(_ place: Int, at tick: UInt32) {
    let ahead = tick &- current
    let level: UInt32 = ahead < 1 << 6 ? 0 : ahead < 1 << 12 ? 1 : ahead < 1 << 18 ? 2 : 3
    let slot = Int(level << 6 | (tick >> (6 * level)) & 63)
    let head = heads[slot]
    connections[place].timer = tick
    connections[place].slot = UInt16(slot)
    connections[place].previous = -1
    connections[place].next = head
    if head >= 0 { connections[Int(head)].previous = Int32(place) }
    heads[slot] = Int32(place)
    occupied[Int(level)] |= 1 << UInt64(slot & 63)
  }
}
