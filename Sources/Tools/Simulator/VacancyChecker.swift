/// Always an owner, within the bound, where a healthy node is connected.
///
/// Each node has a clock that starts when it could own, and neither it nor any node that it may hear does. A path that loses
/// only some packets counts as one over which it may hear.
struct VacancyChecker {
  let bounds: Bounds
  /// [node × vips + vip]; nil while it is not so.
  private var since: [Int64?]
  private(set) var deadline: Int64?
  /// The longest vacancy that a healthy node saw, nanoseconds.
  private(set) var longest: Int64 = 0

  init(_ picture: Picture, bounds: Bounds) {
    self.bounds = bounds
    since = Array(repeating: nil, count: picture.nodes * picture.vips)
  }

  mutating func look(_ picture: borrowing Picture) -> Finding? {
    deadline = nil
    var finding: Finding?
    for node in 0..<picture.nodes where picture.serves[node] {
      for vip in 0..<picture.vips {
        guard let since = picture.robbedSince[node * picture.vips + vip] else { continue }
        let limit = max(since, picture.servesSince[node]) + bounds.putBack
        if picture.now >= limit {
          finding =
            finding
            ?? Finding(
              promise: .someOwner,
              message: "lb\(node + 1) owns VIP \(vip + 1), and has not put it back since another program removed it "
                + "\((picture.now - since) / 1_000_000) ms ago")
        } else {
          deadline = min(deadline ?? .max, limit)
        }
      }
    }
    for node in 0..<picture.nodes {
      let canOwn = picture.isWilling[node] && picture.network.canSpeak(node)
      for vip in 0..<picture.vips {
        let slot = node * picture.vips + vip
        guard canOwn, isVacant(vip, for: node, picture) else {
          if let began = since[slot] { longest = max(longest, picture.now - began) }
          since[slot] = nil
          continue
        }
        let began = since[slot] ?? picture.now
        since[slot] = began
        let limit = max(began, picture.slowPacketsUntil, picture.claimedUntil[vip]) + bounds.nobody
        if picture.now >= limit {
          finding =
            finding
            ?? Finding(
              promise: .someOwner,
              message:
                "lb\(node + 1) is healthy and connected, and neither it nor a node that it hears holds VIP \(vip + 1) for "
                + "\((picture.now - began) / 1_000_000) ms")
        } else {
          deadline = min(deadline ?? .max, limit)
        }
      }
    }
    return finding
  }

  private func isVacant(_ vip: Int, for node: Int, _ picture: borrowing Picture) -> Bool {
    guard picture.knows(node, vip), !picture.holds(node, vip) else { return false }
    for other in 0..<picture.nodes where other != node && picture.holds(other, vip) {
      if picture.network.reaches(other, node) { return false }
    }
    return true
  }
}
