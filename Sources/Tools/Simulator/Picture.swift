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
  /// How long after `servesSince` a daemon that doesn't serve may keep its addresses when its guardian watches, nanoseconds.
  var grace: [Int64]
  /// Since when the node's guardian watches without a break; nil while it doesn't.
  var guardedSince: [Int64?]
  /// A person took the node out of every election, then.
  var standbySince: [Int64?]
  /// The running configuration has the VIP; where it has it no more, since when: [node × vips + vip].
  var isConfigured: [Bool]
  var removedSince: [Int64?]
  /// Since when nothing gets from the node to anybody, or from anybody to it; nil while something does.
  var isolatedSince: [Int64?]
  /// Another program took the address from its owner then, and it has not been put back: [node × vips + vip].
  var robbedSince: [Int64?]
  /// Of each VIP: when somebody said last that it takes over, and fell silent before it did.
  var claimedUntil: [Int64]
  /// Who announced each VIP last where the client heard it; -1 for a stranger.
  var announcer: [Int]
  /// An owner has met that announcer since, and knows that it has to say where the VIP is.
  var hasMet: [Bool]
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
    grace = Array(repeating: 0, count: nodes)
    guardedSince = stopAsked
    standbySince = stopAsked
    isConfigured = holds
    removedSince = Array(repeating: nil, count: nodes * vips)
    isolatedSince = stopAsked
    robbedSince = removedSince
    claimedUntil = Array(repeating: 0, count: vips)
    announcer = Array(repeating: -1, count: vips)
    hasMet = Array(repeating: false, count: vips)
  }

  /// Whether the node's running configuration has the VIP.
  func knows(_ node: Int, _ vip: Int) -> Bool { isConfigured[node * vips + vip] }

  mutating func configure(_ node: Int, _ vip: Int, _ has: Bool) {
    let place = node * vips + vip
    if isConfigured[place], !has { removedSince[place] = now }
    if has { removedSince[place] = nil }
    isConfigured[place] = has
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
    case stranger = "a stranger without the key changes no owner"
    case quiet = "a reload sends nothing out of turn for what it didn't change"
    case move = "a move ends with its target as owner, or with a refusal"
    case isolation = "a node that reaches nobody takes nothing"
    case neighbours = "neighbours that a former owner told otherwise are told again"
    case oneWinner = "nodes that hear each other don't take over at the same time"
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
