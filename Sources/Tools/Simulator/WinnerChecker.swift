/// Of several backups that hear each other and hear the owner end, one takes over: Skew_Time is there for that (RFC 9568 §6.1).
///
/// Only where one step of the skew is longer than what the network and the loops add, and where nothing but ends of nodes happens.
struct WinnerChecker {
  private let isOn: Bool
  private let settled: Int64
  private let interval: Int64
  /// Of each VIP: who took it last, when, and since when nobody had it before.
  private var last: [(node: Int, at: Int64)?]
  private var vacantSince: [Int64?]

  init(_ plan: Plan, vips: Int) {
    interval = plan.interval
    settled = 5 * interval + 1_000_000_000
    let noise = (plan.latency + plan.jitter * 2).nanoseconds + 200_000
    var isQuiet = false
    if case .chaos(let chaos) = plan.story {
      isQuiet = chaos.kinds.allSatisfy { [.kill, .killAll, .stop, .nodeDead].contains($0) }
    }
    isOn = isQuiet && interval / 256 > noise && plan.loss == 0
    last = Array(repeating: nil, count: vips)
    vacantSince = Array(repeating: 0, count: vips)
  }

  /// A node begins or ceases to hold a VIP, as the picture shows already.
  mutating func changed(_ node: Int, _ vip: Int, holds: Bool, _ picture: borrowing Picture) -> Finding? {
    guard isOn else { return nil }
    let others = (0..<picture.nodes).contains { $0 != node && picture.holds($0, vip) }
    guard holds else {
      if !others { vacantSince[vip] = picture.now }
      return nil
    }
    defer { last[vip] = (node, picture.now) }
    guard let (first, at) = last[vip], first != node, picture.holds(first, vip), picture.now - at < 5_000_000,
      let began = vacantSince[vip], began < at,
      picture.hearEachOther(first, node), picture.serves[first], picture.serves[node],
      picture.now - picture.servesSince[first] > settled, picture.now - picture.servesSince[node] > settled
    else { return nil }
    return Finding(
      promise: .oneWinner,
      message: "lb\(first + 1) and lb\(node + 1) took VIP \(vip + 1) within \((picture.now - at) / 1000) µs")
  }
}
