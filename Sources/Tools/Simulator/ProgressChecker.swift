/// An event has a bounded number of effects, and a deadline that was kept isn't due again at once.
struct ProgressChecker {
  /// An advert, a take, its reports, … for each VIP; a check or a state for each backend.
  let mostEffects: Int
  /// A node that is due again this often after it was asked runs in a circle.
  static let mostTimers = 16
  private var overdue: [Int]

  init(nodes: Int, vips: Int, backends: Int) {
    mostEffects = 16 + 32 * vips + 8 * backends
    overdue = Array(repeating: 0, count: nodes)
  }

  @inline(__always)
  func handled(_ node: Int, effects: Int) -> Finding? {
    guard effects > mostEffects else { return nil }
    return Finding(promise: .progress, message: "one event made lb\(node + 1) emit \(effects) effects")
  }

  /// A node was told that its deadline has come.
  @inline(__always)
  mutating func timer(_ node: Int, at now: Int64, next deadline: Int64?) -> Finding? {
    guard let deadline, deadline <= now else {
      overdue[node] = 0
      return nil
    }
    overdue[node] += 1
    guard overdue[node] > Self.mostTimers else { return nil }
    return Finding(promise: .progress, message: "lb\(node + 1) is due again each time that it has been asked")
  }
}
