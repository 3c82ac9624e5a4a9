import Balancing
import CLinux

/// From a client without a backend to an established connection, by as many attempts as are allowed.
extension Worker {
  /// How long to wait before the same backend is tried again: it refused a moment ago, and there is no other.
  static var secondChance: UInt32 { 100 }

  /// Begins attempts until one is under way or none is left; then the client is reset.
  mutating func connect(_ place: Int) {
    let service = Int(connections[place].service)
    while true {
      let (source, tried) = (connections[place].source, connections[place].tried)
      if let backend = services[service].balancer.pick(source: source, excluding: tried) {
        switch begin(place, to: backend) {
        case .underWay: return
        case .failed: guard mayRetry(place) else { return }
        case .noDescriptor:
          services[service].counters.pointee.refusedAtLimit.bump()
          return reset(place)
        }
      } else if tried != .none {
        // All that are usable were tried.
        connections[place].tried = .none
        return wheel.arm(place, at: tick &+ Self.secondChance)
      } else {
        services[service].counters.pointee.noBackend.bump()
        return reset(place)
      }
    }
  }

  private enum Attempt { case underWay, failed, noDescriptor }

  private mutating func begin(_ place: Int, to backend: Int) -> Attempt {
    let service = Int(connections[place].service)
    assign(place, to: backend)
    let endpoint = services[service].backends[backend]
    let descriptor = io.stream(family: endpoint.family)
    guard descriptor >= 0 else {
      unassign(place)
      return .noDescriptor
    }
    halves[2 * place + 1] = Half(descriptor: descriptor)
    let result = io.connect(descriptor, to: endpoint)
    guard result >= 0 || result == -EINPROGRESS,
      io.watch(descriptor, token: Token.half(2 * place + 1, generation: connections[place].generation)) >= 0
    else {
      abandonAttempt(place)
      return .failed
    }
    connections[place].lastMoved = tick
    wheel.arm(place, at: tick &+ services[service].connectTimeout)
    return .underWay
  }

  /// The kernel or the clock says that this attempt came to nothing.
  mutating func attemptFailed(_ place: Int) {
    abandonAttempt(place)
    if mayRetry(place) { connect(place) }
  }

  /// Closes the backend's half and remembers the backend as tried.
  private mutating func abandonAttempt(_ place: Int) {
    counters(place).pointee.failedConnects.bump()
    connections[place].tried.insert(Int(connections[place].backend))
    unassign(place)
    io.close(halves[2 * place + 1].descriptor)
    halves[2 * place + 1].descriptor = -1
    // Events of this attempt that are still on their way are not the next one's.
    connections[place].generation &+= 1
  }

  /// Uses up an attempt; resets the client, and says no, when there is none left.
  private mutating func mayRetry(_ place: Int) -> Bool {
    let service = Int(connections[place].service)
    connections[place].attempts += 1
    if connections[place].attempts <= services[service].retries { return true }
    services[service].counters.pointee.unreachable.bump()
    reset(place)
    return false
  }

  /// The backend answered. False when the connection is gone already.
  mutating func established(_ place: Int) -> Bool {
    connections[place].flags.insert(.established)
    connections[place].lastMoved = tick
    counters(place).pointee.total.bump()
    // The timer that watched the attempt fires later than a drain or a short idle time-out wants.
    let service = Int(connections[place].service)
    if isClosing(place) {
      wheel.arm(place, at: tick &+ Self.quiet)
    } else if services[service].idleTimeout < services[service].connectTimeout {
      wheel.arm(place, at: tick &+ services[service].idleTimeout)
    }
    // The request is normally here by now: read first, and watch afterwards, which reports the rest.
    guard pump(2 * place) else { return false }
    let watched = io.watch(
      halves[2 * place].descriptor, token: Token.half(2 * place, generation: connections[place].generation))
    if watched < 0 { reset(place) }
    return watched >= 0
  }

  // MARK: who carries what

  @inline(__always)
  func counters(_ place: Int) -> UnsafeMutablePointer<BackendCounters> {
    services[Int(connections[place].service)].backendCounters + Int(connections[place].backend)
  }

  private mutating func assign(_ place: Int, to backend: Int) {
    connections[place].backend = UInt16(backend)
    connections[place].flags.insert(.assigned)
    services[Int(connections[place].service)].balancer.began(backend)
    counters(place).pointee.connections.bump()
    if connections[place].attempts > 0 { counters(place).pointee.retries.bump() }
  }

  mutating func unassign(_ place: Int) {
    guard connections[place].flags.contains(.assigned) else { return }
    connections[place].flags.remove(.assigned)
    services[Int(connections[place].service)].balancer.ended(Int(connections[place].backend))
    counters(place).pointee.connections.drop()
  }
}
