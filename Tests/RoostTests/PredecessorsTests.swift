import Basis
import Linux
import Synchronization
import Testing

@testable import roost

/// Processes that finish their connections, each by the far end of its channel.
private final class Crowd {
  let predecessors = Predecessors()
  let start = Clock.now()
  private(set) var ends: [UpgradeChannel] = []

  init(_ count: Int) throws {
    for index in 0..<count {
      let (near, far) = try UpgradeChannel.pair()
      predecessors.add(near, at: start)
      predecessors.hear(.remaining(connections: 10 + index, milliseconds: 90_000), from: near, at: start)
      ends.append(far)
    }
  }

  var near: [UpgradeChannel] { predecessors.channels }
}

@Test func `several processes may finish their connections, and one too many is told what to do`() throws {
  let few = try Crowd(Predecessors.most - 1)
  #expect(few.predecessors.objection(isForced: false, at: few.start) == nil)
  #expect(try few.ends[0].next() == nil, "nobody is sent away")
  let many = try Crowd(Predecessors.most)
  #expect(
    many.predecessors.objection(isForced: false, at: many.start)
      == "4 processes of earlier upgrades still finish their connections (46); the oldest, with 10 of them, ends within 2 min: upgrade again then, "
      + "or with --force, which ends that one and its connections now")
  #expect(many.predecessors.objection(isForced: true, at: many.start) == nil)
  guard case .leave? = try many.ends[0].next() else {
    Issue.record("the oldest is to leave")
    return
  }
  #expect(try many.ends[1].next() == nil)
  // It counts no more, though it is still there.
  #expect(many.near.count == 4)
  #expect(many.predecessors.objection(isForced: false, at: many.start) == nil)
}

@Test func `a VIP leaves when each of them has ended its connections, or is gone`() throws {
  let crowd = try Crowd(3)
  let count = Counter()
  crowd.predecessors.close(vip: "web", for: crowd.near, within: .seconds(2)) { count.add() }
  var numbers: [UInt64] = []
  for end in crowd.ends {
    guard case .close(let number, "web", 2000)? = try end.next() else {
      Issue.record("each is asked")
      return
    }
    numbers.append(number)
  }
  #expect(Set(numbers).count == 3)
  let near = crowd.near
  crowd.predecessors.hear(.closed(numbers[1]), from: near[1], at: crowd.start)
  crowd.predecessors.hear(.closed(numbers[1]), from: near[1], at: crowd.start)
  #expect(count.value == 1)
  crowd.predecessors.isGone(near[0])
  crowd.predecessors.isGone(near[1])
  #expect(count.value == 2)
  crowd.predecessors.hear(.closed(numbers[2]), from: near[2], at: crowd.start)
  #expect(count.value == 3)
  #expect(crowd.near.count == 1)
}

private final class Counter: Sendable {
  private let count = Mutex(0)
  func add() { count.withLock { $0 += 1 } }
  var value: Int { count.withLock { $0 } }
}
