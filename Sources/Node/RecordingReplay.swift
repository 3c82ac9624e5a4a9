import Basis

/// Runs a recording through a new node: does this program decide as that one did?
public struct Replay: Sendable {
  public enum Outcome: Sendable, Equatable {
    /// All decisions were the same.
    case identical
    /// The first event whose decisions were not.
    case differs(Difference)
  }

  public struct Difference: Sendable, Equatable {
    /// From 0.
    public var index: Int
    public var event: Event
    public var at: Instant
    /// What this program decides there.
    public var effects: [Effect]
  }

  public var outcome: Outcome
  /// How many events were run, until the end or the difference.
  public var events: Int
  /// The recording was cut off within an item; what stood before it was run.
  public var isCut: Bool
  /// The recording says of its last event, too, what was decided: false where the daemon was killed while it recorded.
  public var isFinished: Bool
  /// The node after the last event.
  public var node: Node

  /// - Parameter observe: told of each event and its effects, in order.
  public init(
    _ recording: [UInt8], observe: (_ event: Event, _ at: Instant, _ effects: [Effect]) -> Void = { _, _, _ in }
  ) throws(RecordingError) {
    var reader = try RecordingReader(recording)
    node = Node(reader.settings, seed: reader.seed)
    events = 0
    isCut = false
    isFinished = false
    outcome = .identical
    var digest = EffectDigest()
    var last: Difference?
    while true {
      let item: RecordingReader.Item?
      do throws(RecordingError) {
        item = try reader.next()
      } catch {
        guard case .cut = error else { throw error }
        isCut = true
        return
      }
      // What the recording says of the decisions so far comes before the next event.
      switch item {
      case nil: return
      case .checkpoint(let count, let recorded):
        guard count == UInt64(events) else {
          throw reader.malformed("it counts \(count) events, and here are \(events)")
        }
        guard recorded != digest.value else {
          isFinished = true
          continue
        }
      case .event(let event, let now, let recorded):
        guard recorded != UInt16(truncatingIfNeeded: digest.value) else {
          var effects: [Effect] = []
          node.handle(event, at: now) { effects.append($0) }
          for effect in effects { digest.add(effect) }
          observe(event, now, effects)
          last = Difference(index: events, event: event, at: now, effects: effects)
          events += 1
          isFinished = false
          continue
        }
      }
      guard let last else { throw reader.malformed("it expects decisions before the first event") }
      outcome = .differs(last)
      return
    }
  }
}
