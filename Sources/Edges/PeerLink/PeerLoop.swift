import Basis
import CLinux
import Crypto
import Glibc
import Linux
import Peering
import Synchronization
import Wire

/// The link's thread: who is called and who calls, who is who, and what is to be done when.
final class PeerLoop {
  enum Message: Sendable {
    case send(PeerMessage, peer: Int)
    case replace(PeerLinkSettings)
    case stop
  }

  /// One place in the settings.
  fileprivate struct Peer {
    var name: String
    var addresses: [IPAddress]
    var connection: PeerConnection?
    /// When to call; nil while there is a connection, and where the peer calls.
    var callAt: Instant?
    var pause: Duration
    var status: PeerLinkStatus
    /// It was told that its clock is too far off.
    var isOffTime = false
    /// For the ends of connections that never were good.
    var words = Restraint()
  }

  private var settings: PeerLinkSettings
  private var identity: TLSIdentity
  private var hello: Hello
  private let mailbox: Mailbox<Message>
  private let report: @Sendable (PeerLinkReport) -> Void
  private let statuses: SharedStatuses
  private let reactor: Reactor
  private var random = SplitMix64(seed: UInt64(bitPattern: Clock.wall().nanoseconds) ^ UInt64(getpid()) << 40)
  private var peers: [Peer] = []
  /// Accepted, and not yet known to be a peer.
  private var strangers: [PeerConnection] = []
  private var listener: Listener?
  /// When to try to listen again; nil while it listens.
  private var listenAt: Instant?
  private var lastTrouble = ""
  private var lastRefusal = ""
  /// A stranger can make trouble at any rate; it is not told at any rate.
  private var refusals = Restraint()
  private let life: UInt64
  private var handshakes: TokenAllowance

  private struct Listener: ~Copyable {
    let descriptor: Descriptor
    var registration: Reactor.Registration?
  }

  init(
    _ settings: PeerLinkSettings, _ mailbox: Mailbox<Message>, _ statuses: SharedStatuses,
    _ report: @escaping @Sendable (PeerLinkReport) -> Void
  ) throws(PeerLinkError) {
    self.settings = settings
    self.mailbox = mailbox
    self.statuses = statuses
    self.report = report
    do throws(CryptoError) {
      identity = try TLSIdentity(node: settings.node, secrets: settings.secrets)
      life = try Random.bytes(8).reduce(0) { $0 << 8 | UInt64($1) }
    } catch {
      throw .crypto(error)
    }
    hello = Hello(settings, life: life)
    handshakes = TokenAllowance(
      perSecond: settings.limits.handshakesPerSecond, burst: settings.limits.handshakeBurst, at: Clock.now())
    do throws(SystemError) {
      reactor = try Reactor(batch: 64)
      try mailbox.attach(to: reactor) { [unowned self] in receive($0) }
    } catch {
      throw .system(error)
    }
    peers = settings.peers.map { Peer($0, calledBy: settings, at: Clock.now()) }
    listenAt = Clock.now()
    publish()
  }

  func run() {
    while true {
      do throws(SystemError) {
        try reactor.run(
          onTurn: { [unowned self] _ in publish() }, deadline: { [unowned self] in deadline },
          onDeadline: { [unowned self] in expire(at: $0) })
        break
      } catch {
        // The kernel is short of something. The link must not end for that.
        usleep(100_000)
      }
    }
    for connection in strangers + peers.compactMap(\.connection) {
      connection.finish()
      drop(connection)
    }
    stopListening()
  }

  private func receive(_ message: Message) {
    switch message {
    case .send(let message, let index):
      guard peers.indices.contains(index), let connection = peers[index].connection else { return }
      connection.send(message)
      settle(connection)
    case .replace(let settings): replace(settings)
    case .stop: reactor.stop()
    }
  }

  // MARK: Time

  private var deadline: Instant? {
    var next = listenAt
    for peer in peers {
      next = earlier(next, peer.callAt)
      next = earlier(next, peer.connection?.deadline)
    }
    for stranger in strangers { next = earlier(next, stranger.deadline) }
    return next
  }

  private func expire(at now: Instant) {
    if let due = listenAt, now >= due { listen(at: now) }
    for connection in strangers + peers.compactMap(\.connection) where now >= connection.deadline {
      connection.expire(at: now)
      settle(connection)
    }
    for index in peers.indices {
      if let due = peers[index].callAt, now >= due { call(index, at: now) }
    }
  }

  // MARK: Calling

