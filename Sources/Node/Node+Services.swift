import Basis
import Health

/// One service: what its checks say of its backends.
public struct ServiceState: Sendable {
  public internal(set) var settings: ServiceSettings
  /// In the order of the configuration.
  public internal(set) var backends: [BackendStatus]
  /// The part of the node's deadlines that belongs to the first backend.
  var firstPart: Int
  /// Grows when the backends are numbered anew: a probe's number has it in its upper half, so that a late result of an earlier
  /// numbering is known for what it is.
  var numbering: UInt64 = 0

  /// What one backend is known to be.
  public struct BackendStatus: Sendable {
    public internal(set) var state: BackendState
    /// Nil where the service has no check.
    public internal(set) var monitor: Monitor?

    /// A backend takes traffic until something speaks against it: a node that has just started must serve.
    public var takesTraffic: Bool { state == .up || state == .unknown }
  }

  init(_ settings: ServiceSettings, firstPart: Int, random: inout SplitMix64) {
    self.settings = settings
    self.firstPart = firstPart
    backends = []
    for _ in settings.backends {
      let monitor = settings.check.map { Monitor($0, seed: random.next()) }
      backends.append(BackendStatus(state: monitor == nil ? .up : .unknown, monitor: monitor))
    }
  }

  /// Goes on with what was known of backends that have the same names.
  mutating func keep(from old: ServiceState) {
    for index in backends.indices {
      let name = settings.backends[index]
      guard let before = old.settings.backends.firstIndex(of: name), backends[index].monitor != nil,
        old.backends[before].monitor != nil, let check = settings.check
      else { continue }
      backends[index] = old.backends[before]
      backends[index].monitor?.handle(.settings(check), at: Instant(nanoseconds: 0)) { _ in }
    }
  }

  /// Not one backend takes traffic: clients are refused.
  public var isDown: Bool {
    for backend in backends.indices where backends[backend].takesTraffic { return false }
    return true
  }
}

// From results of checks to backends that take traffic.

extension Node {
  mutating func startChecks(service: Int, at now: Instant, _ emit: (Effect) -> Void) {
    for backend in services[service].backends.indices {
      check(service: service, backend: backend, .start, at: now, emit)
    }
  }

  mutating func stopChecks(service: Int, at now: Instant, _ emit: (Effect) -> Void) {
    // Backends keep the state that they had: connections are still being finished.
    for backend in services[service].backends.indices {
      deadlines.set(services[service].firstPart + backend, to: nil)
    }
  }

  mutating func checkTimer(part: Int, at now: Instant, _ emit: (Effect) -> Void) {
    let place = part - (coordinationPart - checkedServices.count)
    guard checkedServices.indices.contains(place) else { return }
    let service = checkedServices[place]
    check(service: service, backend: part - services[service].firstPart, .timer, at: now, emit)
  }

  mutating func checked(
    service: Int, backend: Int, probe: UInt64, _ result: CheckResult, at now: Instant, _ emit: (Effect) -> Void
  ) {
    guard phase == .running, services.indices.contains(service),
      services[service].backends.indices.contains(backend)
    else { return }
    guard probe >> 32 == services[service].numbering & 0xFFFF_FFFF else { return }
    let probe = probe & 0xFFFF_FFFF
    var result = result
    if result.verdict == .failed, vips[services[service].settings.vip].link?.isUp != true {
      // Behind a link that is down every backend fails. Were that believed, a node whose link comes back would take the VIP and
      // refuse its clients until the checks had found the backends again.
      result.verdict = .unknown
    }
    check(service: service, backend: backend, .result(result, probe: probe), at: now, emit)
  }

  mutating func check(
    service: Int, backend: Int, _ input: Monitor.Input, at now: Instant, _ emit: (Effect) -> Void
  ) {
    var change: (state: BackendState, message: String)?
    let numbering = services[service].numbering << 32
    services[service].backends[backend].monitor?.handle(input, at: now) { output in
      switch output {
      case .probe(let number):
        emit(.probe(service: service, backend: backend, probe: numbering | number & 0xFFFF_FFFF))
      case .changed(_, let to, let result): change = (BackendState(to), result.message)
      }
    }
    deadlines.set(
      services[service].firstPart + backend, to: services[service].backends[backend].monitor?.deadline)
    if let change { backendChanged(service: service, backend: backend, to: change.state, change.message, emit) }
  }

  private mutating func backendChanged(
    service: Int, backend: Int, to state: BackendState, _ message: String, _ emit: (Effect) -> Void
  ) {
    let wasDown = services[service].isDown
    services[service].backends[backend].state = state
    changedServices.append(service)
    emit(.backend(service: service, backend: backend, state))
    emit(.report(.backend(state, service: service, backend: backend, message: message)))
    let isDown = services[service].isDown
    if isDown, !wasDown { emit(.report(.allBackendsDown(service: service))) }
    if wasDown, !isDown { emit(.report(.backendsAgain(service: service))) }
  }
}

extension BackendState {
  init(_ state: Monitor.State) {
    switch state {
    case .unknown: self = .unknown
    case .up: self = .up
    case .down: self = .down
    }
  }
}
