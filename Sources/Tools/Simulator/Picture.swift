/// What can be seen of the cluster from above at one time: all that checkers and the client are shown.
struct Picture {
  let nodes: Int
  let vips: Int
  /// Nanoseconds of virtual time.
  var now: Int64 = 0
  /// Who has the address on its interface: [node × vips + vip].
  var holds: [Bool]
  /// The daemon runs and isn't stalled; since when that is so, or is not so.
  var serves: [Bool]
  var servesSince: [Int64]
  /// It may own: it serves, its workers are well, and nobody asked it to stop.
  var isWilling: [Bool]
  /// A polite stop was asked for at that time and isn't complete.
  var stopAsked: [Int64?]
  /// The last time at which a packet arrives that a fault has slowed.
  var slowPacketsUntil: Int64 = 0
  var network: Network

  init(nodes: Int, vips: Int, network: Network) {
    self.nodes = nodes
    self.vips = vips
    self.network = network
    holds = Array(repeating: false, count: nodes * vips)
    serves = Array(repeating: false, count: nodes)
    servesSince = Array(repeating: 0, count: nodes)
    isWilling = serves
    stopAsked = Array(repeating: nil, count: nodes)
  }

  func holds(_ node: Int, _ vip: Int) -> Bool { holds[node * vips + vip] }

  /// Both hear all that the other says.
  func hearEachOther(_ first: Int, _ second: Int) -> Bool {
    network.isClean(first, second) && network.isClean(second, first)
  }
}

/// A promise that was broken.
public struct Violation: Sendable, Hashable {
  public enum Promise: String, Sendable, Hashable, CaseIterable {
    case oneOwner = "at most one owner among nodes that hear each other"
    case someOwner = "always an owner where a healthy node is connected"
    case nothingLeft = "nothing left behind by a node that stopped politely"
    case progress = "a deadline that was kept moves on"
  }

  public var promise: Promise
  public var seed: UInt64
  /// Virtual time since the start of the run.
  public var at: Duration
  public var message: String
  /// The last events before it, for people.
  public var trace: [String] = []
  /// How to see it again.
  public var again: String = ""
}

/// What a checker found: the world adds when and in which run.
struct Finding {
  var promise: Violation.Promise
  var message: String
}
