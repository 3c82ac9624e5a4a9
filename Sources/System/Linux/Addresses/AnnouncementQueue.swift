import Basis
import Wire

/// What is to be told to the neighbours, and when: a switch or a neighbour that gets 255 VIPs' announcements at once loses some.
///
/// Every VIP's first announcement of an ownership comes before any repetition, and before requests to gateways.
struct AnnouncementQueue {
  struct Item: Hashable {
    var vip: Int
    var generation: UInt64
    var address: IPAddress
    /// A request to the gateways, in place of an announcement.
    var isNudge = false
  }

  private var firsts: [Item] = []
  private var others: [Item] = []
  /// What waits, so that a repetition of what has not been said yet is not said twice.
  private var waiting: Set<Item> = []
  private var bucket: TokenBucket
  private var deadlineOfBucket: Instant?

  /// 32 addresses at once, then one each half millisecond: 255 VIPs are told within an eighth of a second.
  init(burst: Double = 32, perSecond: Double = 2000) {
    bucket = TokenBucket(burst: burst, perSecond: perSecond)
  }

  var isEmpty: Bool { firsts.isEmpty && others.isEmpty }
  var count: Int { firsts.count + others.count }

  mutating func add(_ item: Item, isFirst: Bool) {
    guard waiting.insert(item).inserted else { return }
    if isFirst { firsts.append(item) } else { others.append(item) }
  }

  /// The next that may go now; nil where none waits, or all have to.
  mutating func next(at now: Instant) -> Item? {
    guard !isEmpty else { return nil }
    guard bucket.take(at: now) else {
      deadlineOfBucket = now + bucket.wait
      return nil
    }
    let item = firsts.isEmpty ? others.removeFirst() : firsts.removeFirst()
    waiting.remove(item)
    return item
  }

  /// Takes out what is no longer true.
  mutating func removeAll(where isOver: (Item) -> Bool) {
    firsts.removeAll(where: isOver)
    others.removeAll(where: isOver)
    waiting = Set(firsts + others)
  }

  /// When `next` has something; nil where nothing waits.
  var deadline: Instant? { isEmpty ? nil : deadlineOfBucket ?? Instant(nanoseconds: 0) }
}
