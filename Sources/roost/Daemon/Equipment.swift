import Configuration
import Linux
import Notify
import PeerLink
import Prober
import Proxy
import Synchronization
import Telemetry
import Tracking

extension Equipment.Parts {
  /// Ends what others don't have.
  fileprivate func end(but others: Self) {
    if others.trackers == nil { trackers?.stop() }
    if others.link == nil { link?.stop() }
    if others.prober == nil { prober?.stop() }
    if others.proxy == nil { proxy?.stop() }
  }
}

/// The parts of a daemon that a configuration may need or not, and that follow it when it changes. What was made once stays, even where
/// nothing uses it any longer.
final class Equipment: Sendable {
  struct Parts: Sendable {
    var proxy: ProxyEngine?
    var prober: Prober?
    var link: PeerLink?
    var trackers: TrackerRunner?
  }

  private let workers: Int?
  private let mailbox: Mailbox<Loop.Message>
  private let log: Log
  private let notifier: Notifier
  private let state = Mutex(State())
  /// What was there before the last `prepare`.
  private let previous = Mutex(State())

  private struct State: Sendable {
    var parts = Parts()
    var notifications: [NotificationTarget] = []
  }

  /// Of the process before this one. While it is pending, nothing is begun that only one process can do.
  private let succession: Succession?

  init(
    workers: Int?, notifier: Notifier, mailbox: Mailbox<Loop.Message>, log: Log, succession: Succession? = nil
  ) {
    self.succession = succession
    self.workers = workers
    self.notifier = notifier
    self.mailbox = mailbox
    self.log = log
  }

  var current: Parts { state.withLock { $0.parts } }

  /// What a plan needs, made if it is missing, and the proxy's change made ready. On a thread that may wait, of one caller at a time.
  ///
  /// Throws with nothing changed.
  func prepare(_ plan: DaemonPlan) throws -> (parts: Parts, change: ProxyEngine.Change?) {
    let before = state.withLock { $0 }
    var next = before.parts
    var change: ProxyEngine.Change?
    do {
      if let proxy = next.proxy {
        change = try proxy.prepare(plan.proxied)
      } else if plan.proxied.contains(where: { $0 != nil }) {
        next.proxy = try makeProxy(plan)
      }
      if next.prober == nil, !plan.probes.isEmpty { next.prober = try makeProber(plan) }
      if next.trackers == nil, plan.trackerTargets.contains(where: { $0.source != .none }) {
        next.trackers = try TrackerRunner(plan.trackerTargets) { [mailbox] tracker, report in
          mailbox.send(.event(.track(tracker: tracker, report)))
        }
      }
      try notifier.replace(plan.notifications)
    } catch {
      next.end(but: before.parts)
      throw error
    }
    if next.link == nil, !isUnreleased { next.link = makeLink(plan) }
    previous.withLock { $0 = before }
    state.withLock { $0 = State(parts: next, notifications: plan.notifications) }
    return (next, change)
  }

  /// What the last `prepare` made is not put in place: all is as before. On the thread that called it.
  func takeBack() {
    let before = previous.withLock { $0 }
    let refused = state.withLock { state in
      defer { state = before }
      return state
    }
    refused.parts.end(but: before.parts)
    do { try notifier.replace(before.notifications) } catch {
      log.write(.error, "the notifications of a configuration that was withdrawn stay until the next reload: \(error)")
    }
  }

  private var isUnreleased: Bool {
    guard let succession else { return false }
    if case .complete = succession.current { return false }
    return true
  }

  /// What only one process can do ends here; connections go on.
  func cede() {
    let parts = current
    parts.proxy?.cede()
    parts.trackers?.stop()
    parts.link?.stop()
    parts.prober?.stop()
  }

  func stop() {
    let parts = current
    parts.trackers?.stop()
    parts.link?.stop()
    parts.prober?.stop()
    parts.proxy?.stop()
  }

  private func makeProxy(_ plan: DaemonPlan) throws -> ProxyEngine {
    var options = ProxyOptions()
    options.workers = workers
    // A place that is empty now keeps its number: what comes there later is a change.
    let proxy = try ProxyEngine(services: [], options: options, inheriting: succession?.listeners)
    proxy.apply(try proxy.prepare(plan.proxied))
    if !isUnreleased { try proxy.start() }
    return proxy
  }

  private func makeProber(_ plan: DaemonPlan) throws -> Prober {
    try Prober(plan.probes.map(\.target)) { [mailbox] index, number, result in
      mailbox.send(.checked(index, number, result))
    }
  }

  /// VRRP is enough without the link, so what stands in its way is told and stops nothing.
  private func makeLink(_ plan: DaemonPlan) -> PeerLink? {
    guard let settings = PeerLinkSettings(plan) else { return nil }
    do throws(PeerLinkError) {
      return try PeerLink(settings) { [mailbox] in mailbox.send(.peer($0)) }
    } catch {
      log.write(.error, "there is no peer link: \(error)")
      return nil
    }
  }
}
