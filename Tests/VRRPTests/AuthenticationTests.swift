import Basis
import Crypto
import Testing
import VRRP
import Wire

/// The wire images of draft-cassen-vrrp-auth-hmac-00's appendix: key 00 01 … 1f with the number 1, VRID 51, priority 200.
private let imageIPv4 = hex(
  """
  31 33 c8 01 00 64 44 02 c0 00 02 64                    ; VIP 192.0.2.100, checksum over the message alone
  01 01 00 00 68 00 00 00 80 00 00 00                    ; type, key, seconds, fraction, counter
  1b 84 bc 4e 8e 43 89 2d c6 d9 84 48 f8 ee 22 65
  """)
private let imageIPv6 = hex(
  """
  31 33 c8 01 00 64 a2 e9                                ; checksum for fe80::20, with the trailer
  fe 80 00 00 00 00 00 00 00 00 00 00 00 00 01 00
  01 01 00 00 68 00 00 00 80 00 00 00
  c8 c5 61 46 eb fd 66 ee 10 ec 4d 81 86 46 1b 78
  """)
private let sender4 = IPAddress.v4(IPv4Address(198, 51, 100, 10))
private let sender6 = IPAddress.v6(IPv6Address(rawValue: 0xFE80 << 112 | 0x10))
private let receiver6 = IPAddress.v6(IPv6Address(rawValue: 0xFE80 << 112 | 0x20))
/// The images' time: seconds 0x68000000 and a half, in nanoseconds.
private let imageTime: Int64 = 0x6800_0000 * 1_000_000_000 + 500_000_000
private let second: Int64 = 1_000_000_000

private func key(_ id: UInt8 = 1, _ first: UInt8 = 0) throws -> AuthenticationKey {
  try AdvertKey(id: id, bytes: SecretBytes((0..<32).map { first + $0 })).prepared()
}

private func router(_ family: AddressFamily = .ipv4, version: Version = .v3) -> Settings {
  Settings(
    id: 51, version: version, family: family, priority: 200,
    addresses: [family == .ipv4 ? .v4(IPv4Address(192, 0, 2, 100)) : .v6(IPv6Address(rawValue: 0xFE80 << 112 | 0x100))])
}

private func settings(
  _ mode: AuthenticationMode = .enforce, keys: [AuthenticationKey]? = nil,
  freshness: AuthenticationSettings.Freshness = .window(.seconds(5))
) throws -> AuthenticationSettings {
  AuthenticationSettings(mode: mode, keys: try keys ?? [key()], freshness: freshness)
}

private func envelope(_ source: IPAddress, _ destination: IPAddress? = nil) -> Envelope {
  Envelope(interface: "eth0", source: source, destination: destination ?? source.family.vrrpGroup, hopLimit: 255)
}

private func unsigned(_ family: AddressFamily = .ipv4, version: Version = .v3) -> [UInt8] {
  let source = family == .ipv4 ? sender4 : sender6
  return Advert(
    version: version, id: 51, priority: 200, interval: .seconds(1), addresses: router(family).addresses
  ).encoded(from: source, to: family.vrrpGroup, coverage: .message)
}

extension AdvertGate {
  /// Why it was dropped; nil where it was not.
  fileprivate mutating func verdict(
    _ message: [UInt8], from source: IPAddress = sender4, to destination: IPAddress? = nil, at time: Int64 = imageTime
  ) -> AuthenticationDiscard? {
    do throws(AuthenticationDiscard) {
      _ = try admit(message.span.bytes, in: envelope(source, destination), wallNanoseconds: time)
      return nil
    } catch {
      return error
    }
  }
}

extension AdvertSigner {
  fileprivate mutating func signed(
    _ message: [UInt8], from source: IPAddress = sender4, to destination: IPAddress? = nil, at time: Int64 = imageTime
  ) -> [UInt8] {
    var buffer: [UInt8] = []
    sign(
      message.span.bytes, from: source, to: destination ?? source.family.vrrpGroup, wallNanoseconds: time, into: &buffer
    )
    return buffer
  }
}

