import Basis
import Node

/// The moves that people have asked for, each until it has been answered.
///
/// A move ends in time, with its target as the owner or with a refusal. Who asked learns nothing where the asked daemon dies.
struct Movements {
  struct Move {
    var ticket: UInt64
    var node: Int
    var life: UInt16
    var vip: Int
    var asked: Int64
    /// Nodes that held the VIP at some time since it was asked for, one bit each.
    var holders: UInt32
  }

  let bounds: Bounds
  private(set) var pending: [Move] = []
  private(set) var deadline: Int64?
  private(set) var moved = 0
  private(set) var refused = 0
  private var tickets: UInt64 = 0

  init(bounds: Bounds) { self.bounds = bounds }

  mutating func ask(of node: Int, life: UInt16, vip: Int, _ picture: borrowing Picture) -> UInt64 {
    tickets += 1
    var holders: UInt32 = 0
    for other in 0..<picture.nodes where picture.holds(other, vip) { holders |= 1 << UInt32(other) }
    pending.append(
      Move(ticket: tickets, node: node, life: life, vip: vip, asked: picture.now, holders: holders))
    deadline = earliest(deadline, picture.now + bounds.move)
    return tickets
  }

  /// A ticket for what isn't watched.
  mutating func ticket() -> UInt64 {
    tickets += 1
    return tickets
  }

  mutating func held(_ node: Int, _ vip: Int) {
    for index in pending.indices where pending[index].vip == vip { pending[index].holders |= 1 << UInt32(node) }
  }

  mutating func ended(_ node: Int) { pending.removeAll { $0.node == node } }

  mutating func answered(_ ticket: UInt64, _ answer: CommandAnswer, names: [String]) -> Finding? {
    guard let index = pending.firstIndex(where: { $0.ticket == ticket }) else { return nil }
    let move = pending.remove(at: index)
    switch answer {
    case .moved(let target, _):
      moved += 1
      guard let target = names.firstIndex(of: target), move.holders & (1 << UInt32(target)) != 0 else {
        return Finding(
          promise: .move,
          message: "lb\(move.node + 1) says that VIP \(move.vip + 1) moved to \(target), which never had it")
      }
    case .refused: refused += 1
    case .already, .done: break
    }
    return nil
  }

  mutating func look(_ picture: borrowing Picture) -> Finding? {
    deadline = nil
    for move in pending where picture.serves[move.node] {
      let limit = max(move.asked, picture.servesSince[move.node]) + bounds.move
      if picture.now >= limit {
        return Finding(
          promise: .move,
          message: "lb\(move.node + 1) was asked to move VIP \(move.vip + 1) and says neither that it did nor why not")
      }
      deadline = min(deadline ?? .max, limit)
    }
    return nil
  }
}
