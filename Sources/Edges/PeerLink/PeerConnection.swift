import Basis
import CLinux
import Crypto
import Glibc
import Linux
import Peering
import Wire

/// One connection of the link: TCP, TLS in it, frames in that. It knows no other connection; what happens comes out as `Output`.
///
/// Belongs to the link's thread.
final class PeerConnection {
  enum Phase { case connecting, handshaking, greeting, up, closed }

  enum Output {
    /// The TLS handshake is done, with that name in the certificate. The answer says who it is, or why it is nobody.
    case named(String?)
    /// Also when it says later that something in it has changed.
    case greeted(Hello)
    case said(PeerMessage)
    /// There is something new of its clock.
    case timed(ClockSkew.Estimate)
    /// Over, and why. Nothing follows.
    case over(String)
  }

  /// Whom it belongs to, once that is known.
  var peer: Int?
  let isServer: Bool
  /// The other end.
  let address: IPAddress
  let started: Instant
  private(set) var phase: Phase
  private(set) var lastHeard: Instant
  private(set) var roundTrip: Duration?
  private(set) var clock = ClockSkew()
  private(set) var bytesIn: UInt64 = 0
  private(set) var bytesOut: UInt64 = 0
  private(set) var messagesIn: UInt64 = 0
  private(set) var messagesOut: UInt64 = 0
  private(set) var dropped: UInt64 = 0
  private(set) var skipped: UInt64 = 0

  let descriptor: Descriptor
  var registration: Reactor.Registration?
  /// What the reactor was told last.
  var registered: Reactor.Interest = []
  private let session: TLSSession
  private let limits: PeerLinkLimits
  private var hello: Hello
  private let output: (PeerConnection, Output) -> Void

  private var frames = PeerFrameReader()
  private var cipher: [UInt8] = []
  private var cipherSent = 0
  private var queue: [PeerMessage] = []
  /// Snapshots replace each other, so at most one waits.
  private var waitingVIPs: PeerMessage?
  private var allowance: TokenAllowance
  private var messageAllowance: TokenAllowance
  /// While it has sent more than it may, nothing is read before this.
  private var pausedUntil: Instant?
  private var nextPing: Instant
  private var ping: (number: UInt64, at: Instant)?
  private var pings: UInt64 = 0

  init(
    _ descriptor: consuming Descriptor, to address: IPAddress, isServer: Bool, peer: Int?, session: TLSSession,
    hello: Hello, limits: PeerLinkLimits, at now: Instant, output: @escaping (PeerConnection, Output) -> Void
  ) {
    self.descriptor = descriptor
    self.address = address
    self.isServer = isServer
    self.peer = peer
    self.session = session
    self.hello = hello
    self.limits = limits
    self.output = output
    started = now
    lastHeard = now
    nextPing = now
    phase = isServer ? .handshaking : .connecting
    allowance = TokenAllowance(perSecond: limits.bytesPerSecond, burst: limits.burst, at: now)
    messageAllowance = TokenAllowance(perSecond: limits.messagesPerSecond, burst: limits.messageBurst, at: now)
  }

  var isOver: Bool { phase == .closed }

  /// What the reactor has to watch for.
  var interest: Reactor.Interest {
    var interest: Reactor.Interest = pausedUntil == nil && phase != .connecting ? .readable : []
    if phase == .connecting || cipherSent < cipher.count { interest.insert(.writable) }
    return interest
  }

  /// When `expire` is wanted.
  var deadline: Instant {
    if phase != .up { return started + limits.handshake }
    let heard = pausedUntil ?? lastHeard + limits.silence
    return min(heard, nextPing)
  }

  /// Whether it was made by authorities that are all among these.
  func isVouchedFor(by fingerprints: [String]) -> Bool {
    guard phase == .up, let authorities = session.authorities else { return false }
    return fingerprints.contains(authorities.own) && fingerprints.contains(authorities.theirs)
  }

  // MARK: Events