@Suite struct `Adverts with a signature` {
  @Test func `The draft's images are authentic`() throws {
    var four = AdvertGate(try settings(), for: router())
    let admitted = try four.admit(imageIPv4.span.bytes, in: envelope(sender4), wallNanoseconds: imageTime)
    #expect(admitted.isAuthentic && admitted.length == 12 && admitted.checksum == nil)
    var six = AdvertGate(try settings(), for: router(.ipv6))
    #expect(six.verdict(imageIPv6, from: sender6, to: receiver6) == nil)
    #expect(six.counters.verified == 1 && six.counters.discarded == 0)
  }

  @Test func `What is signed at the draft's time is the draft's image`() throws {
    var four = try #require(AdvertSigner(settings(), for: router()))
    #expect(four.signed(Array(imageIPv4.prefix(12))) == imageIPv4)
    var six = try #require(AdvertSigner(settings(), for: router(.ipv6)))
    #expect(six.signed(Array(imageIPv6.prefix(24)), from: sender6, to: receiver6) == imageIPv6)
  }

  @Test func `Over IPv6 the router sees a checksum that is right without the trailer`() throws {
    var gate = AdvertGate(try settings(), for: router(.ipv6))
    let admission = try gate.admit(
      imageIPv6.span.bytes, in: envelope(sender6, receiver6), wallNanoseconds: imageTime)
    let message = admission.message(of: imageIPv6)
    let header = try AdvertHeader(
      checking: message.span.bytes, version: .v3, id: 51, from: sender6, to: receiver6)
    #expect(header.priority == 200)
  }

  @Test func `A wrong checksum over IPv6 stays wrong`() throws {
    var gate = AdvertGate(try settings(), for: router(.ipv6))
    var spoilt = imageIPv6
    spoilt[7] ^= 1
    let admission = try gate.admit(spoilt.span.bytes, in: envelope(sender6, receiver6), wallNanoseconds: imageTime)
    let message = admission.message(of: spoilt)
    #expect(throws: Discard.checksum) {
      try AdvertHeader(checking: message.span.bytes, version: .v3, id: 51, from: sender6, to: receiver6)
    }
  }

  struct Change: Sendable {
    let what: String
    let offset: Int
    let verdict: AuthenticationDiscard?
  }

  @Test(arguments: [
    Change(what: "priority", offset: 2, verdict: .badTag),
    Change(what: "interval", offset: 5, verdict: .badTag),
    Change(what: "checksum, which may be computed on the way", offset: 7, verdict: nil),
    Change(what: "address", offset: 23, verdict: .badTag),
    Change(what: "type of the trailer", offset: 24, verdict: .malformed),
    Change(what: "key", offset: 25, verdict: .malformed),  // 1 ^ 1 is no key at all
    Change(what: "reserved", offset: 26, verdict: .malformed),
    Change(what: "seconds", offset: 31, verdict: .badTag),
    Change(what: "counter", offset: 35, verdict: .badTag),
    Change(what: "HMAC", offset: 36, verdict: .badTag),
    Change(what: "the HMAC's end", offset: 51, verdict: .badTag),
  ])
  func `One bit that is changed is noticed`(_ change: Change) throws {
    var gate = AdvertGate(try settings(), for: router(.ipv6))
    var image = imageIPv6
    image[change.offset] ^= 1
    #expect(gate.verdict(image, from: sender6, to: receiver6) == change.verdict, "\(change.what)")
    if let verdict = change.verdict { #expect(gate.counters[verdict] == 1) }
  }

  @Test func `It is bound to its sender and to its virtual router`() throws {
    var gate = AdvertGate(try settings(), for: router(.ipv6))
    #expect(gate.verdict(imageIPv6, from: receiver6) == .badTag)
    var other = router(.ipv6)
    other.id = 52
    var its = AdvertGate(try settings(), for: other)
    #expect(its.verdict(imageIPv6, from: sender6) == .badTag)
  }

  @Test func `A key with another number is unknown, and two with one number are both tried`() throws {
    var stranger = AdvertGate(try settings(keys: [key(2)]), for: router())
    #expect(stranger.verdict(imageIPv4) == .unknownKey)
    var wrong = AdvertGate(try settings(keys: [key(1, 7)]), for: router())
    #expect(wrong.verdict(imageIPv4) == .badTag)
    var both = AdvertGate(try settings(keys: [key(1, 7), key(1)]), for: router())
    #expect(both.verdict(imageIPv4) == nil)
  }

  @Test func `VRRPv2 is signed behind its authentication data`() throws {
    var signer = try #require(AdvertSigner(settings(), for: router(version: .v2)))
    var gate = AdvertGate(try settings(), for: router(version: .v2))
    let message = unsigned(version: .v2)
    let signed = signer.signed(message)
    #expect(signed.count == message.count + 28)
    let admission = try gate.admit(signed.span.bytes, in: envelope(sender4), wallNanoseconds: imageTime)
    #expect(admission.message(of: signed) == message)
  }
}

