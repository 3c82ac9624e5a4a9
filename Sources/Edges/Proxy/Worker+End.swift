import CLinux

/// How connections end: an end (FIN) is passed on as an end, a reset (RST) as a reset, each after the bytes before it.
extension Worker {
  /// The end of `source`'s stream was read. False when that ended the connection.
  mutating func ended(_ source: Int) -> Bool {
    halves[source].flags.insert(.ended)
    if halves[source ^ 1].isBlocked {
      halves[source ^ 1].flags.insert(.endOwed)
      armHalfClosed(source >> 1)
      return true
    }
    return passEnd(to: source ^ 1)
  }

  /// Passes FIN to `target`, for which nothing waits. When the other direction is over too, that is the close.
  mutating func passEnd(to target: Int) -> Bool {
    if halves[target].flags.contains(.ended) && !halves[target ^ 1].isBlocked {
      close(target >> 1)
      return false
    }
    io.end(halves[target].descriptor)
    halves[target].flags.insert(.endPassed)
    armHalfClosed(target >> 1)
    return true
  }

  private mutating func armHalfClosed(_ place: Int) {
    let service = Int(connections[place].service)
    if services[service].halfClosedTimeout < services[service].idleTimeout && !isClosing(place) {
      wheel.arm(place, at: tick &+ services[service].halfClosedTimeout)
    }
  }

  /// The kernel reported an error on `half`: its peer reset it, or went silent for too long.
  mutating func failed(_ half: Int) {
    // What came before the reset is still there to be read and passed on; behind it the read gives the error.
    guard pump(half) else { return }
    resetBy(half)
  }

  /// `half`'s peer reset the connection; the other one is told the same.
  mutating func resetBy(_ half: Int) {
    if half & 1 == 0 {
      services[Int(connections[half >> 1].service)].counters.pointee.clientResets.bump()
    } else {
      counters(half >> 1).pointee.resets.bump()
    }
    reset(half >> 1)
  }

  /// Ends both halves with RST.
  mutating func reset(_ place: Int) {
    io.abort(halves[2 * place].descriptor)
    if halves[2 * place + 1].descriptor >= 0 { io.abort(halves[2 * place + 1].descriptor) }
    forget(place)
  }

  /// Ends both halves with FIN.
  mutating func close(_ place: Int) {
    io.close(halves[2 * place].descriptor)
    if halves[2 * place + 1].descriptor >= 0 { io.close(halves[2 * place + 1].descriptor) }
    forget(place)
  }

  private mutating func forget(_ place: Int) {
    for half in 2 * place...2 * place + 1 {
      if halves[half].waiting != nil { dropWaiting(half) }
      if halves[half].pipe >= 0 {
        pipes.give(halves[half].pipe, isEmpty: halves[half].pipeCount == 0, io)
        halves[half].pipe = -1
      }
    }
    unassign(place)
    let service = Int(connections[place].service)
    if !drains.isEmpty, connections[place].flags.contains(.isAwaited) { awaitedEnded(service) }
    services[service].open -= 1
    services[service].counters.pointee.connections.drop()
    occupancy.leave(services[service].edition)
    wheel.disarm(place)
    slab.give(place)
  }

  // MARK: timers

  /// The connection asked to be looked at. Bytes don't move timers, so it may be early.
  mutating func timerFired(_ place: Int) {
    let service = Int(connections[place].service)
    guard connections[place].flags.contains(.established) else { return attemptTimer(place, service) }
    if connections[place].flags.contains(.starved) {
      connections[place].flags.remove(.starved)
      guard tryAgain(place), !connections[place].flags.contains(.starved) else { return }
    }
    if isClosing(place) {
      let rest = services[service].intake == .open ? Self.quiet : Self.shortQuiet
      if isQuiet(place, for: rest) {
        services[service].counters.pointee.drained.bump()
        return close(place)
      }
      return wheel.arm(place, at: tick &+ rest)
    }
    let isHalfClosed = halves[2 * place].flags.union(halves[2 * place + 1].flags).contains(.ended)
    let limit =
      isHalfClosed
      ? min(services[service].halfClosedTimeout, services[service].idleTimeout) : services[service].idleTimeout
    guard tick &- connections[place].lastMoved >= limit else {
      return wheel.arm(place, at: connections[place].lastMoved &+ limit)
    }
    services[service].counters.pointee.timedOut.bump()
    // An end in the middle of something would look like success.
    if isHalfClosed || halves[2 * place].isBlocked || halves[2 * place + 1].isBlocked {
      reset(place)
    } else {
      close(place)
    }
  }

  private mutating func attemptTimer(_ place: Int, _ service: Int) {
    // No descriptor: it waited for another chance.
    if halves[2 * place + 1].descriptor < 0 { return connect(place) }
    guard tick &- connections[place].lastMoved >= services[service].connectTimeout else {
      return wheel.arm(place, at: connections[place].lastMoved &+ services[service].connectTimeout)
    }
    attemptFailed(place)
  }

  /// After the kernel was short of memory: both directions, as if the poller had told of them.
  private mutating func tryAgain(_ place: Int) -> Bool {
    for half in 2 * place...2 * place + 1 {
      if halves[half].isBlocked { guard flush(half) else { return false } }
      guard pump(half) else { return false }
    }
    return true
  }

  /// Milliseconds without a byte after a response that make a connection safe to close.
  static var quiet: UInt32 { 10 }
  /// The same behind the seal, where the choice is between that and a reset.
  static var shortQuiet: UInt32 { 2 }

  /// Between a response and the next request, as far as bytes can tell.
  func isQuiet(_ place: Int, for rest: UInt32) -> Bool {
    let flags = halves[2 * place].flags.union(halves[2 * place + 1].flags)
    // One that is half closed is in the middle of its last exchange, and ends by itself.
    return connections[place].flags.contains(.answered) && tick &- connections[place].lastMoved >= rest
      && flags.isDisjoint(with: [.ended, .unread, .queued]) && !halves[2 * place].isBlocked
      && !halves[2 * place + 1].isBlocked
  }
}
