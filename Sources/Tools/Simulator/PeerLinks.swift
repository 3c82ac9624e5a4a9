/// The peer links of the cluster: a stream for each pair of nodes, in order and without loss while it lasts.
struct PeerLinks {
  struct Link {
    var isUp = false
    /// Counts streams: what was said on an earlier one never arrives.
    var life: UInt32 = 0
    /// It has lost something, or one of its ends: it can't go on.
    var isBroken = false
    /// Somebody looks at it then.
    var lookAt = Int64.max
    /// When the last message arrives: at the node with the greater number, and at the other.
    var upward: Int64 = 0
    var downward: Int64 = 0
  }

  let nodes: Int
  let isOn: Bool
  var links: [Link]
  /// How many faults cut a node's peer links and nothing else.
  private var cuts: [Int]

  init(nodes: Int, isOn: Bool) {
    self.nodes = nodes
    self.isOn = isOn
    links = Array(repeating: Link(), count: nodes * nodes)
    cuts = Array(repeating: 0, count: nodes)
  }

  func pair(_ first: Int, _ second: Int) -> Int { min(first, second) * nodes + max(first, second) }
  func isCut(_ first: Int, _ second: Int) -> Bool { cuts[first] > 0 || cuts[second] > 0 }
  mutating func cut(_ node: Int, _ begins: Bool) { cuts[node] = max(0, cuts[node] + (begins ? 1 : -1)) }
  mutating func heal() { for node in cuts.indices { cuts[node] = 0 } }

  /// A process is gone, and its ends of streams with it.
  mutating func forget(_ node: Int) {
    for other in 0..<nodes where other != node && links[pair(node, other)].isUp {
      links[pair(node, other)].isBroken = true
    }
  }
}