@Suite struct `Adverts that are old` {
  @Test func `Beyond the window they are stale, before the HMAC is looked at`() throws {
    var gate = AdvertGate(try settings(), for: router())
    #expect(gate.verdict(imageIPv4, at: imageTime + 5 * second) == nil)
    #expect(gate.verdict(imageIPv4, at: imageTime + 6 * second) == .stale)
    #expect(gate.verdict(imageIPv4, at: imageTime - 6 * second) == .stale)
    var spoilt = imageIPv4
    spoilt[2] ^= 1
    #expect(gate.verdict(spoilt, at: imageTime + 6 * second) == .stale)
  }

  @Test func `The same one again is a replay, and an older one too`() throws {
    var gate = AdvertGate(try settings(), for: router())
    var signer = try #require(AdvertSigner(settings(), for: router()))
    let first = signer.signed(unsigned())
    let next = signer.signed(unsigned(), at: imageTime + second)
    #expect(gate.verdict(next, at: imageTime + second) == nil)
    #expect(gate.verdict(next, at: imageTime + second) == .replay)
    #expect(gate.verdict(first, at: imageTime + second) == .replay)
    #expect(gate.counters[.replay] == 2)
  }

  @Test func `What is forged moves no mark`() throws {
    var gate = AdvertGate(try settings(), for: router())
    var forged = imageIPv4
    forged[12 + 7] = 3  // three seconds ahead
    #expect(gate.verdict(forged) == .badTag)
    #expect(gate.verdict(imageIPv4) == nil)
  }

  @Test func `Each sender has its own mark, and so many that none has to be kept for ever`() throws {
    var gate = AdvertGate(try settings(), for: router())
    for sender in 1...40 {
      var signer = try #require(AdvertSigner(settings(), for: router()))
      let source = IPAddress.v4(IPv4Address(10, 0, 0, UInt8(sender)))
      let message = signer.signed(unsigned(), from: source)
      #expect(gate.verdict(message, from: source) == nil)
      #expect(gate.verdict(message, from: source) == .replay)
    }
    #expect(gate.counters.verified == 40)
  }

  @Test func `A mark from a time that was wrong is let go`() throws {
    var gate = AdvertGate(try settings(), for: router())
    var early = try #require(AdvertSigner(settings(), for: router()))
    let hourAhead = imageTime + 3600 * second
    #expect(gate.verdict(early.signed(unsigned(), at: hourAhead), at: hourAhead) == nil)
    // Both clocks are put right.
    #expect(gate.verdict(early.signed(unsigned(), at: imageTime), at: imageTime) == nil)
    #expect(early.last == AuthenticationSequence(wallNanoseconds: imageTime))
  }

  @Test func `Without a window only growth counts, and a mark stays`() throws {
    let monotonic = try settings(freshness: .monotonic)
    var gate = AdvertGate(monotonic, for: router())
    var signer = try #require(AdvertSigner(monotonic, for: router()))
    #expect(gate.verdict(signer.signed(unsigned(), at: imageTime + 3600 * second), at: 0) == nil)
    // The clock is put back by an hour: it goes on from where it was.
    #expect(gate.verdict(signer.signed(unsigned(), at: imageTime), at: 0) == nil)
    var another = try #require(AdvertSigner(monotonic, for: router()))
    #expect(gate.verdict(another.signed(unsigned(), at: imageTime), at: 0) == .replay)
  }