  private func call(_ index: Int, at now: Instant) {
    peers[index].callAt = nil
    guard let address = peers[index].addresses.first else { return }
    let own = settings.addresses.first { $0.family == address.family }
    do {
      let session = try TLSSession(identity, isServer: false)
      let descriptor = try PeerSocket.call(address, port: settings.port, from: own)
      let connection = make(descriptor, address, isServer: false, peer: index, session, at: now)
      peers[index].connection = connection
      peers[index].status.state = .connecting
      try watch(connection)
    } catch {
      if let connection = peers[index].connection { drop(connection) }
      peers[index].connection = nil
      failed(index, "can't be reached: \(error)", at: now)
    }
  }

  private func failed(_ index: Int, _ reason: String, at now: Instant) {
    peers[index].status.state = .down
    peers[index].status.reason = reason
    guard settings.calls(peers[index].name) else { return }
    // Up to half of it more, so that nodes that lost each other together don't try in step.
    let pause = peers[index].pause
    peers[index].callAt = now + pause + pause / 2 * Int(random.next(below: 1001)) / 1000
    peers[index].pause = min(pause * 2, settings.limits.longestPause)
  }

  // MARK: Listening

  private func listen(at now: Instant) {
    listenAt = nil
    guard settings.isCalled, let address = settings.addresses.first else { return }
    do throws(SystemError) {
      if listener == nil {
        listener = Listener(
          descriptor: try PeerSocket.listen(at: address, port: settings.port), registration: nil)
      }
      if let number = listener?.descriptor.rawValue, listener?.registration == nil {
        let registration = try reactor.register(number, .readable) { [unowned self] _ in accept() }
        listener?.registration = registration
      }
      trouble("")
    } catch {
      trouble("the peer link can't listen: \(error)")
      listenAt = now + .seconds(1)
    }
  }

  /// Who calls meanwhile waits in the kernel's queue.
  private func pauseListening(until instant: Instant) {
    if let registration = listener?.registration { reactor.unregister(registration) }
    listener?.registration = nil
    listenAt = instant
  }

  private func stopListening() {
    if let registration = listener?.registration { reactor.unregister(registration) }
    listener = nil
  }

  /// No connection that is younger makes room for another: a true peer needs a few milliseconds.
  private static let youth = Duration.seconds(1)

  private func accept() {
    let now = Clock.now()
    guard let number = listener?.descriptor.rawValue else { return }
    for _ in 0..<32 {
      if strangers.count >= settings.limits.unauthenticated, !makeRoom(at: now) {
        return pauseListening(until: now + .milliseconds(100))
      }
      do throws(SystemError) {
        guard let (descriptor, source) = try PeerSocket.accept(number) else { return }
        admit(Descriptor(owning: descriptor), from: source, at: now)
        if let until = handshakes.take(1, at: now) { return pauseListening(until: until) }
      } catch {
        if error.code == EINTR || error.code == ECONNABORTED { continue }
        // No descriptor left, most likely.
        return pauseListening(until: now + .milliseconds(100))
      }
    }
  }

  private func makeRoom(at now: Instant) -> Bool {
    guard let oldest = strangers.min(by: { $0.started < $1.started }), now - oldest.started >= Self.youth else {
      return false
    }
    oldest.end("others want in, and it hasn't proved who it is")
    settle(oldest)
    return true
  }

  private func admit(_ descriptor: consuming Descriptor, from source: IPAddress, at now: Instant) {
    // Not one byte is read of who is no node by its address.
    guard peers.contains(where: { settings.isCalled(by: $0.name) && $0.addresses.contains(source) }) else {
      return refused(source, "no node that calls this one has that address")
    }
    guard let session = try? TLSSession(identity, isServer: true) else { return }
    let connection = make(descriptor, source, isServer: true, peer: nil, session, at: now)
    strangers.append(connection)
    do throws(SystemError) {
      try watch(connection)
    } catch {
      connection.abandon()
      strangers.removeAll { $0 === connection }
    }
  }

  // MARK: Connections

  private func make(
    _ descriptor: consuming Descriptor, _ address: IPAddress, isServer: Bool, peer: Int?, _ session: TLSSession,
    at now: Instant
  ) -> PeerConnection {
    PeerConnection(
      descriptor, to: address, isServer: isServer, peer: peer, session: session, hello: hello, limits: settings.limits,
      at: now
    ) { [unowned self] in take($1, of: $0) }
  }

  private func watch(_ connection: PeerConnection) throws(SystemError) {
    let wanted = connection.interest
    connection.registration = try reactor.register(connection.descriptor.rawValue, wanted) {
      [unowned self, weak connection] readiness in
      // Held until the end: what happens to it may drop it.
      guard let connection else { return }
      connection.handle(readiness, at: Clock.now())
      settle(connection)
    }
    connection.registered = wanted
  }

  /// Does for a connection what its new state asks of the reactor.
  private func settle(_ connection: PeerConnection) {
    guard !connection.isOver, let registration = connection.registration else { return drop(connection) }
    let wanted = connection.interest
    guard wanted != connection.registered else { return }
    connection.registered = wanted
    do throws(SystemError) {
      try reactor.modify(registration, wanted)
    } catch {
      connection.end("the kernel refuses to watch it: \(error)")
      drop(connection)
    }
  }

