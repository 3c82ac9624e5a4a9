import Basis
import Linux
import Synchronization

/// The processes before this one that still finish the connections they had, oldest first. Safe from any thread.
///
/// Whoever upgrades several times in a row has several of them; each ends with its last connection, ten minutes after its own upgrade at
/// the latest. Each holds the memory of a daemon, hence a limit.
final class Predecessors: Sendable {
  /// That many may finish when another upgrade begins.
  static let most = 4

  private struct Process {
    let channel: UpgradeChannel
    /// As it said last.
    var connections = 0
    var until: Instant
    var isLeaving = false
  }

  private struct State {
    var processes: [Process] = []
    var waiting: [UInt64: (of: ObjectIdentifier, then: @Sendable () -> Void)] = [:]
    var last: UInt64 = 0
  }

  private let state = Mutex(State())

  var channels: [UpgradeChannel] { state.withLock { $0.processes.map(\.channel) } }

  func add(_ channel: UpgradeChannel, at now: Instant) {
    state.withLock { $0.processes.append(Process(channel: channel, until: now + Daemon.longestFarewell)) }
  }

  /// What one of them said.
  func hear(_ message: UpgradeChannel.Message, from channel: UpgradeChannel, at now: Instant) {
    switch message {
    case .closed(let number): state.withLock { $0.waiting.removeValue(forKey: number) }?.then()
    case .remaining(let connections, let milliseconds):
      state.withLock { state in
        guard let index = state.processes.firstIndex(where: { $0.channel === channel }) else { return }
        state.processes[index].connections = connections
        state.processes[index].until = now + .milliseconds(milliseconds)
      }
    default: break
    }
  }

  func isGone(_ channel: UpgradeChannel) {
    let done = state.withLock { state in
      state.processes.removeAll { $0.channel === channel }
      let numbers = state.waiting.filter { $0.value.of == ObjectIdentifier(channel) }.map(\.key)
      return numbers.compactMap { state.waiting.removeValue(forKey: $0) }
    }
    for entry in done { entry.then() }
  }

  /// Their connections with the VIP are to end; `then` is called once for each of them, when they have or it is gone.
  func close(
    vip: String, for channels: [UpgradeChannel], within limit: Duration, then: @escaping @Sendable () -> Void
  ) {
    let milliseconds = min(max(0, limit.nanoseconds / 1_000_000), 86_400_000)
    for channel in channels {
      let number = state.withLock { state in
        state.last += 1
        state.waiting[state.last] = (ObjectIdentifier(channel), then)
        return state.last
      }
      if !channel.send(.close(number: number, vip: vip, milliseconds: milliseconds)) {
        state.withLock { $0.waiting.removeValue(forKey: number) }?.then()
      }
    }
  }

  /// Whether another process may join them.
  /// - Parameter isForced: then the oldest one is told to end, with its connections, where there are too many.
  /// - Returns: why not, and what to do; nil where it may.
  func objection(isForced: Bool, at now: Instant) -> String? {
    let (staying, oldest, total) = state.withLock { state in
      let staying = state.processes.filter { !$0.isLeaving }
      if isForced, staying.count >= Self.most {
        state.processes[state.processes.firstIndex { !$0.isLeaving } ?? 0].isLeaving = true
      }
      return (staying.count, staying.first, staying.reduce(0) { $0 + $1.connections })
    }
    guard staying >= Self.most, let oldest else { return nil }
    guard isForced else {
      let minutes = max(1, ((oldest.until - now).nanoseconds + 59_999_999_999) / 60_000_000_000)
      return
        "\(staying) processes of earlier upgrades still finish their connections (\(total)); the oldest, with \(oldest.connections) of them, "
        + "ends within \(minutes) min: upgrade again then, or with --force, which ends that one and its connections now"
    }
    oldest.channel.send(.leave)
    return nil
  }
}