  @Test func `The year 2106 is no end`() throws {
    let end: Int64 = (1 << 32) * second
    var gate = AdvertGate(try settings(), for: router())
    var signer = try #require(AdvertSigner(settings(), for: router()))
    #expect(gate.verdict(signer.signed(unsigned(), at: end - second), at: end - second) == nil)
    #expect(gate.verdict(signer.signed(unsigned(), at: end + second), at: end + second) == nil)
  }

  @Test func `The sequence grows when the clock stands still, or is put back`() throws {
    var signer = try #require(AdvertSigner(settings(), for: router()))
    var last: AuthenticationSequence?
    for time in [imageTime, imageTime, imageTime - second, imageTime - 4 * second, imageTime + 1] {
      _ = signer.signed(unsigned(), at: time)
      if let last { #expect(signer.last.isAfter(last)) }
      last = signer.last
    }
    // More adverts in one moment than the counter has room for.
    for _ in 0..<70_000 { _ = signer.signed(unsigned(), at: imageTime) }
    #expect(try signer.last.isAfter(#require(last)))
  }

  @Test func `The window is three intervals, five seconds at least`() {
    #expect(AuthenticationSettings.Freshness.standard(interval: .milliseconds(100)) == .window(.seconds(5)))
    #expect(AuthenticationSettings.Freshness.standard(interval: .seconds(10)) == .window(.seconds(30)))
    #expect(AuthenticationSettings.Freshness.standard(interval: .seconds(255)) == .window(.seconds(300)))
  }
}

@Suite struct `On the way to authentication` {
  @Test(arguments: AuthenticationMode.allCases)
  func `Each mode does with an unsigned advert what it says`(_ mode: AuthenticationMode) throws {
    var gate = AdvertGate(try settings(mode), for: router())
    #expect(gate.verdict(unsigned()) == (mode == .enforce ? .missing : nil))
    #expect(gate.counters.unauthenticated == (mode == .receive || mode == .permissive ? 1 : 0))
    #expect((AdvertSigner(try settings(mode), for: router()) != nil) == (mode == .permissive || mode == .enforce))
  }

  @Test(arguments: [AuthenticationMode.receive, .permissive, .enforce])
  func `A signature that is there has to be right`(_ mode: AuthenticationMode) throws {
    var gate = AdvertGate(try settings(mode), for: router())
    var spoilt = imageIPv4
    spoilt[30] ^= 1
    #expect(gate.verdict(spoilt) == .badTag)
    #expect(gate.verdict(imageIPv4) == nil)
  }

  @Test func `While off, everything goes on as it came`() throws {
    var gate = AdvertGate(.off, for: router())
    let admission = try gate.admit(imageIPv4.span.bytes, in: envelope(sender4), wallNanoseconds: 0)
    #expect(admission.message(of: imageIPv4) == imageIPv4)
  }

  @Test(arguments: 0...60)
  func `While enforced, nothing of any other length reaches the election`(_ length: Int) throws {
    var gate = AdvertGate(try settings(), for: router())
    var message = Array((imageIPv4 + imageIPv4).prefix(length))
    let expected: AuthenticationDiscard? = length == 40 ? nil : length > 12 ? .malformed : .missing
    #expect(gate.verdict(message) == expected)
    // Nor what is not even an advert.
    if !message.isEmpty { message[0] = 0x41 }
    #expect(gate.verdict(message) == .missing)
  }

