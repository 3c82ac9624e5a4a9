/// The client's side: to which node its packets to the VIP go, and whether somebody answers there.
///
/// It believes the last announcement that it heard. Where that leads nowhere it asks again after a second, as Linux does for
/// a neighbour that has stopped answering, and believes whoever holds the address.
struct Client {
  private var neighbour: Int?
  private(set) var gapSince: Int64?
  private(set) var deadline: Int64?
  private(set) var gaps: [(from: Int64, to: Int64)] = []
  /// All gaps together, nanoseconds.
  private(set) var unanswered: Int64 = 0
  private(set) var longest: Int64 = 0
  /// Gaps before this time don't count.
  var countsFrom: Int64 = 0
  let vip: Int
  let keepsGaps: Bool

  static let patience: Int64 = 1_000_000_000

  init(vip: Int, keepsGaps: Bool) {
    self.vip = vip
    self.keepsGaps = keepsGaps
    gapSince = 0
    deadline = Self.patience
  }

  mutating func heard(announcementOf node: Int, _ picture: borrowing Picture) {
    guard node < 0 || picture.network.isConnected(node) else { return }
    neighbour = node
    look(picture)
  }

  mutating func look(_ picture: borrowing Picture) {
    if gapSince != nil, let due = deadline, due <= picture.now {
      neighbour = (0..<picture.nodes).first { answers($0, picture) } ?? neighbour
      deadline = picture.now + Self.patience
    }
    let isAnswered = neighbour.map { answers($0, picture) } ?? false
    if isAnswered, let began = gapSince {
      close(began, picture.now)
      gapSince = nil
      deadline = nil
    } else if !isAnswered, gapSince == nil {
      gapSince = picture.now
      deadline = picture.now + Self.patience
    }
  }

  mutating func finish(at now: Int64) {
    if let began = gapSince { close(began, now) }
    gapSince = nil
  }

  /// A stranger answers nobody.
  private func answers(_ node: Int, _ picture: borrowing Picture) -> Bool {
    node >= 0 && picture.holds(node, vip) && picture.serves[node] && picture.network.isConnected(node)
  }

  private mutating func close(_ began: Int64, _ ended: Int64) {
    let began = max(began, countsFrom)
    guard ended > began else { return }
    unanswered += ended - began
    longest = max(longest, ended - began)
    if keepsGaps { gaps.append((began, ended)) }
  }
}
