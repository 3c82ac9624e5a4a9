/// A node that is asked to stop does so in time, and leaves nothing behind.
struct LeftoverChecker {
  let bounds: Bounds
  private(set) var deadline: Int64?

  init(bounds: Bounds) { self.bounds = bounds }

  /// A stop is an order to a daemon that runs; time in which it is stalled is not its fault.
  mutating func look(_ picture: borrowing Picture) -> Finding? {
    deadline = nil
    for node in 0..<picture.nodes where picture.serves[node] {
      guard let asked = picture.stopAsked[node] else { continue }
      let limit = max(asked, picture.servesSince[node]) + bounds.stop
      if picture.now >= limit {
        return Finding(promise: .nothingLeft, message: "lb\(node + 1) was asked to stop and hasn't")
      }
      deadline = min(deadline ?? .max, limit)
    }
    return nil
  }

  /// The node says that nothing of it is left.
  func stopped(_ node: Int, _ picture: borrowing Picture) -> Finding? {
    for vip in 0..<picture.vips where picture.holds(node, vip) {
      return Finding(promise: .nothingLeft, message: "lb\(node + 1) stopped and left VIP \(vip + 1) on its interface")
    }
    return nil
  }
}
