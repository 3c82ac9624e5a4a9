import CLinux

/// Bytes from one half to the other. Functions that return false have ended the connection: its place is not to be touched.
extension Worker {
  enum Round { case more, drained, gone }

  /// Moves what `source` has to its peer, until there is no more, the peer takes no more, or the turn is used up.
  mutating func pump(_ source: Int) -> Bool {
    let target = source ^ 1
    var rounds = Self.roundsPerTurn
    while true {
      if halves[source].flags.contains(.ended) { return true }
      if halves[target].isBlocked {
        halves[source].flags.insert(.unread)
        return true
      }
      guard rounds > 0 else {
        enqueue(source)
        return true
      }
      rounds -= 1
      switch halves[source].fullReads >= 2 ? splice(source, target) : copy(source, target) {
      case .more: continue
      case .drained: return true
      case .gone: return false
      }
    }
  }

  // MARK: through the shared buffer

  private mutating func copy(_ source: Int, _ target: Int) -> Round {
    let wanted = buffers.readable
    let count = io.receive(halves[source].descriptor, into: buffers.shared, count: wanted)
    guard count > 0 else { return nothingRead(source, count) }
    if count >= Self.fullRead {
      if halves[source].fullReads < 2 { halves[source].fullReads += 1 }
    } else {
      halves[source].fullReads = 0
    }
    // A short read emptied the socket. If the FIN is in, it was the last, and the FIN can ride on the data.
    let emptied = count < wanted && !halves[source].flags.contains(.readToEnd)
    let isLast = emptied && halves[source].flags.contains(.lastIsQueued)
    let sent = io.send(halves[target].descriptor, from: buffers.shared, count: count, more: isLast)
    guard sent >= 0 || isTemporary(-sent, target) else {
      resetBy(target)
      return .gone
    }
    moved(source, max(sent, 0))
    if sent < count {
      guard keep(count, after: max(sent, 0), for: target) else { return .gone }
      halves[source].flags.insert(.unread)
    } else {
      hasten(target)
    }
    if isLast { return ended(source) ? .drained : .gone }
    return emptied ? .drained : .more
  }

  private mutating func keep(_ count: Int, after sent: Int, for target: Int) -> Bool {
    guard let kept = buffers.keep(offset: sent, count: count - sent) else {
      reset(target >> 1)
      return false
    }
    halves[target].waiting = kept.buffer
    halves[target].waitingOffset = Int32(kept.offset)
    halves[target].waitingCount = Int32(count - sent)
    halves[target].buffer = kept.size
    return true
  }

  /// The read gave nothing: the end, nothing yet, or an error.
  private mutating func nothingRead(_ source: Int, _ result: Int) -> Round {
    switch Int32(truncatingIfNeeded: -result) {
    case 0: return ended(source) ? .drained : .gone
    case EAGAIN: return .drained
    case EINTR: return .more
    case ENOMEM, ENOBUFS:
      starve(source)
      return .drained
    default:
      resetBy(source)
      return .gone
    }
  }

  // MARK: through a pipe

  private mutating func splice(_ source: Int, _ target: Int) -> Round {
    if halves[target].pipe < 0 {
      let pipe = pipes.take(io)
      guard pipe >= 0 else {
        halves[source].fullReads = 0
        return copy(source, target)
      }
      halves[target].pipe = pipe
    }
    let pipe = pipes[halves[target].pipe]
    var filled = 0
    var count = 0
    // Fill it until the socket is empty or the pipe full, then empty it: fewer and larger moves.
    repeat {
      count = io.splice(from: halves[source].descriptor, to: pipe.write, count: pipe.capacity - filled)
      if count > 0 { filled += count }
    } while count > 0 && filled < pipe.capacity
    guard filled > 0 else {
      pipes.give(halves[target].pipe, isEmpty: true, io)
      halves[target].pipe = -1
      return nothingRead(source, count)
    }
    if filled < Self.fullRead { halves[source].fullReads = 0 }
    halves[target].pipeCount = Int32(filled)
    guard emptyPipe(target) else { return .gone }
    hasten(target)
    if halves[source].fullReads == 0 && halves[target].pipeCount == 0 { returnPipe(target) }
    return .more
  }