  func handle(_ readiness: Reactor.Readiness, at now: Instant) {
    if phase == .connecting {
      let code = PeerSocket.failure(of: descriptor.rawValue)
      guard code == 0 else { return end("can't be reached: \(SystemError.message(code))") }
      phase = .handshaking
      lastHeard = now
      return progress(at: now)
    }
    if pausedUntil != nil, !readiness.isDisjoint(with: [.hangup, .error]) { return end("the peer is gone") }
    if readiness.contains(.writable) { flush() }
    if !readiness.isDisjoint(with: [.readable, .hangup, .error, .peerClosed]), pausedUntil == nil { receive(at: now) }
  }

  func expire(at now: Instant) {
    if phase != .up {
      guard now >= started + limits.handshake else { return }
      return end(
        phase == .connecting
          ? "can't be reached: no answer" : "the handshake took longer than \(limits.handshake.words)")
    }
    if let until = pausedUntil {
      guard now >= until else { return }
      pausedUntil = nil
      lastHeard = now
    } else if now >= lastHeard + limits.silence {
      return end("silent for \(limits.silence.words)")
    }
    if now >= nextPing {
      nextPing = now + limits.heartbeat
      // A peer that reads nothing is not asked more and more.
      if hasRoom {
        pings &+= 1
        ping = (pings, Clock.now())
        write(.ping(pings))
        flush()
      }
    }
  }

  // MARK: Receiving

  /// What is read in one turn, so that one peer doesn't keep others waiting.
  private static let piecesATurn = 4

  private func receive(at now: Instant) {
    withUnsafeTemporaryAllocation(byteCount: 16 * 1024, alignment: 16) { buffer in
      for _ in 0..<Self.piecesATurn where !isOver {
        let count = clinux_proxy_receive(descriptor.rawValue, buffer.baseAddress, buffer.count)
        switch count {
        case 0: return end(phase == .up ? "the peer is gone" : refusal)
        case Int64(-EAGAIN), Int64(-EINTR): return
        case ..<0: return end("the connection broke: \(SystemError.message(Int32(-count)))")
        default: break
        }
        lastHeard = now
        do throws(CryptoError) {
          try session.feed(UnsafeRawBufferPointer(rebasing: buffer[..<Int(count)]))
        } catch {
          return end(error.description)
        }
        progress(at: now)
        if let until = allowance.take(Int(count), at: now) { pause(until: until) }
        if pausedUntil != nil { return }
        if count < buffer.count { return }
      }
    }
  }

  private func pause(until instant: Instant) { pausedUntil = max(pausedUntil ?? instant, instant) }

  private var refusal: String {
    "the peer ended the handshake (has it the same cluster.secret, and this node as a member?)"
  }

  private func progress(at now: Instant) {
    if phase == .handshaking {
      switch session.handshake() {
      case .waiting: return flush()
      case .failed(let why):
        flush()  // the alert
        return end("the handshake failed: \(why)")
      case .finished:
        phase = .greeting
        output(self, .named(session.peerName))
        guard !isOver else { return }
        write(.hello(hello))
      }
    }
    readFrames(at: now)
    if !isOver { flush() }
  }

  private func readFrames(at now: Instant) {
    withUnsafeTemporaryAllocation(byteCount: 16 * 1024, alignment: 16) { buffer in
      while !isOver {
        switch session.read(into: buffer) {
        case .waiting: return
        case .ended: return end("the peer has ended the connection")
        case .failed(let why):
          return end(phase == .greeting ? "the handshake failed: \(why)" : "the connection broke: \(why)")
        case .bytes(let count):
          bytesIn &+= UInt64(count)
          frames.append(buffer[..<count])
          do throws(PeeringError) {
            while !isOver, let frame = try frames.next() { take(frame, at: now) }
          } catch {
            return end("what it says makes no sense: \(error)")
          }
        }
      }
    }
  }

