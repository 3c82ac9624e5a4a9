#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif
import Basis
import Linux
import Node

/// Something that happened on a node, as `roost events` shows it and notifications tell it.
public struct EventRecord: Codable, Sendable, Hashable {
  /// From 1, without gaps, for as long as the daemon lives.
  public var seq: UInt64
  /// RFC 3339.
  public var time: String
  /// `Occurrence.Kind`, as text, so that a reader of another version understands the rest.
  public var kind: String
  /// `error`, `warning`, `notice` or `info`.
  public var level: String
  /// The node on which it happened.
  public var node: String
  public var vip: String?
  public var service: String?
  public var backend: String?
  public var tracker: String?
  public var peer: String?
  /// One line for people.
  public var text: String
  /// Why, where there is more to say than what.
  public var cause: String?

  public init(
    seq: UInt64, time: String, kind: Occurrence.Kind, level: LogLevel, node: String, subject: EventSubject,
    text: String,
    cause: String? = nil
  ) {
    self.seq = seq
    self.time = time
    self.kind = kind.rawValue
    self.level = level.name
    self.node = node
    vip = subject.vip
    service = subject.service
    backend = subject.backend
    tracker = subject.tracker
    peer = subject.peer
    self.text = text
    self.cause = cause
  }
}

extension EventRecord {
  /// One object, in one line.
  public var json: [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // Strings and numbers only, so encoding can't fail.
    return (try? encoder.encode(self)).map(Array.init) ?? []
  }
}

/// What something happened to, by name.
public struct EventSubject: Sendable, Hashable {
  public var vip: String?
  public var service: String?
  public var backend: String?
  public var tracker: String?
  public var peer: String?

  public init(
    vip: String? = nil, service: String? = nil, backend: String? = nil, tracker: String? = nil, peer: String? = nil
  ) {
    self.vip = vip
    self.service = service
    self.backend = backend
    self.tracker = tracker
    self.peer = peer
  }

  /// The names, for folding lines: what happens to one thing is no reason to be silent of another.
  var key: String { [vip, service, backend, tracker, peer].map { $0 ?? "" }.joined(separator: "\u{1F}") }
}

/// `GET /events`: some events in order.
public struct EventPage: Codable, Sendable, Hashable {
  /// Names the daemon's life: the numbers of another one begin anew.
  public var life: String
  public var events: [EventRecord]
  /// The number of the last event there is; to be asked from next.
  public var last: UInt64
  /// Events after the one that was asked from that are forgotten.
  public var forgotten: UInt64

  public init(life: String, events: [EventRecord], last: UInt64, forgotten: UInt64) {
    self.life = life
    self.events = events
    self.last = last
    self.forgotten = forgotten
  }
}

/// The last events, a bounded number of them.
struct EventRing {
  let capacity: Int
  private var events: [EventRecord] = []
  /// Where the oldest is, once the ring is full.
  private var oldest = 0
  private(set) var last: UInt64 = 0

  init(capacity: Int) { self.capacity = max(1, capacity) }

  /// Gives the event the next number.
  mutating func append(_ make: (UInt64) -> EventRecord) -> EventRecord {
    last += 1
    let event = make(last)
    if events.count < capacity {
      events.append(event)
    } else {
      events[oldest] = event
      oldest = (oldest + 1) % capacity
    }
    return event
  }

  /// Those after a number, the oldest first, and how many of them are forgotten.
  func events(after number: UInt64, most: Int) -> (events: [EventRecord], forgotten: UInt64) {
    guard number < last else { return ([], 0) }
    let first = last - UInt64(events.count) + 1
    let forgotten = number + 1 < first ? first - number - 1 : 0
    let skipped = Int(clamping: max(number + 1, first) - first)
    let count = min(most, events.count - skipped)
    return ((skipped..<(skipped + max(0, count))).map { events[(oldest + $0) % events.count] }, forgotten)
  }
}