  /// Sends what is in the half's pipe.
  private mutating func emptyPipe(_ half: Int) -> Bool {
    let pipe = pipes[halves[half].pipe]
    while halves[half].pipeCount > 0 {
      let sent = io.splice(from: pipe.read, to: halves[half].descriptor, count: Int(halves[half].pipeCount))
      guard sent > 0 else {
        if sent < 0 && isTemporary(-sent, half) { return true }
        resetBy(half)
        return false
      }
      halves[half].pipeCount -= Int32(truncatingIfNeeded: sent)
      moved(half ^ 1, sent)
    }
    return true
  }

  private mutating func returnPipe(_ half: Int) {
    pipes.give(halves[half].pipe, isEmpty: halves[half].pipeCount == 0, io)
    halves[half].pipe = -1
  }

  // MARK: a slow receiver

  /// Sends what waits for `half`; then passes an owed end on, and lets the peer's bytes flow again.
  mutating func flush(_ half: Int) -> Bool {
    while halves[half].waitingCount > 0 {
      guard let waiting = halves[half].waiting else { break }
      let count = Int(halves[half].waitingCount)
      let sent = io.send(
        halves[half].descriptor, from: waiting + Int(halves[half].waitingOffset), count: count, more: false)
      guard sent > 0 else {
        if isTemporary(-sent, half) { return true }
        resetBy(half)
        return false
      }
      halves[half].waitingOffset += Int32(truncatingIfNeeded: sent)
      halves[half].waitingCount -= Int32(truncatingIfNeeded: sent)
      moved(half ^ 1, sent)
      if sent == count { dropWaiting(half) }
    }
    if halves[half].pipeCount > 0 {
      guard emptyPipe(half) else { return false }
      if halves[half].pipeCount > 0 { return true }
    }
    if halves[half].flags.contains(.endOwed) {
      halves[half].flags.remove(.endOwed)
      return passEnd(to: half)
    }
    guard halves[half ^ 1].flags.contains(.unread) else { return true }
    halves[half ^ 1].flags.remove(.unread)
    return pump(half ^ 1)
  }

  mutating func dropWaiting(_ half: Int) {
    if let waiting = halves[half].waiting { buffers.give(waiting, halves[half].buffer) }
    halves[half].waiting = nil
    halves[half].waitingCount = 0
  }

  /// Whether a send failed only for now.
  private mutating func isTemporary(_ code: Int, _ half: Int) -> Bool {
    switch Int32(truncatingIfNeeded: code) {
    case EAGAIN: return true
    case ENOMEM, ENOBUFS, EINTR:
      starve(half)
      return true
    default: return false
    }
  }

  /// No edge will tell when the kernel has memory again: the clock does.
  private mutating func starve(_ half: Int) {
    connections[half >> 1].flags.insert(.starved)
    wheel.arm(half >> 1, at: tick &+ 10)
  }

  // MARK: what every byte does

  @inline(__always)
  private mutating func moved(_ source: Int, _ count: Int) {
    let place = source >> 1
    connections[place].lastMoved = tick
    if source & 1 == 0 {
      connections[place].flags.remove(.answered)
      counters(place).pointee.bytesToBackend.bump(UInt64(count))
    } else {
      connections[place].flags.insert(.answered)
      counters(place).pointee.bytesToClient.bump(UInt64(count))
    }
  }

  /// Nagle's algorithm can hold back only from the second send on: a connection that carries one request is spared the call.
  @inline(__always)
  private mutating func hasten(_ half: Int) {
    guard !halves[half].flags.contains(.noDelay) else { return }
    if halves[half].flags.contains(.sentOnce) {
      io.noDelay(halves[half].descriptor)
      halves[half].flags.insert(.noDelay)
    } else {
      halves[half].flags.insert(.sentOnce)
    }
  }
}