  @Test func `Each discard has its counter`() throws {
    var gate = AdvertGate(try settings(), for: router())
    _ = gate.verdict(unsigned())
    _ = gate.verdict(imageIPv4 + [0])
    _ = gate.verdict(imageIPv4, at: 0)
    _ = gate.verdict(imageIPv4)
    _ = gate.verdict(imageIPv4)
    var other = imageIPv4
    other[13] = 9
    _ = gate.verdict(other)
    other[13] = 1
    other[39] ^= 1
    _ = gate.verdict(other)
    for reason in AuthenticationDiscard.allCases { #expect(gate.counters[reason] == 1, "\(reason)") }
    #expect(gate.counters.discarded == 6 && gate.counters.verified == 1)
  }

  @Test func `Another process signs after the daemon`() throws {
    var daemon = try #require(AdvertSigner(settings(), for: router()))
    var gate = AdvertGate(try settings(), for: router())
    #expect(gate.verdict(daemon.signed(unsigned())) == nil)
    let guardian = AdvertKey(id: 1, bytes: SecretBytes(Array(0..<32)))
    let farewell = Advert(version: .v3, id: 51, priority: 0, interval: .seconds(1), addresses: router().addresses)
      .encoded(from: sender4, to: AddressFamily.ipv4.vrrpGroup, coverage: .message)
    let signed = try guardian.sign(
      farewell, from: sender4, to: AddressFamily.ipv4.vrrpGroup, wallNanoseconds: imageTime + 1_000_000)
    #expect(gate.verdict(signed) == nil)
    // The clock was put back between the two: only what the daemon wrote down helps.
    let backwards = try guardian.sign(
      farewell, from: sender4, to: AddressFamily.ipv4.vrrpGroup, wallNanoseconds: imageTime - second)
    #expect(gate.verdict(backwards) == .replay)
    let sure = try guardian.sign(
      farewell, from: sender4, to: AddressFamily.ipv4.vrrpGroup, wallNanoseconds: imageTime - second,
      past: AuthenticationSequence(wallNanoseconds: imageTime + 1_000_000).rawValue)
    #expect(gate.verdict(sure) == nil)
    // The daemon wakes up, and what it had signed before is worth nothing any more.
    #expect(gate.verdict(daemon.signed(unsigned())) == .replay)
  }
}

@Suite struct `Which key signs` {
  private let start = Instant(nanoseconds: 0)
  private let later = Instant(nanoseconds: 0) + SigningKeyChoice.patience

  @Test func `At first the oldest, because a peer may have no other`() {
    let choice = SigningKeyChoice(keys: [2, 1], peers: 1, at: start)
    #expect(choice.index(at: start) == 1)
    #expect(choice.index(at: later) == 0)
  }

  @Test func `The newest that all peers have`() {
    var choice = SigningKeyChoice(keys: [3, 2, 1], peers: 2, at: start)
    choice.learn([2, 1], of: 0)
    choice.learn([3, 2], of: 1)
    #expect(choice.index(at: start) == 1)
    choice.learn([3, 2], of: 0)
    #expect(choice.index(at: start) == 0)
  }

  @Test func `A peer with none of them changes nothing, and neither does no peer`() {
    var choice = SigningKeyChoice(keys: [2, 1], peers: 1, at: start)
    choice.learn([9], of: 0)
    #expect(choice.index(at: start) == 0)
    #expect(SigningKeyChoice(keys: [2, 1], peers: 0, at: start).index(at: start) == 0)
    #expect(SigningKeyChoice(keys: [], peers: 2, at: start).index(at: start) == 0)
    // Other keys, and a peer that changed places: what it said is known still.
    choice.learn([1], of: 0)
    #expect(choice.with(keys: [1, 2], origins: [nil, 0], at: start).index(at: start) == 0)
    #expect(choice.with(keys: [2, 1], origins: [0], at: start).index(at: start) == 1)
    #expect(choice.with(keys: [2, 1], origins: [], at: start).index(at: start) == 0)
  }

  @Test func `From one secret to another, node by node, each advert can be verified`() {
    // Each node signs with a key that the other has, at every step, in either order.
    let steps: [(own: [UInt8], peer: [UInt8])] = [
      ([1], [1]), ([2, 1], [1]), ([1], [2, 1]), ([2, 1], [2, 1]), ([2, 1], [2]), ([2], [2, 1]), ([2], [2]),
    ]
    for step in steps {
      var choice = SigningKeyChoice(keys: step.own, peers: 1, at: start)
      choice.learn(step.peer, of: 0)
      for now in [start, later] { #expect(step.peer.contains(step.own[choice.index(at: now)])) }
    }
  }
}
