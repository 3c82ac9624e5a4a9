import Basis

/// Faults drawn from a seed, each of which ends by itself.
public struct Chaos: Sendable, Hashable {
  /// The mean time from one fault to the next.
  public var every: Duration
  /// The shortest and the longest fault; short ones are drawn more often.
  public var shortest: Duration
  public var longest: Duration

  public init(every: Duration = .seconds(20), shortest: Duration = .milliseconds(20), longest: Duration = .seconds(20))
  {
    self.every = every
    self.shortest = shortest
    self.longest = longest
  }

  /// The time to the next fault, nanoseconds: 0.2 to 1.8 of the mean.
  func pause(_ random: inout SplitMix64) -> Int64 {
    let mean = max(1, every.nanoseconds)
    return mean / 5 + Int64(random.next(below: UInt64(mean) / 5 * 8 + 1))
  }

  /// How long a fault lasts, nanoseconds: a doubling of the shortest, as likely as any other, and a part of the next.
  func length(_ random: inout SplitMix64) -> Int64 {
    let low = max(1, shortest.nanoseconds)
    var doublings: UInt64 = 0
    while doublings < 40, low << (doublings + 1) <= longest.nanoseconds { doublings += 1 }
    let base = low << Int64(random.next(below: doublings + 1))
    return min(base + Int64(random.next(below: UInt64(base))), max(low, longest.nanoseconds))
  }
}

/// A fault as the world can begin and end it.
enum Fault: Sendable, Hashable {
  case stop(Int)
  case kill(Int)
  case restart(Int)
  case stall(Int)
  case nodeDead(Int)
  case linkDown(Int)
  case linkCut(Int)
  /// The nodes whose bit is set are on one side.
  case partition(UInt32)
  case path(PathFault, from: Int, to: Int, bothWays: Bool)
  case backendDead(Int)
  case workersSick(Int)

  /// Which fault comes next: each kind as likely as any other.
  static func draw(nodes: Int, backends: Int, _ random: inout SplitMix64) -> Fault {
    let node = Int(random.next(below: UInt64(nodes)))
    // Another one, if there is one.
    let other = nodes > 1 ? (node + 1 + Int(random.next(below: UInt64(nodes - 1)))) % nodes : node
    let bothWays = random.next(below: 2) == 0
    switch random.next(below: 13) {
    case 0: return .stop(node)
    case 1: return .kill(node)
    case 2: return .restart(node)
    case 3: return .stall(node)
    case 4: return .nodeDead(node)
    case 5: return .linkDown(node)
    case 6: return .linkCut(node)
    case 7: return .partition(UInt32(truncatingIfNeeded: random.next()))
    case 8: return .path(.cut, from: node, to: other, bothWays: false)
    case 9:
      let share = Double(1 + random.next(below: 9)) / 10
      return .path(.loss(share), from: node, to: other, bothWays: bothWays)
    case 10:
      let by = Int64(1 + random.next(below: 500)) * 1_000_000
      return .path(.delay(by), from: node, to: other, bothWays: bothWays)
    case 11 where backends > 0: return .backendDead(Int(random.next(below: UInt64(backends))))
    default: return .workersSick(node)
    }
  }
}