  private func take(_ frame: PeerFrame, at now: Instant) {
    switch frame {
    case .hello(let theirs):
      guard hello.common(with: theirs.protocols) != nil else {
        return end(
          "it speaks the protocols \(theirs.protocols.lowerBound) to \(theirs.protocols.upperBound), this node "
            + "\(hello.protocols.lowerBound) to \(hello.protocols.upperBound)")
      }
      if phase == .greeting { nextPing = now }
      phase = .up
      output(self, .greeted(theirs))
    case _ where phase != .up: end("it spoke before its hello")
    case .ping(let number): if hasRoom { write(.pong(number, wall: Clock.wall().nanoseconds)) }
    case .pong(let number, let wall):
      guard let asked = ping, asked.number == number else { return }
      ping = nil
      // Not by the turn's time: what lies between the two readings would be taken for skew.
      let passed = Clock.now() - asked.at
      let ours = Clock.wall().nanoseconds
      roundTrip = passed
      guard let wall else { return }
      clock.answered(theirs: wall, ours: ours, roundTrip: passed)
      if let estimate = clock.estimate { output(self, .timed(estimate)) }
    case .message(let message):
      messagesIn &+= 1
      if let until = messageAllowance.take(1, at: now) { pause(until: until) }
      output(self, .said(message))
    case .unknown: skipped &+= 1
    }
  }

  // MARK: Sending

  private var hasRoom: Bool { cipher.count - cipherSent < limits.outgoing }

  /// Sends when the peer reads; where too much waits already, the oldest is dropped.
  func send(_ message: PeerMessage) {
    guard phase == .up else { return }
    if case .vips = message {
      waitingVIPs = message
    } else {
      if queue.count >= limits.queue {
        queue.removeFirst()
        dropped &+= 1
      }
      queue.append(message)
    }
    flush()
  }

  /// Tells the peer what has changed.
  func introduce(_ hello: Hello) {
    guard hello != self.hello else { return }
    self.hello = hello
    guard phase == .up || phase == .greeting else { return }
    write(.hello(hello))
    flush()
  }

  private func write(_ frame: PeerFrame) {
    let bytes = frame.encoded
    guard session.write(bytes) else { return }
    bytesOut &+= UInt64(bytes.count)
  }

  private func flush() {
    while !isOver {
      // Requests first: a snapshot may be long.
      while hasRoom, !queue.isEmpty {
        write(.message(queue.removeFirst()))
        messagesOut &+= 1
        session.takeOutput(into: &cipher)
      }
      if hasRoom, queue.isEmpty, let message = waitingVIPs {
        waitingVIPs = nil
        write(.message(message))
        messagesOut &+= 1
      }
      session.takeOutput(into: &cipher)
      guard cipherSent < cipher.count else { return }
      let sent = cipher.withUnsafeBytes { bytes in
        clinux_proxy_send(descriptor.rawValue, bytes.baseAddress.map { $0 + cipherSent }, bytes.count - cipherSent, 0)
      }
      if sent < 0 {
        // A connection that breaks is seen when it is read.
        if cipherSent > 0 {
          cipher.removeFirst(cipherSent)
          cipherSent = 0
        }
        return
      }
      cipherSent += Int(sent)
      if cipherSent == cipher.count {
        cipher.removeAll(keepingCapacity: cipher.capacity <= 32 * 1024)
        cipherSent = 0
      }
    }
  }

  // MARK: Ending

  /// Says goodbye, as far as the kernel takes it at once.
  func finish() {
    guard phase == .up || phase == .greeting else { return }
    session.finish()
    flush()
  }

  /// Ends it from outside; no output follows.
  func abandon() { phase = .closed }

  func end(_ reason: String) {
    guard !isOver else { return }
    phase = .closed
    output(self, .over(reason))
  }
}

/// How much of something there may be: so much a second, and so much at once.
struct TokenAllowance {
  private let perSecond: Int64
  private let burst: Int64
  private var tokens: Int64
  private var filled: Instant

  init(perSecond: Int, burst: Int, at now: Instant) {
    self.perSecond = Int64(max(1, perSecond))
    self.burst = Int64(max(1, burst))
    tokens = self.burst
    filled = now
  }

  /// Nil, or until when nothing more may be read.
  mutating func take(_ count: Int, at now: Instant) -> Instant? {
    let passed = min(max(0, (now - filled).nanoseconds), 3600 * 1_000_000_000)
    let earned = passed / 1000 * perSecond / 1_000_000
    if earned > 0 {
      tokens = min(burst, tokens + earned)
      filled = now
    }
    tokens -= Int64(count)
    guard tokens < 0 else { return nil }
    return now + .nanoseconds(-tokens * 1_000_000_000 / perSecond) + .milliseconds(1)
  }
}
