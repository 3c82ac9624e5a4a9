import Basis
import CLinux
import Glibc
import Linux
import Synchronization

/// The server's thread: accepts, hands requests to the handler, enforces the limits.
final class ControlLoop {
  enum Message: Sendable {
    case answer(connection: UInt64, request: UInt64, ControlResponse)
    case cede
    case stop
  }

  private let socket: ControlSocket
  private let mailbox: Mailbox<Message>
  private let limits: ControlLimits
  private let handler: ControlServer.Handler
  private let reactor: Reactor
  private var listening: Reactor.Registration?
  /// When to accept again, after the limits or the kernel said no.
  private var pausedUntil: Instant?
  /// In the order in which they were accepted.
  private var connections: [Connection] = []
  /// Another process has the socket.
  private var isCeded = false
  private var nextConnection: UInt64 = 1

  /// A connection as young as this is not made to leave for another: its request may be under way.
  private static let youth: Duration = .milliseconds(250)

  init(
    _ socket: consuming ControlSocket, _ mailbox: Mailbox<Message>, _ limits: ControlLimits,
    _ handler: @escaping ControlServer.Handler
  ) throws(SystemError) {
    self.socket = socket
    self.mailbox = mailbox
    self.limits = limits
    self.handler = handler
    reactor = try Reactor(batch: 64)
    try mailbox.attach(to: reactor) { [unowned self] in receive($0) }
    listening = try listen()
  }

  func run() {
    defer { if !isCeded { socket.remove() } }
    while true {
      do {
        try reactor.run(deadline: { deadline }, onDeadline: { expire(at: $0) })
        break
      } catch {
        // The kernel is short of something. The daemon must not lose its controls for that.
        usleep(100_000)
      }
    }
    for connection in connections { drop(connection) }
    connections.removeAll()
    if let listening { reactor.unregister(listening) }
  }

  private func receive(_ message: Message) {
    switch message {
    case .cede:
      if let listening { reactor.unregister(listening) }
      listening = nil
      pausedUntil = nil
      isCeded = true
      // Else those who connect after that one's death would wait for an answer from here, and its next life would take this one for it.
      socket.descriptor.vacate()
    case .stop: reactor.stop()
    case .answer(let number, let request, let response):
      guard let connection = connections.first(where: { $0.number == number }) else { return }
      connection.answer(response, to: request, at: Clock.now())
      settle(connection)
    }
  }

  // MARK: Accepting

  private func listen() throws(SystemError) -> Reactor.Registration {
    try reactor.register(socket.descriptor.rawValue, .readable) { [unowned self] _ in accept() }
  }

  private func accept() {
    let now = Clock.now()
    // A bounded number a turn: a flood of connections does not keep the others waiting.
    for _ in 0..<32 {
      if connections.count >= limits.clients, !makeRoom(at: now) {
        return pause(until: now + .milliseconds(50))
      }
      let number = clinux_accept(socket.descriptor.rawValue)
      guard number >= 0 else {
        switch errno {
        case EAGAIN: return
        case EINTR, ECONNABORTED: continue
        // No descriptor left, most likely: the connection stays queued.
        default: return pause(until: now + .milliseconds(100))
        }
      }
      admit(Descriptor(owning: number), at: now)
    }
  }

  private func admit(_ descriptor: consuming Descriptor, at now: Instant) {
    guard let peer = UnixSocket.peer(of: descriptor.rawValue) else { return }
    let number = nextConnection
    nextConnection += 1
    let connection = Connection(descriptor, number, peer, limits, at: now) { [handler, mailbox] request, id in
      let reply = Reply(mailbox, connection: number, request: id)
      handler(request) { reply.send($0) }
    }
    do throws(SystemError) {
      connection.registration = try reactor.register(connection.descriptor.rawValue, .readable) {
        [unowned self, unowned connection] readiness in
        connection.handle(readiness, at: Clock.now())
        settle(connection)
      }
    } catch {
      return
    }
    connections.append(connection)
    // A client that knows what it wants has sent it by now.
    connection.handle(.readable, at: now)
    settle(connection)
  }

  /// Ends the connection that has been idle for longest, if one has been for long enough.
  private func makeRoom(at now: Instant) -> Bool {
    let idle = connections.filter { !$0.isHandling && now - $0.activity >= ControlLoop.youth }
    guard let oldest = idle.min(by: { $0.activity < $1.activity }) else { return false }
    remove(oldest)
    return true
  }

  private func pause(until instant: Instant) {
    if let listening { reactor.unregister(listening) }
    listening = nil
    pausedUntil = instant
  }

  // MARK: Limits

  private var deadline: Instant? {
    connections.reduce(pausedUntil) { earlier($0, $1.deadline) }
  }

  private func expire(at now: Instant) {
    if let instant = pausedUntil, now >= instant {
      pausedUntil = nil
      listening = try? listen()
      if listening == nil { pausedUntil = now + .milliseconds(100) }
    }
    for connection in connections where now >= connection.deadline {
      connection.expire(at: now)
      settle(connection)
    }
  }

  /// Does for a connection what its new state asks of the reactor.
  private func settle(_ connection: Connection) {
    guard !connection.isOver, let registration = connection.registration else { return remove(connection) }
    let wanted = connection.interest
    guard wanted != connection.registered else { return }
    do throws(SystemError) {
      try reactor.modify(registration, wanted)
      connection.registered = wanted
    } catch {
      remove(connection)
    }
  }

  private func remove(_ connection: Connection) {
    drop(connection)
    connections.removeAll { $0 === connection }
  }

  private func drop(_ connection: Connection) {
    if let registration = connection.registration { reactor.unregister(registration) }
    connection.registration = nil
  }
}

/// Carries one answer to the server's thread: the first that is given, or that none was given.
private final class Reply: Sendable {
  private let mailbox: Mailbox<ControlLoop.Message>
  private let connection: UInt64
  private let request: UInt64
  private let isSent = Atomic(false)

  init(_ mailbox: Mailbox<ControlLoop.Message>, connection: UInt64, request: UInt64) {
    self.mailbox = mailbox
    self.connection = connection
    self.request = request
  }

  func send(_ response: ControlResponse) {
    guard !isSent.exchange(true, ordering: .relaxed) else { return }
    mailbox.send(.answer(connection: connection, request: request, response))
  }

  deinit { send(.error(500, "the daemon dropped the request without an answer")) }
}