  private func drop(_ connection: PeerConnection) {
    if let registration = connection.registration { reactor.unregister(registration) }
    connection.registration = nil
    connection.abandon()
    strangers.removeAll { $0 === connection }
    for index in peers.indices where peers[index].connection === connection { peers[index].connection = nil }
  }

  private func take(_ output: PeerConnection.Output, of connection: PeerConnection) {
    switch output {
    case .named(let name): identify(connection, name)
    case .greeted(let hello): greeted(connection, hello)
    case .said(let message):
      if let peer = connection.peer { report(.said(peer: peer, message)) }
    case .timed(let estimate): timed(connection, estimate)
    case .over(let reason): over(connection, reason)
    }
  }

  /// Only what is certain counts, and to be right again takes a little less than to be off: a clock at the limit is not told of each second.
  private func timed(_ connection: PeerConnection, _ estimate: ClockSkew.Estimate) {
    guard let index = connection.peer, peers[index].connection === connection else { return }
    let offset = estimate.offset < .zero ? .zero - estimate.offset : estimate.offset
    let isOff =
      settings.clockLimit.map { limit in
        peers[index].isOffTime ? offset > limit - limit / 10 : offset - estimate.error > limit
      } ?? false
    guard isOff != peers[index].isOffTime else { return }
    peers[index].isOffTime = isOff
    report(.clock(peer: index, estimate, isTooFar: isOff))
  }

  /// The certificate is of this cluster. It must also be of the node that has that address, and that node must be the one that calls.
  private func identify(_ connection: PeerConnection, _ name: String?) {
    guard let name else { return connection.end("its certificate names nobody") }
    if let index = connection.peer {
      guard peers[index].name == name else {
        connection.end("the node at \(connection.address) is \"\(name)\""); return
      }
      return
    }
    guard let index = peers.firstIndex(where: { $0.name == name && !name.isEmpty }),
      peers[index].addresses.contains(connection.address)
    else { return connection.end("\"\(name)\" is no node with the address \(connection.address)") }
    guard settings.isCalled(by: name) else { return connection.end("\"\(name)\" has to be called, not to call") }
    connection.peer = index
  }

  private func greeted(_ connection: PeerConnection, _ hello: Hello) {
    guard let index = connection.peer, peers[index].name == hello.node else {
      return connection.end("it calls itself \"\(hello.node)\"")
    }
    if peers[index].connection === connection, peers[index].status.state == .up {
      peers[index].status.hello = hello
      return report(.changed(peer: index, hello))
    }
    strangers.removeAll { $0 === connection }
    if let old = peers[index].connection, old !== connection {
      // The peer knows better than we do that the old one is dead.
      old.end("the peer has connected anew")
      drop(old)
    }
    peers[index].connection = connection
    peers[index].callAt = nil
    peers[index].pause = settings.limits.pause
    peers[index].status.state = .up
    peers[index].status.reason = ""
    peers[index].status.hello = hello
    peers[index].status.connections &+= 1
    report(.up(peer: index, hello))
  }

  private func over(_ connection: PeerConnection, _ reason: String) {
    guard let index = connection.peer, peers[index].connection === connection else {
      return refused(connection.address, reason)
    }
    peers[index].status.add(connection)
    let wasUp = peers[index].status.state == .up
    let now = Clock.now()
    let isOther = peers[index].status.reason != reason
    peers[index].connection = nil
    failed(index, reason, at: now)
    if wasUp {
      report(.down(peer: index, reason: reason))
    } else if isOther, let left = peers[index].words.take(at: now) {
      report(.down(peer: index, reason: reason + left))
    }
  }

  /// Of this node's own.
  private func trouble(_ text: String) {
    guard text != lastTrouble else { return }
    lastTrouble = text
    if !text.isEmpty { report(.trouble(text)) }
  }

  private func refused(_ source: IPAddress, _ reason: String) {
    let text = "a connection from \(source) was refused: \(reason)"
    guard text != lastRefusal, let left = refusals.take(at: Clock.now()) else { return }
    lastRefusal = text
    report(.trouble(text + left))
  }

  // MARK: Settings

