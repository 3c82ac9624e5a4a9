import Basis

/// Faults drawn from a seed, each of which ends by itself.
public struct Chaos: Sendable, Hashable {
  /// The mean time from one fault to the next.
  public var every: Duration
  /// The shortest and the longest fault; short ones are drawn more often.
  public var shortest: Duration
  public var longest: Duration
  /// What may happen; each as likely as any other.
  public var kinds: [Kind]

  public enum Kind: String, Sendable, Hashable, CaseIterable {
    case stop, kill, killAll, guardianKill, restart, stall, stallAll, stallAtMessage, nodeDead, linkDown, linkCut
    case partition, oneWay, loss, delay, peersCut, backendDead, workersSick
    case move, standby, reload, clockJump, addressRemoved, rtnlBusy, hog
    case interfaceRenamed, interfaceRemoved, rogueAdvert, rogueAnnouncement, upgrade
  }

  public init(
    every: Duration = .seconds(20), shortest: Duration = .milliseconds(20), longest: Duration = .seconds(20),
    kinds: [Kind] = Kind.allCases
  ) {
    self.every = every
    self.shortest = shortest
    self.longest = longest
    self.kinds = kinds
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
  case killAll(Int)
  case guardianKill(Int)
  case restart(Int)
  /// `byHand`: SIGSTOP, which the guardian's SIGCONT ends too. Otherwise nothing but the fault's own end does.
  case stall(Int, byHand: Bool)
  case stallAll(Int)
  case stallAtMessage(Int)
  case nodeDead(Int)
  case linkDown(Int)
  case linkCut(Int)
  /// The nodes whose bit is set are on one side.
  case partition(UInt32)
  case path(PathFault, from: Int, to: Int, bothWays: Bool)
  case peersCut(Int)
  case backendDead(Int)
  case workersSick(Int)
  case move(asked: Int, to: Int?)
  case standby(Int)
  case reload(Int, Reload)
  case upgrade(Int)
  case clockJump(Int, by: Int64)
  case addressRemoved(vip: Int)
  case rtnlBusy
  case hog
  case interfaceRenamed(Int)
  case interfaceRemoved(Int)
  case rogueAdvert(priority: UInt8)
  case rogueAnnouncement(vip: Int)

  enum Reload: Sendable, Hashable { case nothing, vip, address }

  /// Which fault comes next.
  static func draw(_ kinds: [Chaos.Kind], nodes: Int, vips: Int, backends: Int, _ random: inout SplitMix64) -> Fault {
    let node = Int(random.next(below: UInt64(nodes)))
    // Another one, if there is one.
    let other = nodes > 1 ? (node + 1 + Int(random.next(below: UInt64(nodes - 1)))) % nodes : node
    let coin = random.next(below: 2) == 0
    let vip = Int(random.next(below: UInt64(max(1, vips))))
    guard !kinds.isEmpty else { return .workersSick(node) }
    switch kinds[Int(random.next(below: UInt64(kinds.count)))] {
    case .stop: return .stop(node)
    case .kill: return .kill(node)
    case .killAll: return .killAll(node)
    case .guardianKill: return .guardianKill(node)
    case .restart: return .restart(node)
    case .stall: return .stall(node, byHand: coin)
    case .stallAll: return .stallAll(node)
    case .stallAtMessage: return .stallAtMessage(node)
    case .nodeDead: return .nodeDead(node)
    case .linkDown: return .linkDown(node)
    case .linkCut: return .linkCut(node)
    case .partition: return .partition(UInt32(truncatingIfNeeded: random.next()))
    case .oneWay: return .path(.cut, from: node, to: other, bothWays: false)
    case .loss:
      let share = Double(1 + random.next(below: 9)) / 10
      return .path(.loss(share), from: node, to: other, bothWays: coin)
    case .delay:
      let by = Int64(1 + random.next(below: 500)) * 1_000_000
      return .path(.delay(by), from: node, to: other, bothWays: coin)
    case .peersCut: return .peersCut(node)
    case .backendDead where backends > 0: return .backendDead(Int(random.next(below: UInt64(backends))))
    case .backendDead, .workersSick: return .workersSick(node)
    case .move: return .move(asked: node, to: coin ? other : nil)
    case .standby: return .standby(node)
    case .reload: return .reload(node, [.nothing, .vip, .address][Int(random.next(below: 3))])
    case .clockJump: return .clockJump(node, by: Int64(random.next(below: 3000)) * 1_000_000 - 1_500_000_000)
    case .addressRemoved: return .addressRemoved(vip: vip)
    case .rtnlBusy: return .rtnlBusy
    case .hog: return .hog
    case .interfaceRenamed: return .interfaceRenamed(node)
    case .interfaceRemoved: return .interfaceRemoved(node)
    case .rogueAdvert: return .rogueAdvert(priority: UInt8(truncatingIfNeeded: random.next()))
    case .rogueAnnouncement: return .rogueAnnouncement(vip: vip)
    case .upgrade: return .upgrade(node)
    }
  }
}
