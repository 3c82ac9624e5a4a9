import Node
import Synchronization
import Telemetry

/// People's commands that wait for the control plane's answer.
final class Tickets: Sendable {
  typealias Answer = @Sendable (CommandAnswer) -> Void

  /// Commands that may wait at a time.
  private static let most = 256

  private struct State {
    var next: UInt64 = 1
    var waiting: [UInt64: Answer] = [:]
  }

  private let state = Mutex(State())
  private let log: Log

  init(log: Log) { self.log = log }

  /// A number for a command; nil where too many wait.
  /// - Parameter answer: is called once, on the log's thread.
  func issue(_ answer: @escaping Answer) -> UInt64? {
    state.withLock { state in
      guard state.waiting.count < Self.most else { return nil }
      defer { state.next += 1 }
      state.waiting[state.next] = answer
      return state.next
    }
  }

  /// `Effect.answer`. From the loop: it only hands on. An answer that nobody waits for (in a replay, say) is dropped.
  func answer(_ ticket: UInt64, _ answer: CommandAnswer) {
    guard let waiting = state.withLock({ $0.waiting.removeValue(forKey: ticket) }) else { return }
    log.perform { waiting(answer) }
  }
}
