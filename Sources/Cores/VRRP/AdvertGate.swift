import Basis
import Wire

/// Stands before a virtual router and lets through what is authentic (draft-cassen-vrrp-auth-hmac-00). One for each virtual router.
///
/// The order of the checks is the draft's: form, then staleness, which costs nothing, then the HMAC; and only behind a right HMAC does
/// the mark move that tells replays. So a stranger who knows no key can't make it forget or advance anything, whatever it sends.
public struct AdvertGate: Sendable {
  /// A message that may go on to the router: its first `length` bytes, with `checksum`, where there is one, written into its field.
  public struct Admission: Sendable, Hashable {
    public var length: Int
    /// Over IPv6 the sender's checksum counts the trailer, so without it another one is right.
    public var checksum: UInt16?
    /// Whether there was a trailer, and it was right.
    public var isAuthentic: Bool
    /// By how much the sender's clock is ahead of ours.
    public var skewSeconds: Int32
  }

  /// How much of the last good advert of a sender is kept.
  private struct Mark {
    var source: IPAddress
    var sequence: AuthenticationSequence
    /// Counts up with each good advert; the sender that was heard least recently makes room.
    var use: UInt64
  }

  /// More senders than this at a time does no virtual router have: a cluster has one, and two for an instant.
  private static let mostMarks = 16

  public private(set) var counters = AuthenticationCounters()
  public let mode: AuthenticationMode
  /// By how much the clock of the last advert's sender was ahead of ours, if it was right about that: `stale` is thrown for more than the
  /// window.
  public private(set) var lastSkewSeconds: Int32 = 0
  private let keys: [AuthenticationKey]
  private let windowSeconds: Int32?
  private let version: Version
  private let id: UInt8
  private var marks: [Mark] = []
  private var uses: UInt64 = 0
  private var scratch: AuthenticatedBytes

  public init(_ settings: AuthenticationSettings, for router: Settings) {
    mode = settings.mode
    keys = settings.keys
    windowSeconds = settings.freshness.windowSeconds
    version = router.effectiveVersion
    id = router.id
    scratch = AuthenticatedBytes(version: version, id: id)
    marks.reserveCapacity(Self.mostMarks)
  }

  /// Judges a VRRP message, the bytes behind the IP header, with its trailer if it has one.
  /// - Parameter wallNanoseconds: the time of day, in nanoseconds since 1970.
  public mutating func admit(
    _ message: RawSpan, in envelope: Envelope, wallNanoseconds: Int64
  ) throws(AuthenticationDiscard) -> Admission {
    guard mode != .off else { return Admission(plain: message) }
    do throws(AuthenticationDiscard) {
      return try judge(message, envelope, AuthenticationSequence(wallNanoseconds: wallNanoseconds))
    } catch {
      counters[error] &+= 1
      throw error
    }
  }

  private mutating func judge(
    _ message: RawSpan, _ envelope: Envelope, _ now: AuthenticationSequence
  ) throws(AuthenticationDiscard) -> Admission {
    // What is not even shaped like a message of ours the router drops by itself, under the right name.
    guard let length = expectedLength(message, envelope.source.family), message.byteCount > length else {
      guard mode != .enforce else { throw .missing }
      counters.unauthenticated &+= 1
      return Admission(plain: message)
    }
    guard message.byteCount == length + AuthenticationTrailer.length else { throw .malformed }
    let trailer = try AuthenticationTrailer(endOf: message)
    let skew = trailer.sequence.secondsAhead(of: now)
    lastSkewSeconds = skew
    if let windowSeconds, skew.magnitude > windowSeconds.magnitude { throw .stale }
    try authenticate(message, length, trailer, from: envelope.source)
    try advance(envelope.source, to: trailer.sequence, now)
    counters.verified &+= 1
    return Admission(
      length: length, checksum: Self.checksum(of: message, length: length, envelope), isAuthentic: true,
      skewSeconds: skew)
  }

