/// At most one owner among nodes that can hear each other, for longer than it takes to notice.
///
/// Each pair has a clock that starts when both hold the address and hear each other. A daemon that is dead or stalled can't
/// let go: then its guardian must, and where that is dead or stalled too, the lease. So silence is an excuse for that long and
/// no longer.
struct OwnersChecker {
  let bounds: Bounds
  /// [(vip × nodes + first) × nodes + second] for first < second; nil while it is not so.
  private var since: [Int64?]
  /// How many pairs of a VIP have a clock that runs.
  private var running: [Int]
  /// When to look again, if nothing changes before.
  private(set) var deadline: Int64?
  /// The longest that two owners heard each other, nanoseconds, within its bound or not.
  private(set) var longest: Int64 = 0

  init(_ picture: Picture, bounds: Bounds) {
    self.bounds = bounds
    since = Array(repeating: nil, count: picture.vips * picture.nodes * picture.nodes)
    running = Array(repeating: 0, count: picture.vips)
  }

  mutating func look(_ picture: borrowing Picture) -> Finding? {
    deadline = nil
    var finding: Finding?
    for vip in 0..<picture.vips where running[vip] > 0 || hasRivals(vip, picture) {
      for first in 0..<picture.nodes {
        for second in first + 1..<max(first + 1, picture.nodes) {
          let slot = (vip * picture.nodes + first) * picture.nodes + second
          guard picture.holds(first, vip), picture.holds(second, vip), picture.hearEachOther(first, second) else {
            if let began = since[slot] {
              longest = max(longest, picture.now - began)
              since[slot] = nil
              running[vip] -= 1
            }
            continue
          }
          if since[slot] == nil { running[vip] += 1 }
          let began = since[slot] ?? picture.now
          since[slot] = began
          guard let limit = limit(first, second, since: began, picture) else { continue }
          if picture.now >= limit {
            finding = finding ?? found(vip, first, second, since: began, picture)
          } else {
            deadline = min(deadline ?? .max, limit)
          }
        }
      }
    }
    return finding
  }

  private func hasRivals(_ vip: Int, _ picture: borrowing Picture) -> Bool {
    var count = 0
    for node in 0..<picture.nodes where picture.holds(node, vip) { count += 1 }
    return count > 1
  }

  private func found(_ vip: Int, _ first: Int, _ second: Int, since: Int64, _ picture: borrowing Picture) -> Finding {
    var message =
      "lb\(first + 1) and lb\(second + 1) both hold VIP \(vip + 1) and hear each other for "
      + "\((picture.now - since) / 1_000_000) ms"
    for node in [first, second] where !picture.serves[node] {
      message += "; lb\(node + 1) is silent for \((picture.now - picture.servesSince[node]) / 1_000_000) ms"
    }
    return Finding(promise: .oneOwner, message: message)
  }

  /// Nil: nothing is promised.
  private func limit(_ first: Int, _ second: Int, since: Int64, _ picture: borrowing Picture) -> Int64? {
    let silent = [first, second].filter { !picture.serves[$0] }
    if silent.isEmpty {
      return max(
        since, picture.slowPacketsUntil, picture.servesSince[first], picture.servesSince[second]) + bounds.twoOwners
    }
    // Whoever speaks is no help against one that doesn't: its own time to let go is over, or is not.
    var limit: Int64?
    for node in silent {
      guard let end = end(ofSilent: node, picture) else { continue }
      limit = min(limit ?? .max, max(since, end) + Bounds.work)
    }
    return limit
  }

  /// When a node that is silent has lost its addresses, by its guardian's hand or the kernel's.
  private func end(ofSilent node: Int, _ picture: borrowing Picture) -> Int64? {
    let silentSince = picture.servesSince[node]
    let lease = bounds.lease.map { silentSince + $0 }
    guard picture.grace[node] > 0, let watchedSince = picture.guardedSince[node] else { return lease }
    return earliest(max(silentSince, watchedSince) + picture.grace[node], lease)
  }
}
