import Basis
import Wire

/// How adverts are authenticated: draft-cassen-vrrp-auth-hmac-00.
///
/// A trailer behind the message carries a key's number, a sequence made of the time of day, and an HMAC-SHA256 cut to 16 bytes:
///
///      0                   1                   2                   3
///      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
///     +---------------+---------------+-------------------------------+
///     |    type 1     |    key id     |               0               |
///     +---------------+---------------+-------------------------------+
///     |               seconds since 1970, modulo 2³²                  |
///     +-------------------------------+-------------------------------+
///     |   1/65536 s                   |            counter            |
///     +-------------------------------+-------------------------------+
///     |                     HMAC, 16 bytes                            |
///
/// What the HMAC covers is a pseudo-header (family 4 or 6, version, VRID, 0, the source's address in 16 bytes), the message with its
/// checksum zeroed, and the trailer with its HMAC zeroed. So it binds the sender's address, but not the destination.
/// Over IPv4 the message's checksum doesn't count the trailer; over IPv6 it does, because there the kernel of some senders makes it.
public struct AuthenticationSettings: Sendable {
  public var mode: AuthenticationMode
  /// The first one signs, all verify. Not empty, unless the mode is `off`.
  public var keys: [AuthenticationKey]
  public var freshness: Freshness

  /// What keeps a recorded advert from being sent again.
  public enum Freshness: Sendable, Hashable {
    /// The sender's time of day may differ from ours by that much, and a sender's sequence grows.
    case window(Duration)
    /// A sender's sequence grows. For clocks that can't be kept together; who restarts forgets what it had heard.
    case monotonic

    /// max(3 × interval, 5 s), and 300 s at most.
    public static func standard(interval: Duration) -> Freshness {
      .window(min(max(interval * 3, .seconds(5)), .seconds(300)))
    }

    /// In whole seconds, for comparing with the trailer's.
    var windowSeconds: Int32? {
      guard case .window(let window) = self else { return nil }
      return Int32(clamping: max(1, window.components.seconds))
    }
  }

  public init(mode: AuthenticationMode, keys: [AuthenticationKey], freshness: Freshness) {
    self.mode = mode
    self.keys = keys
    self.freshness = freshness
  }

  public static let off = AuthenticationSettings(mode: .off, keys: [], freshness: .monotonic)
}

/// How far a cluster is on its way to authenticated adverts. Each step is safe beside the one before and the one behind it.
public enum AuthenticationMode: String, Sendable, Hashable, CaseIterable {
  /// No trailer is sent or understood.
  case off
  /// A trailer that comes has to be right. None is sent.
  case receive
  /// As `receive`, and what is sent is signed.
  case permissive
  /// What comes without a right trailer never reaches the election.
  case enforce

  public var signs: Bool { self == .permissive || self == .enforce }
}

/// A key by its number. The numbers mean the same on each node.
public struct AuthenticationKey: Sendable {
  /// 1-255. Two keys may have the same: both are tried.
  public var id: UInt8
  public var authentication: any MessageAuthentication

  public init(id: UInt8, authentication: any MessageAuthentication) {
    self.id = id
    self.authentication = authentication
  }
}

/// HMAC-SHA256 under one key, cut to its first 16 bytes. The core doesn't compute it: `Crypto.HMACSHA256` does, and a simulation may
/// use something cheaper.
public protocol MessageAuthentication: Sendable {
  /// Must not allocate: it is called for each advert.
  func tag(of message: RawSpan) -> UInt128
}

/// Why an authenticated router did not take a message. Each has its own counter.
public enum AuthenticationDiscard: UInt8, Sendable, Hashable, CaseIterable, Error {
  /// No trailer, where one is required.
  case missing
  /// A trailer of another type, with something in its reserved field, or of another length.
  case malformed
  /// The key's number is none of ours.
  case unknownKey
  /// Not signed with that key, or changed on the way, or sent by another address.
  case badTag
  /// The sender's clock and ours differ by more than the window; or it was recorded long ago.
  case stale
  /// Not newer than the sender's last one.
  case replay
}

extension AuthenticationDiscard: CustomStringConvertible {
  public var description: String {
    switch self {
    case .missing: "authentication missing"
    case .malformed: "authentication malformed"
    case .unknownKey: "authentication with an unknown key"
    case .badTag: "authentication wrong"
    case .stale: "authentication stale"
    case .replay: "authentication replayed"
    }
  }
}