  private func replace(_ new: PeerLinkSettings) {
    let now = Clock.now()
    var secretsDiffer = new.node != settings.node || new.secrets.count != settings.secrets.count
    for (one, other) in zip(new.secrets, settings.secrets) where one != other { secretsDiffer = true }
    if secretsDiffer {
      do throws(CryptoError) {
        identity = try TLSIdentity(node: new.node, secrets: new.secrets)
      } catch {
        return trouble("the peer link goes on with the secrets it had: \(error)")
      }
    }
    let mustListenAnew =
      new.addresses.first != settings.addresses.first || new.port != settings.port
      || new.isCalled != settings.isCalled
    let mustConnectAnew =
      new.node != settings.node || new.port != settings.port || new.addresses != settings.addresses
    if secretsDiffer || mustConnectAnew || new.peers != settings.peers {
      for stranger in strangers { drop(stranger) }
    }
    settings = new
    hello = Hello(new, life: life)
    var next: [Peer] = []
    for (index, peer) in new.peers.enumerated() {
      let old = peers.indices.contains(index) ? peers[index] : nil
      // A connection that secrets vouch for which both sides still have stays. Where there is none, other secrets may be the ones.
      let isTrusted = !secretsDiffer || old?.connection?.isVouchedFor(by: identity.fingerprints) == true
      if let old, old.name == peer.name, old.addresses == peer.addresses, !mustConnectAnew, isTrusted {
        next.append(old)
      } else {
        next.append(Peer(peer, calledBy: new, at: now))
        if let old, old.name == peer.name { next[index].status = old.status }
      }
    }
    let gone = peers.enumerated().filter { index, old in
      old.connection != nil && !(next.indices.contains(index) && next[index].connection === old.connection)
    }
    for (index, old) in gone {
      guard let connection = old.connection else { continue }
      let wasUp = old.status.state == .up
      connection.finish()
      drop(connection)
      if next.indices.contains(index), next[index].name == old.name {
        next[index].status.add(connection)
        next[index].status.state = .down
        next[index].status.reason = "the configuration has changed"
      }
      if wasUp { report(.down(peer: index, reason: "the configuration has changed")) }
    }
    peers = next
    for connection in strangers + peers.compactMap(\.connection) { connection.introduce(hello) }
    if mustListenAnew {
      stopListening()
      listenAt = now
    }
  }

  // MARK: Status

  private func publish() {
    statuses.set(
      peers.map { peer in
        var status = peer.status
        if let connection = peer.connection { status.add(connection) }
        return status
      })
  }
}

/// How often something that others can cause at will is told: a few times at once, then once a minute.
struct Restraint {
  private static let burst = 6
  private static let pause = Duration.seconds(60)
  private var rest = Restraint.burst
  private var refillAt = Instant(nanoseconds: .min)
  private var untold = 0

  /// Nil: not now. Else what to add: how much was not told before.
  mutating func take(at now: Instant) -> String? {
    if rest < Self.burst, now >= refillAt {
      rest += 1
      refillAt = now + Self.pause
    }
    guard rest > 0 else {
      untold = min(untold, .max - 1) + 1
      return nil
    }
    if rest == Self.burst { refillAt = now + Self.pause }
    rest -= 1
    defer { untold = 0 }
    return untold == 0 ? "" : " (\(untold) more of such were not told)"
  }
}

/// What other threads may read of the peers.
final class SharedStatuses: Sendable {
  private let statuses = Mutex<[PeerLinkStatus]>([])
  func set(_ new: [PeerLinkStatus]) { statuses.withLock { $0 = new } }
  var current: [PeerLinkStatus] { statuses.withLock { $0 } }
}

extension PeerLoop.Peer {
  fileprivate init(_ peer: PeerLinkSettings.Peer, calledBy settings: PeerLinkSettings, at now: Instant) {
    self.init(
      name: peer.name, addresses: peer.addresses, connection: nil, callAt: settings.calls(peer.name) ? now : nil,
      pause: settings.limits.pause, status: PeerLinkStatus(name: peer.name))
  }
}

extension PeerLinkStatus {
  /// What a connection has done, beside what those before it did.
  mutating func add(_ connection: PeerConnection) {
    if connection.phase == .up || state == .up { lastSeen = connection.lastHeard }
    roundTrip = connection.roundTrip ?? roundTrip
    clock = connection.phase == .up ? connection.clock.estimate : nil
    bytesIn &+= connection.bytesIn
    bytesOut &+= connection.bytesOut
    messagesIn &+= connection.messagesIn
    messagesOut &+= connection.messagesOut
    dropped &+= connection.dropped
    skipped &+= connection.skipped
  }
}

extension PeerLinkSettings {
  /// The node with the smaller name calls.
  func calls(_ peer: String) -> Bool { !peer.isEmpty && node.utf8.lexicographicallyPrecedes(peer.utf8) }
  func isCalled(by peer: String) -> Bool { !peer.isEmpty && peer.utf8.lexicographicallyPrecedes(node.utf8) }
  var isCalled: Bool { peers.contains { isCalled(by: $0.name) } }
}

extension Hello {
  init(_ settings: PeerLinkSettings, life: UInt64) {
    self.init(
      node: settings.node, software: settings.software, configuration: settings.configuration, life: life,
      advertKeys: settings.advertKeys)
  }
}
