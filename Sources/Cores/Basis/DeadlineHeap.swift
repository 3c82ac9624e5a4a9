/// The deadlines of many parts, with the earliest always at hand: a binary heap that knows where each part stands in it.
///
/// Setting one costs O(log n), reading the earliest O(1), and nothing is allocated after the start.
public struct DeadlineHeap: Sendable {
  private var deadlines: [Instant?]
  /// Parts in heap order; only those that have a deadline.
  private var heap: [Int] = []
  /// Where a part stands in `heap`; -1 where it has no deadline.
  private var places: [Int]

  public init(count: Int) {
    deadlines = Array(repeating: nil, count: count)
    places = Array(repeating: -1, count: count)
    heap.reserveCapacity(count)
  }

  /// The part whose deadline is earliest, and that deadline.
  public var earliest: (part: Int, deadline: Instant)? {
    guard let part = heap.first, let deadline = deadlines[part] else { return nil }
    return (part, deadline)
  }

  public mutating func set(_ part: Int, to deadline: Instant?) {
    if deadlines[part] == deadline { return }
    deadlines[part] = deadline
    let place = places[part]
    if deadline == nil {
      remove(at: place)
    } else if place < 0 {
      heap.append(part)
      places[part] = heap.count - 1
      rise(from: heap.count - 1)
    } else {
      rise(from: place)
      sink(from: places[part])
    }
  }

  private mutating func remove(at place: Int) {
    places[heap[place]] = -1
    let last = heap.removeLast()
    guard place < heap.count else { return }
    heap[place] = last
    places[last] = place
    rise(from: place)
    sink(from: places[last])
  }

  /// Equal deadlines go by the part's number, so that the order is the same in every run.
  private func precedes(_ first: Int, _ second: Int) -> Bool {
    guard let one = deadlines[first], let other = deadlines[second] else { return false }
    return one < other || (one == other && first < second)
  }

  private mutating func rise(from start: Int) {
    var place = start
    while place > 0 {
      let parent = (place - 1) / 2
      guard precedes(heap[place], heap[parent]) else { return }
      swap(place, parent)
      place = parent
    }
  }

  private mutating func sink(from start: Int) {
    var place = start
    while true {
      var least = place
      for child in (2 * place + 1)...(2 * place + 2) where child < heap.count {
        if precedes(heap[child], heap[least]) { least = child }
      }
      guard least != place else { return }
      swap(place, least)
      place = least
    }
  }

  private mutating func swap(_ first: Int, _ second: Int) {
    heap.swapAt(first, second)
    places[heap[first]] = first
    places[heap[second]] = second
  }
}
