import Basis
import Linux
import Node
import Synchronization

/// What happened on this node, in order: in the log, in memory for `roost events`, and told to whoever listens.
///
/// Whoever reports something only puts it into the log thread's mailbox; words are made there.
public final class Chronicle: Sendable {
  /// Is called on the log's thread with each event, in order, so it must not wait.
  public typealias Listener = @Sendable (EventRecord) -> Void

  public static let capacity = 10_000
  /// The most events in one page.
  public static let pageSize = 1000
  /// The most readers that wait for something to happen; a further one gets its page at once.
  static let mostReaders = 64

  public let node: String
  public let life: String
  private let log: Log
  private let state: Mutex<State>

  private struct State {
    var ring: EventRing
    var readers: [Reader] = []
    var nextReader: UInt64 = 0
    var listener: Listener?
  }

  private struct Reader {
    let number: UInt64
    let after: UInt64
    let answer: @Sendable (EventPage) -> Void
  }

  /// - Parameter life: differs between two lives of a daemon.
  public init(node: String, life: String = "\(Clock.wall())", log: Log, capacity: Int = Chronicle.capacity) {
    self.node = node
    self.life = life
    self.log = log
    state = Mutex(State(ring: EventRing(capacity: capacity)))
  }

  /// Replaces whoever listened before.
  public func listen(_ listener: Listener?) { state.withLock { $0.listener = listener } }

  // MARK: In

  /// From the loop: neither waits nor makes words.
  public func report(_ occurrence: Occurrence, of settings: NodeSettings) {
    let time = Clock.wall()
    log.compose { [self] in
      add(
        occurrence.kind, settings.level(of: occurrence), time, settings.subject(of: occurrence),
        settings.text(of: occurrence), cause: occurrence.cause)
    }
  }

  /// What the daemon says of itself.
  public func report(
    _ kind: Occurrence.Kind, _ level: LogLevel, _ text: String, of subject: EventSubject = EventSubject(),
    cause: String? = nil
  ) {
    let time = Clock.wall()
    log.compose { [self] in add(kind, level, time, subject, text, cause: cause) }
  }

  /// On the log's thread.
  private func add(
    _ kind: Occurrence.Kind, _ level: LogLevel, _ time: WallTime, _ subject: EventSubject, _ text: String,
    cause: String?
  ) -> LineFolder.Line {
    let told: (event: EventRecord, readers: [(Reader, EventPage)], listener: Listener?) = state.withLock { state in
      let event = state.ring.append { number in
        EventRecord(
          seq: number, time: "\(time)", kind: kind, level: level, node: node, subject: subject, text: text, cause: cause
        )
      }
      let readers = state.readers
      state.readers = []
      return (event, readers.map { ($0, page(after: $0.after, in: state.ring)) }, state.listener)
    }
    for (reader, page) in told.readers { reader.answer(page) }
    told.listener?(told.event)
    return LineFolder.Line(level: level, text: text, cause: "\(kind.rawValue)\u{1F}\(subject.key)")
  }

  // MARK: Out

  public func events(after number: UInt64) -> EventPage { state.withLock { page(after: number, in: $0.ring) } }

  /// Answers with the events after a number: at once if there are any, else as soon as there is one, or after `limit` with none.
  public func events(
    after number: UInt64, waiting limit: Duration, _ answer: @escaping @Sendable (EventPage) -> Void
  ) {
    let now: EventPage? = state.withLock { state in
      guard limit > .zero, number >= state.ring.last, state.readers.count < Self.mostReaders else {
        return page(after: number, in: state.ring)
      }
      let reader = state.nextReader
      state.nextReader += 1
      state.readers.append(Reader(number: reader, after: number, answer: answer))
      log.perform(at: Clock.now() + limit) { [self] in giveUp(reader) }
      return nil
    }
    if let now { answer(now) }
  }

  private func giveUp(_ number: UInt64) {
    let late: (Reader, EventPage)? = state.withLock { state in
      guard let index = state.readers.firstIndex(where: { $0.number == number }) else { return nil }
      let reader = state.readers.remove(at: index)
      return (reader, page(after: reader.after, in: state.ring))
    }
    if let (reader, page) = late { reader.answer(page) }
  }

  private func page(after number: UInt64, in ring: EventRing) -> EventPage {
    let (events, forgotten) = ring.events(after: number, most: Self.pageSize)
    return EventPage(life: life, events: events, last: ring.last, forgotten: forgotten)
  }
}
