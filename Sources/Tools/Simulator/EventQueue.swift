/// Something that will happen, small enough to be moved about in a heap: what it concerns lies in a slot elsewhere.
struct Entry {
  enum Kind: UInt8 {
    /// A node's deadline.
    case wake
    /// A message reaches a node; the slot is the packet's.
    case packet
    /// The address thread gets to an order, and reads the record for it; the slot is the job's.
    case address
    /// The kernel has done what the address thread asked for; the slot is the job's.
    case message
    /// The address thread compares what is there with what should be; the slot is the VIP.
    case compare
    /// A lease runs out; the slot is the VIP.
    case expiry
    /// The guardian takes a step; the slot is the step, with the VIP above it.
    case guardian
    /// Something said over the peer link arrives; the slot is the job's.
    case said
    /// A peer link is looked at: it may have come up, or be found broken; the slot is the pair.
    case peers
    /// A stranger speaks; the slot is the job's.
    case rogue
    /// A check ends, connections are closed; the slot is the job's.
    case answer
    /// A node is told of its link.
    case link
    /// A daemon has started.
    case started
    /// A stalled daemon goes on.
    case resume
    /// Another process is ready to take the daemon's place; the slot counts how often that came to nothing.
    case succeed
    /// A step of the script; the slot is its index.
    case step
    /// A fault ends; the slot is the job's.
    case undo
    /// A checker or the client wants to look again.
    case look
  }

  /// Nanoseconds of virtual time.
  var time: Int64
  /// Of two at the same time the one that was scheduled first comes first: this makes a run repeatable.
  var order: UInt64
  var kind: Kind
  var node: UInt8
  /// The daemon's life for which it was meant; an earlier one's entries are dropped.
  var life: UInt16
  var slot: UInt32

  @inline(__always)
  func isBefore(_ other: Entry) -> Bool { time != other.time ? time < other.time : order < other.order }
}

/// A binary heap, ordered by time, then by the order of scheduling.
struct EventQueue {
  private var heap: [Entry] = []
  private(set) var scheduled: UInt64 = 0

  var count: Int { heap.count }

  /// Returns the entry's order, by which it can be told from others.
  @discardableResult
  mutating func add(_ kind: Entry.Kind, at time: Int64, node: Int = 0, life: UInt16 = 0, slot: Int = 0) -> UInt64 {
    scheduled &+= 1
    let entry = Entry(
      time: time, order: scheduled, kind: kind, node: UInt8(truncatingIfNeeded: node), life: life,
      slot: UInt32(truncatingIfNeeded: slot))
    var index = heap.count
    heap.append(entry)
    while index > 0 {
      let parent = (index - 1) / 2
      guard entry.isBefore(heap[parent]) else { break }
      heap[index] = heap[parent]
      index = parent
    }
    heap[index] = entry
    return scheduled
  }

  mutating func next() -> Entry? {
    guard let first = heap.first, let last = heap.popLast() else { return nil }
    let count = heap.count
    guard count > 0 else { return first }
    var index = 0
    while true {
      var child = 2 * index + 1
      guard child < count else { break }
      if child + 1 < count, heap[child + 1].isBefore(heap[child]) { child += 1 }
      guard heap[child].isBefore(last) else { break }
      heap[index] = heap[child]
      index = child
    }
    heap[index] = last
    return first
  }
}

/// Values that wait for their entry, in slots that are used again.
struct Slots<Value> {
  private var values: [Value?] = []
  private var free: [Int] = []

  mutating func put(_ value: Value) -> Int {
    if let slot = free.popLast() {
      values[slot] = value
      return slot
    }
    values.append(value)
    return values.count - 1
  }

  func peek(_ slot: Int) -> Value? { values[slot] }

  mutating func replace(_ slot: Int, _ value: Value) { values[slot] = value }

  mutating func take(_ slot: Int) -> Value? {
    guard let value = values[slot] else { return nil }
    values[slot] = nil
    free.append(slot)
    return value
  }
}
