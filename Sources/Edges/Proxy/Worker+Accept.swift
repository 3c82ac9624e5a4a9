import Balancing
import CLinux

extension Worker {
  /// Takes connections from a listener, a bounded number; the poller tells again while there are more.
  mutating func acceptSome(_ index: Int) {
    for _ in 0..<Self.acceptsPerTurn {
      guard acceptOne(index) else { return }
    }
  }

  /// False when there is none, or none to be had now.
  mutating func acceptOne(_ index: Int) -> Bool {
    let listener = listeners[index]
    // Closed in this turn, with an event of it still to be handled.
    guard listener.descriptor >= 0 else { return false }
    var source: UInt64 = 0
    let descriptor: Int32
    if services[listener.service].needsSource {
      var from = clinux_endpoint()
      descriptor = io.accept(listener.descriptor, from: &from)
      if descriptor >= 0 { source = stableDigest(of: from.address) }
    } else {
      descriptor = io.accept(listener.descriptor)
    }
    guard descriptor >= 0 else { return acceptFailed(index, code: -descriptor) }
    services[listener.service].counters.pointee.accepted.bump()
    admit(descriptor, service: listener.service, source: source)
    return true
  }

  /// Whether to accept on.
  private mutating func acceptFailed(_ index: Int, code: Int32) -> Bool {
    switch code {
    case EAGAIN: return false
    case EMFILE, ENFILE: return shed(index)
    // One connection went away in the queue, a firewall forbade it, or its network failed (accept(2)): on to the next.
    case EINTR, ECONNABORTED, EPROTO, EPERM, ETIMEDOUT, ENETDOWN, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH,
      EOPNOTSUPP,
      ENETUNREACH:
      return true
    // No memory, or something nobody has foreseen.
    default:
      pause(index)
      return false
    }
  }

  /// The table of descriptors is full: gives up the spare one to take a connection and reset it. Left in the queue it would
  /// wake the loop for ever, and its client would wait for an answer that cannot come.
  private mutating func shed(_ index: Int) -> Bool {
    guard spare >= 0 else {
      spare = io.spare()
      if spare < 0 { pause(index) }
      return spare >= 0
    }
    io.close(spare)
    let descriptor = io.accept(listeners[index].descriptor)
    if descriptor >= 0 {
      io.abort(descriptor)
      services[listeners[index].service].counters.pointee.accepted.bump()
      services[listeners[index].service].counters.pointee.refusedAtLimit.bump()
    }
    spare = io.spare()
    if descriptor < 0 && descriptor != -EAGAIN { pause(index) }
    return descriptor >= 0
  }

  /// The kernel is short of memory: looks again in 20 ms instead of at once and for ever.
  mutating func pause(_ index: Int) {
    guard listeners[index].pausedUntil == nil else { return }
    listeners[index].pausedUntil = tick &+ 20
    pausedListeners += 1
    io.setListening(listeners[index].descriptor, token: Token.listener(index), false)
  }

  mutating func resumeListeners() {
    for index in listeners.indices {
      guard let until = listeners[index].pausedUntil, Int32(bitPattern: tick &- until) >= 0 else { continue }
      if !listeners[index].isWatched {
        guard io.watchListener(listeners[index].descriptor, token: Token.listener(index)) >= 0 else {
          listeners[index].pausedUntil = tick &+ 20
          continue
        }
        listeners[index].isWatched = true
      }
      listeners[index].pausedUntil = nil
      pausedListeners -= 1
      io.setListening(listeners[index].descriptor, token: Token.listener(index), true)
    }
  }

  /// Gives a client's connection a place and a backend, or a reset: it must never wait for nothing.
  private mutating func admit(_ descriptor: Int32, service: Int, source: UInt64) {
    guard services[service].intake != .closed else {
      services[service].counters.pointee.cut.bump()
      return io.abort(descriptor)
    }
    guard occupancy.enter(services[service].edition) else {
      services[service].counters.pointee.refusedAtLimit.bump()
      return io.abort(descriptor)
    }
    guard let place = slab.take() else {
      occupancy.leave(services[service].edition)
      services[service].counters.pointee.refusedAtLimit.bump()
      return io.abort(descriptor)
    }
    halves[2 * place].descriptor = descriptor
    // Inherited from the listener.
    halves[2 * place].flags = .noDelay
    connections[place].service = UInt16(service)
    connections[place].source = source
    services[service].open += 1
    services[service].counters.pointee.connections.bump()
    connect(place)
  }
}
