/// A neighbour that a former owner, or a stranger, sent to the wrong place is put right by the owner.
///
/// The clock of a VIP starts when one node alone holds it, the last announcement was somebody else's, and the owner had the chance to
/// know: they met since, both as owners, or the owner heard the announcement.
struct NeighboursChecker {
  let bounds: Bounds
  private var since: [Int64?]
  private(set) var deadline: Int64?

  init(_ picture: Picture, bounds: Bounds) {
    self.bounds = bounds
    since = Array(repeating: nil, count: picture.vips)
  }

  mutating func look(_ picture: inout Picture) -> Finding? {
    deadline = nil
    var finding: Finding?
    for vip in 0..<picture.vips {
      let owner = meet(vip, &picture)
      guard let owner, picture.hasMet[vip], picture.announcer[vip] != owner, picture.serves[owner],
        picture.network.canSpeak(owner)
      else {
        since[vip] = nil
        continue
      }
      let began = since[vip] ?? picture.now
      since[vip] = began
      let limit = max(began, picture.servesSince[owner]) + bounds.neighbours
      if picture.now >= limit {
        let told = picture.announcer[vip] < 0 ? "a stranger" : "lb\(picture.announcer[vip] + 1)"
        finding =
          finding
          ?? Finding(
            promise: .neighbours,
            message: "lb\(owner + 1) alone holds VIP \(vip + 1), and what the neighbours heard last, "
              + "\((picture.now - began) / 1_000_000) ms ago, was \(told)")
      } else {
        deadline = min(deadline ?? .max, limit)
      }
    }
    return finding
  }

  /// Notes that the announcer meets another owner; gives the owner where there is one alone.
  private func meet(_ vip: Int, _ picture: inout Picture) -> Int? {
    var owner: Int?
    var count = 0
    let announcer = picture.announcer[vip]
    for node in 0..<picture.nodes where picture.holds(node, vip) {
      count += 1
      owner = node
      if announcer >= 0, node != announcer, picture.holds(announcer, vip), picture.serves[node],
        picture.serves[announcer], picture.hearEachOther(node, announcer)
      {
        picture.hasMet[vip] = true
      }
    }
    return count == 1 ? owner : nil
  }
}
