import Basis
import Glibc
import Health
import Linux

/// The prober's thread: the probes in flight, at most one a target, and their deadlines.
final class ProbeLoop {
  enum Message: Sendable {
    case probe(Int, number: UInt64)
    /// Others, and which of the old ones each is, where it is the same still.
    case targets([CheckTarget], origins: [Int?])
    case stop
  }

  private struct Slot {
    var plan: ProbePlan
    var probe: Probe?
  }

  private let reactor: Reactor
  private let report: Prober.Report
  private var slots: [Slot]
  /// Not later than the first deadline of a probe; it may be earlier, which costs a look and no more.
  private var deadline: Instant?

  init(_ targets: [CheckTarget], _ mailbox: Mailbox<Message>, _ report: @escaping Prober.Report) throws(SystemError) {
    self.report = report
    slots = targets.map { Slot(plan: ProbePlan($0)) }
    reactor = try Reactor(batch: 128)
    try mailbox.attach(to: reactor) { [unowned self] in receive($0) }
  }

  func run() {
    while true {
      do {
        try reactor.run(deadline: { deadline }, onDeadline: { expire(at: $0) })
        break
      } catch {
        // The kernel is short of something: checks must go on when it no longer is.
        usleep(100_000)
      }
    }
    for index in slots.indices { abandon(index) }
  }

  private func receive(_ message: Message) {
    switch message {
    case .probe(let index, let number): start(index, number)
    case .targets(let targets, let origins): replace(targets, origins)
    case .stop: reactor.stop()
    }
  }

  /// A probe in flight goes on where its target stays.
  private func replace(_ targets: [CheckTarget], _ origins: [Int?]) {
    var old = slots
    slots = targets.enumerated().map { index, target in
      guard origins.indices.contains(index), let origin = origins[index], old.indices.contains(origin),
        old[origin].plan.target == target
      else { return Slot(plan: ProbePlan(target)) }
      defer { old[origin].probe = nil }
      old[origin].probe?.index = index
      return old[origin]
    }
    for slot in old { if let registration = slot.probe?.registration { reactor.unregister(registration) } }
  }

  private func start(_ index: Int, _ number: UInt64) {
    guard slots.indices.contains(index) else {
      return report(index, number, CheckResult(.unknown, latency: .zero, message: "there is no such check"))
    }
    abandon(index)
    let now = Clock.now()
    let probe: Probe
    switch Probe.start(slots[index].plan, index, number, at: now) {
    case .finished(let result): return report(index, number, result)
    case .running(let started): probe = started
    }
    do throws(SystemError) {
      probe.registration = try reactor.register(probe.descriptor.rawValue, .writable) {
        [unowned self, unowned probe] ready in
        advance(probe, ready)
      }
    } catch {
      return report(index, number, CheckResult(.unknown, latency: .zero, message: Words.local(error)))
    }
    slots[index].probe = probe
    deadline = earlier(deadline, probe.deadline)
  }

  private func advance(_ probe: Probe, _ readiness: Reactor.Readiness) {
    switch probe.handle(readiness) {
    case .waiting(let interest):
      guard interest != probe.registered, let registration = probe.registration else { return }
      do throws(SystemError) {
        try reactor.modify(registration, interest)
        probe.registered = interest
      } catch {
        finish(probe, .unknown, Words.local(error))
      }
    case .finished(let verdict, let message): finish(probe, verdict, message)
    }
  }

  private func finish(_ probe: Probe, _ verdict: CheckResult.Verdict, _ message: String) {
    abandon(probe.index)
    report(probe.index, probe.number, CheckResult(verdict, latency: Clock.now() - probe.started, message: message))
  }

  /// Forgets the probe of that target; its connection ends with the last reference to it.
  private func abandon(_ index: Int) {
    if let registration = slots[index].probe?.registration { reactor.unregister(registration) }
    slots[index].probe = nil
  }

  private func expire(at now: Instant) {
    var next: Instant?
    for index in slots.indices {
      guard let probe = slots[index].probe else { continue }
      guard now >= probe.deadline else {
        next = earlier(next, probe.deadline)
        continue
      }
      // The reactor has read all that had come. Whoever notices a deadline very late was stalled, and cannot blame the backend.
      if now - probe.deadline > probe.plan.target.timeout / 2 {
        finish(probe, .unknown, "this node was stalled while it checked")
      } else {
        finish(probe, .failed, probe.timedOut)
      }
    }
    deadline = next
  }
}
