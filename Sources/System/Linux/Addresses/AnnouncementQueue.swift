import Basis
import Wire

/// What is to be told to the neighbours, and when: a switch or a neighbour that gets 255 VIPs' announcements at once loses some.
///
/// Every VIP's first announcement of an ownership comes before any repetition, and these before requests to gateways.
struct AnnouncementQueue {
  struct Item: Hashable {
    var vip: Int
    var generation: UInt64
    var address: IPAddress
    /// A request to the gateways, in place of an announcement.
    var isNudge = false
  }

  private var firsts: [Item] = []
  private var repetitions: [Item] = []
  private var nudges: [Item] = []
  /// What waits, so that a repetition of what has not been said yet is not said twice.
  private var waiting: Set<Item> = []
  private var bucket: TokenBucket
  private var deadlineOfBucket: Instant?

  /// 32 addresses at once, then one each half millisecond: 255 VIPs are told within an eighth of a second.
  init(burst: Double = 32, perSecond: Double = 2000) {
    bucket = TokenBucket(burst: burst, perSecond: perSecond)
  }

  var isEmpty: Bool { firsts.isEmpty && repetitions.isEmpty && nudges.isEmpty }
  var count: Int { firsts.count + repetitions.count + nudges.count }

  mutating func add(_ item: Item, isFirst: Bool) {
    guard waiting.insert(item).inserted else { return }
    if item.isNudge {
      nudges.append(item)
    } else if isFirst {
      firsts.append(item)
    } else {
      repetitions.append(item)
    }
  }

  /// The next that may go now; nil where none waits, or all have to.
  /// - Parameter onlyFirst: repetitions and requests to gateways are left for later.
  mutating func next(at now: Instant, onlyFirst: Bool = false) -> Item? {
    guard onlyFirst ? !firsts.isEmpty : !isEmpty else { return nil }
    guard bucket.take(at: now) else {
      deadlineOfBucket = now + bucket.wait
      return nil
    }
    let item =
      if !firsts.isEmpty {
        firsts.removeFirst()
      } else if !repetitions.isEmpty {
        repetitions.removeFirst()
      } else {
        nudges.removeFirst()
      }
    waiting.remove(item)
    return item
  }

  /// Takes out what is no longer true.
  mutating func removeAll(where isOver: (Item) -> Bool) {
    firsts.removeAll(where: isOver)
    repetitions.removeAll(where: isOver)
    nudges.removeAll(where: isOver)
    waiting = Set(firsts + repetitions + nudges)
  }

  /// When `next` has something; nil where nothing waits.
  var deadline: Instant? { isEmpty ? nil : deadlineOfBucket ?? Instant(nanoseconds: 0) }
}
