/// At most one owner among nodes that can hear each other, for longer than it takes to notice.
///
/// Each pair has a clock that starts when both hold the address and hear each other. A daemon that is dead or stalled can't
/// let go: then the lease must, so its silence is an excuse for that long and no longer.
struct OwnersChecker {
  let bounds: Bounds
  /// [(vip × nodes + first) × nodes + second] for first < second; nil while it is not so.
  private var since: [Int64?]
  /// When to look again, if nothing changes before.
  private(set) var deadline: Int64?
  /// The longest that two owners heard each other, nanoseconds, within its bound or not.
  private(set) var longest: Int64 = 0

  init(_ picture: Picture, bounds: Bounds) {
    self.bounds = bounds
    since = Array(repeating: nil, count: picture.vips * picture.nodes * picture.nodes)
  }

  mutating func look(_ picture: borrowing Picture) -> Finding? {
    deadline = nil
    var finding: Finding?
    for vip in 0..<picture.vips {
      for first in 0..<picture.nodes where hasClock(first, vip, picture) {
        for second in first + 1..<max(first + 1, picture.nodes) {
          let slot = (vip * picture.nodes + first) * picture.nodes + second
          guard picture.holds(first, vip), picture.holds(second, vip), picture.hearEachOther(first, second) else {
            if let began = since[slot] { longest = max(longest, picture.now - began) }
            since[slot] = nil
            continue
          }
          let began = since[slot] ?? picture.now
          since[slot] = began
          guard let limit = limit(first, second, since: began, picture) else { continue }
          if picture.now >= limit {
            finding =
              finding
              ?? Finding(
                promise: .oneOwner,
                message: "lb\(first + 1) and lb\(second + 1) both hold VIP \(vip + 1) and hear each other for "
                  + "\((picture.now - began) / 1_000_000) ms")
          } else {
            deadline = min(deadline ?? .max, limit)
          }
        }
      }
    }
    return finding
  }

  /// A node that neither holds nor held it isn't worth a look at its pairs.
  private func hasClock(_ first: Int, _ vip: Int, _ picture: borrowing Picture) -> Bool {
    if picture.holds(first, vip) { return true }
    let row = (vip * picture.nodes + first) * picture.nodes
    return (row..<row + picture.nodes).contains { since[$0] != nil }
  }

  private func limit(_ first: Int, _ second: Int, since: Int64, _ picture: borrowing Picture) -> Int64? {
    var start = max(since, picture.slowPacketsUntil)
    for node in [first, second] {
      if picture.serves[node] {
        start = max(start, picture.servesSince[node])
      } else {
        guard let lease = bounds.lease else { return nil }
        start = max(start, picture.servesSince[node] + lease)
      }
    }
    return start + bounds.twoOwners
  }
}