/// What orders the adverts of one sender: the time of day in 1/65536 s, and a counter for those in between. 64 bits, compared as serial
/// numbers (RFC 1982), so that the year 2106 is no end.
public struct AuthenticationSequence: Sendable, Hashable {
  public var rawValue: UInt64

  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// The time of day in nanoseconds since 1970, with the counter zero.
  public init(wallNanoseconds: Int64) {
    let second: Int64 = 1_000_000_000
    var seconds = wallNanoseconds / second
    var rest = wallNanoseconds % second
    if rest < 0 {
      seconds -= 1
      rest += second
    }
    let fraction = UInt64(rest) << 16 / UInt64(second)
    rawValue = UInt64(UInt32(truncatingIfNeeded: seconds)) << 32 | fraction << 16
  }

  public var seconds: UInt32 { UInt32(truncatingIfNeeded: rawValue >> 32) }

  public func isAfter(_ other: AuthenticationSequence) -> Bool {
    Int64(bitPattern: rawValue &- other.rawValue) > 0
  }

  /// By how many seconds `other` is behind this one; negative where it is ahead.
  func secondsAhead(of other: AuthenticationSequence) -> Int32 { Int32(bitPattern: seconds &- other.seconds) }
}

/// The trailer as it is on the wire.
struct AuthenticationTrailer {
  static let length = 28
  /// HMAC-SHA256 cut to 128 bits.
  static let type: UInt8 = 1
  /// Where in the trailer the HMAC begins.
  static let tagOffset = 12

  var keyID: UInt8
  var sequence: AuthenticationSequence
  var tag: UInt128

  /// At the end of a message that is long enough to have one.
  init(endOf message: RawSpan) throws(AuthenticationDiscard) {
    let start = message.byteCount - Self.length
    guard start >= 0, message.byte(start) == Self.type, message.number(start + 2, as: UInt16.self) == 0 else {
      throw .malformed
    }
    keyID = message.byte(start + 1)
    guard keyID != 0 else { throw .malformed }
    sequence = AuthenticationSequence(rawValue: message.number(start + 4))
    tag = message.number(start + Self.tagOffset)
  }
}

/// What the HMAC covers, in one piece, in a buffer that is used again and again.
struct AuthenticatedBytes: Sendable {
  private static let pseudoHeaderLength = 20
  private var bytes: [UInt8] = []
  private let version: Version
  private let id: UInt8

  init(version: Version, id: UInt8) {
    self.version = version
    self.id = id
    bytes.reserveCapacity(Self.pseudoHeaderLength + 512)
  }

  /// The HMAC of the first `length` bytes of a message, those before its trailer, with a trailer that says so.
  mutating func tag(
    of message: RawSpan, length: Int, from source: IPAddress, sequence: AuthenticationSequence,
    under key: AuthenticationKey
  ) -> UInt128 {
    bytes.removeAll(keepingCapacity: true)
    bytes.append(source.family == .ipv4 ? 4 : 6)
    bytes.append(version.rawValue)
    bytes.append(id)
    bytes.append(0)
    bytes.append(source)
    while bytes.count < Self.pseudoHeaderLength { bytes.append(0) }
    for offset in 0..<length { bytes.append(6...7 ~= offset ? 0 : message.byte(offset)) }
    bytes.appendTrailer(keyID: key.id, sequence: sequence, tag: 0)
    // A byte has no padding, so its raw bytes are all initialized.
    return unsafe key.authentication.tag(of: bytes.span.bytes)
  }
}

extension Array<UInt8> {
  // Here, not through the codecs' generic `append(bigEndian:)`: that one is another module's, is not specialised for its caller, and
  // made signing an advert take 9 µs instead of 1.
  mutating func appendTrailer(keyID: UInt8, sequence: AuthenticationSequence, tag: UInt128) {
    append(AuthenticationTrailer.type)
    append(keyID)
    append(0)
    append(0)
    append(word: sequence.rawValue)
    append(word: UInt64(truncatingIfNeeded: tag >> 64))
    append(word: UInt64(truncatingIfNeeded: tag))
  }

  @inline(__always)
  private mutating func append(word: UInt64) {
    var shift = 56 as UInt64
    for _ in 0..<8 {
      append(UInt8(truncatingIfNeeded: word >> shift))
      shift &-= 8
    }
  }
}
