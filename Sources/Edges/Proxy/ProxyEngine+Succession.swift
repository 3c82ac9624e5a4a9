import CLinux
import Linux
import Synchronization

/// One process takes the listening sockets of another: connections that wait in their queues, half-made ones included, wait on.
extension ProxyEngine {
  /// Listening sockets of another process, by where they listen.
  public final class Inheritance: Sendable {
    private let sockets = Mutex<[ProxyService.Listen: [Int32]]>([:])

    public init() {}

    /// Takes the descriptor over.
    public func add(_ socket: consuming Descriptor, at place: ProxyService.Listen) {
      let number = socket.release()
      // The one before may have shut it for a moment.
      _ = clinux_proxy_unseal(number)
      sockets.withLock { $0[place, default: []].append(number) }
    }

    /// They are the caller's from now on.
    func take(_ place: ProxyService.Listen) -> [Int32] { sockets.withLock { $0.removeValue(forKey: place) } ?? [] }

    deinit { sockets.withLock { for (_, numbers) in $0 { for number in numbers { clinux_proxy_close(number) } } } }
  }

  /// Duplicates of all listening sockets. Nil where a worker does not answer within a second.
  ///
  /// Waits, so it is not for the loop.
  public func lendListeners() -> [(place: ProxyService.Listen, socket: Int32)]? {
    guard state.withLock({ $0.phase }) == .running, let done = try? Semaphore() else { return [] }
    let order = LendOrder(workers: crew.count) { done.signal() }
    for member in crew { member.mail.send(.lend(order)) }
    guard done.wait(for: .seconds(1)) else {
      order.abandon()
      return nil
    }
    return order.take()
  }

  /// Takes no more connections: another process has the listening sockets. Those that are open go on until they end.
  public func cede() {
    for member in crew { member.mail.send(.cede) }
  }

  /// Connections that are open now.
  public var openConnections: Int {
    state.withLock { state in state.editions.reduce(0) { $0 + ($1?.open.load(ordering: .relaxed) ?? 0) } }
  }
}

/// One call of `lendListeners`, for all workers.
final class LendOrder: Sendable {
  private struct State {
    var lent: [(place: ProxyService.Listen, socket: Int32)] = []
    var missing: Int
    var isAbandoned = false
  }

  private let state: Mutex<State>
  private let then: @Sendable () -> Void

  init(workers: Int, then: @escaping @Sendable () -> Void) {
    state = Mutex(State(missing: workers))
    self.then = then
  }

  /// A worker's answer.
  func lend(_ listeners: [Listener]) {
    let isLast = state.withLock { state in
      guard !state.isAbandoned else { return false }
      for listener in listeners where listener.descriptor >= 0 {
        let copy = clinux_proxy_duplicate(listener.descriptor)
        if copy >= 0 { state.lent.append((listener.place, copy)) }
      }
      state.missing -= 1
      return state.missing == 0
    }
    if isLast { then() }
  }

  func take() -> [(place: ProxyService.Listen, socket: Int32)] {
    state.withLock { state in
      defer { state.lent = [] }
      return state.lent
    }
  }

  func abandon() {
    state.withLock { $0.isAbandoned = true }
    for (_, socket) in take() { clinux_proxy_close(socket) }
  }
}

extension Worker {
  /// Another process listens from now on, on the same sockets.
  mutating func cede() {
    for index in listeners.indices where listeners[index].descriptor >= 0 { closeListener(index) }
  }
}
