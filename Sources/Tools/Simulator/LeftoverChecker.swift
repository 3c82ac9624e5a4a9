/// A node that is asked to let go does so in time, and leaves nothing behind: when it stops, when it goes on standby, and when a
/// VIP is taken out of its configuration.
struct LeftoverChecker {
  let bounds: Bounds
  private(set) var deadline: Int64?

  init(bounds: Bounds) { self.bounds = bounds }

  /// What is asked is asked of a daemon that runs; time in which it is stalled is not its fault.
  mutating func look(_ picture: borrowing Picture) -> Finding? {
    deadline = nil
    var finding: Finding?
    for node in 0..<picture.nodes where picture.serves[node] {
      if let asked = picture.stopAsked[node], isOver(asked, node, picture) {
        finding = finding ?? Finding(promise: .nothingLeft, message: "lb\(node + 1) was asked to stop and hasn't")
      }
      for vip in 0..<picture.vips where picture.holds(node, vip) {
        if let asked = picture.standbySince[node], isOver(asked, node, picture) {
          finding = finding ?? held(vip, node, "is on standby")
        }
        if let asked = picture.removedSince[node * picture.vips + vip], isOver(asked, node, picture) {
          finding = finding ?? held(vip, node, "has it in its configuration no more")
        }
      }
    }
    return finding
  }

  private mutating func isOver(_ asked: Int64, _ node: Int, _ picture: borrowing Picture) -> Bool {
    let limit = max(asked, picture.servesSince[node]) + bounds.stop
    if picture.now < limit { deadline = min(deadline ?? .max, limit) }
    return picture.now >= limit
  }

  private func held(_ vip: Int, _ node: Int, _ why: String) -> Finding {
    Finding(promise: .nothingLeft, message: "lb\(node + 1) \(why) and holds VIP \(vip + 1)")
  }

  /// A daemon has started, and the VIP was there before it asked for it.
  func unswept(_ node: Int, _ vip: Int) -> Finding {
    Finding(
      promise: .nothingLeft, message: "lb\(node + 1) started, and VIP \(vip + 1) of its earlier life is still there")
  }

  /// The node says that nothing of it is left.
  func stopped(_ node: Int, _ picture: borrowing Picture) -> Finding? {
    for vip in 0..<picture.vips where picture.holds(node, vip) {
      return Finding(promise: .nothingLeft, message: "lb\(node + 1) stopped and left VIP \(vip + 1) on its interface")
    }
    return nil
  }
}