  /// How long a message without a trailer is that begins so; nil where it is no advert of this version.
  private func expectedLength(_ message: RawSpan, _ family: AddressFamily) -> Int? {
    guard message.byteCount >= AdvertHeader.length, message.byte(0) == version.rawValue << 4 | 1 else { return nil }
    let nothing = version == .v2 ? AdvertHeader.authenticationLength : 0
    return AdvertHeader.length + Int(message.byte(3)) * family.addressLength + nothing
  }

  private mutating func authenticate(
    _ message: RawSpan, _ length: Int, _ trailer: AuthenticationTrailer, from source: IPAddress
  ) throws(AuthenticationDiscard) {
    var isKnown = false
    for key in keys where key.id == trailer.keyID {
      isKnown = true
      let tag = scratch.tag(of: message, length: length, from: source, sequence: trailer.sequence, under: key)
      // One comparison of one number: its time says nothing of how much of it was right.
      if tag ^ trailer.tag == 0 { return }
    }
    throw isKnown ? .badTag : .unknownKey
  }

  /// Only behind a right HMAC.
  private mutating func advance(
    _ source: IPAddress, to sequence: AuthenticationSequence, _ now: AuthenticationSequence
  ) throws(AuthenticationDiscard) {
    uses &+= 1
    guard let place = marks.firstIndex(where: { $0.source == source }) else {
      let mark = Mark(source: source, sequence: sequence, use: uses)
      guard marks.count >= Self.mostMarks, let oldest = marks.indices.min(by: { marks[$0].use < marks[$1].use }) else {
        return marks.append(mark)
      }
      marks[oldest] = mark
      return
    }
    // A mark outside the window forbids only what the window forbids anyway. Letting it go heals a sender, or a receiver, whose clock
    // was wrong and has been put right.
    let isOver = windowSeconds.map { marks[place].sequence.secondsAhead(of: now).magnitude > $0.magnitude } ?? false
    guard isOver || sequence.isAfter(marks[place].sequence) else { throw .replay }
    marks[place].sequence = sequence
    marks[place].use = uses
  }

  /// The checksum that the message has without its trailer; nil where the one that it has stays.
  private static func checksum(of message: RawSpan, length: Int, _ envelope: Envelope) -> UInt16? {
    guard envelope.source.family == .ipv6 else { return nil }
    var whole = Checksum()
    whole.add(message)
    guard
      whole.addPseudoHeader(
        from: envelope.source, to: envelope.destination, protocol: AdvertHeader.ipProtocol, length: message.byteCount),
      whole.isValid
    else { return nil }  // wrong: the router will say so
    var sum = Checksum()
    sum.add(message.extracting(0..<6))
    sum.add(message.extracting(8..<length))
    sum.addPseudoHeader(
      from: envelope.source, to: envelope.destination, protocol: AdvertHeader.ipProtocol, length: length)
    return sum.value
  }
}

extension AdvertGate.Admission {
  init(plain message: RawSpan) {
    self.init(length: message.byteCount, checksum: nil, isAuthentic: false, skewSeconds: 0)
  }

  /// The message as the router is to see it.
  public func message(of received: [UInt8]) -> [UInt8] {
    var message = Array(received.prefix(length))
    if let checksum { message.put(checksum: checksum) }
    return message
  }
}

/// What a gate has let through and dropped.
public struct AuthenticationCounters: Sendable {
  /// With a right trailer.
  public internal(set) var verified: UInt64 = 0
  /// Without one, and let through because the mode allows it.
  public internal(set) var unauthenticated: UInt64 = 0
  private var discards = InlineArray<6, UInt64>(repeating: 0)

  public init() {}

  public internal(set) subscript(_ reason: AuthenticationDiscard) -> UInt64 {
    get { discards[Int(reason.rawValue)] }
    set { discards[Int(reason.rawValue)] = newValue }
  }

  public var discarded: UInt64 { AuthenticationDiscard.allCases.reduce(0) { $0 &+ self[$1] } }
}

extension Settings {
  /// VRRPv2 knows no IPv6.
  var effectiveVersion: Version { family == .ipv6 ? .v3 : version }
}

extension Array<UInt8> {
  mutating func put(checksum: UInt16) {
    guard count >= AdvertHeader.length else { return }
    self[6] = UInt8(checksum >> 8)
    self[7] = UInt8(checksum & 255)
  }
}
