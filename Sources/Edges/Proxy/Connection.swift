import Balancing

/// One of the two sockets of a connection, and what waits to be sent to it. 32 bytes.
///
/// Halves lie in pairs in the slab: the client's is even, the backend's is the odd one behind it, so that `half ^ 1` is the peer.
struct Half {
  var descriptor: Int32 = -1
  var flags: Flags = []
  /// Full reads in a row: from two on, bytes go through a pipe.
  var fullReads: UInt8 = 0
  var buffer = BufferPool.Size.small
  /// Bytes that this socket did not take yet: a buffer, or a pipe with something in it, never both.
  var waiting: UnsafeMutablePointer<UInt8>? = nil
  var waitingOffset: Int32 = 0
  var waitingCount: Int32 = 0
  var pipe: Int32 = -1
  var pipeCount: Int32 = 0

  struct Flags: OptionSet {
    let rawValue: UInt16
    /// The end of its stream was read: no more input.
    static let ended = Flags(rawValue: 1 << 0)
    /// FIN was sent to it.
    static let endPassed = Flags(rawValue: 1 << 1)
    /// FIN is to be sent to it behind what waits.
    static let endOwed = Flags(rawValue: 1 << 2)
    /// The kernel has its FIN: what is queued is the last of it.
    static let lastIsQueued = Flags(rawValue: 1 << 3)
    /// Input was left in the kernel because the peer took no more. No edge will tell of it again.
    static let unread = Flags(rawValue: 1 << 4)
    /// A short read may hide more: urgent data interrupts reads, and an error shows only behind the data.
    static let readToEnd = Flags(rawValue: 1 << 5)
    static let noDelay = Flags(rawValue: 1 << 6)
    static let sentOnce = Flags(rawValue: 1 << 7)
    /// It has an entry in the queue of those whose turn was used up.
    static let queued = Flags(rawValue: 1 << 8)
  }

  /// Something waits to be sent to it.
  @inline(__always)
  var isBlocked: Bool { waitingCount > 0 || pipeCount > 0 }
}

/// What the two halves share. 48 bytes; with the halves, 112 bytes are all that a connection at rest costs.
struct Connection {
  var generation: UInt32 = 0
  var service: UInt16 = 0
  var backend: UInt16 = 0
  /// Neighbours in the timer wheel's slot, or `next` in the list of free places.
  var next: Int32 = -1
  var previous: Int32 = -1
  /// When the timer fires, in ticks.
  var timer: UInt32 = 0
  /// When bytes last moved; before it is established, when the current attempt began. In ticks.
  var lastMoved: UInt32 = 0
  /// Slot of the timer wheel, or `TimerWheel.noSlot`.
  var slot: UInt16 = TimerWheel.noSlot
  var attempts: UInt8 = 0
  var flags: Flags = []
  var tried = Balancer.Tried.none
  var source: UInt64 = 0

  struct Flags: OptionSet {
    let rawValue: UInt8
    static let established = Flags(rawValue: 1 << 0)
    /// The last bytes went from the backend to the client.
    static let answered = Flags(rawValue: 1 << 1)
    /// The kernel was short of memory: try again by the clock, no edge will come.
    static let starved = Flags(rawValue: 1 << 2)
    /// The balancer and the counters know its backend as busy.
    static let assigned = Flags(rawValue: 1 << 3)
    /// It was there when a drain of its service began.
    static let isAwaited = Flags(rawValue: 1 << 4)
  }
}

/// The places of one worker's connections. Memory is reserved for all of them, and used as they are.
struct Slab: ~Copyable {  // owns its memory
  let halves: UnsafeMutablePointer<Half>
  let connections: UnsafeMutablePointer<Connection>
  let capacity: Int
  /// Places up to here have been used at least once.
  private(set) var top = 0
  private var free: Int32 = -1

  init(capacity: Int) throws(ProxyError) {
    let halves = try Reserved.memory(of: Half.self, count: capacity * 2)
    let connections = try Reserved.memory(of: Connection.self, count: capacity)
    (self.halves, self.connections, self.capacity) = (halves, connections, capacity)
  }

  deinit {
    Reserved.release(halves, count: capacity * 2)
    Reserved.release(connections, count: capacity)
  }

  /// A place for a connection, or nil where all are taken. Its halves and all but the generation are as new.
  mutating func take() -> Int? {
    let place: Int
    if free >= 0 {
      place = Int(free)
      free = connections[place].next
    } else {
      guard top < capacity else { return nil }
      place = top
      top += 1
    }
    let generation = connections[place].generation
    (connections + place).initialize(to: Connection(generation: generation))
    (halves + 2 * place).initialize(repeating: Half(), count: 2)
    return place
  }

  /// Events of the old connection that are still on their way are told by the generation.
  mutating func give(_ place: Int) {
    halves[2 * place].descriptor = -1
    halves[2 * place + 1].descriptor = -1
    halves[2 * place].flags = []
    halves[2 * place + 1].flags = []
    connections[place].generation &+= 1
    connections[place].next = free
    free = Int32(place)
  }

  @inline(__always)
  func isOpen(_ place: Int) -> Bool { halves[2 * place].descriptor >= 0 }
}
