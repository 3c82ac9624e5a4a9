import Basis
import Wire

/// Signs the adverts of one virtual router on one node (draft-cassen-vrrp-auth-hmac-00).
///
/// Its sequence grows with each advert, also when the time of day stands still or is put back. It is made of the time, so a new life,
/// or the guardian, which signs for a daemon that is dead, continues it without knowing where it was. Where they do know (the guardian
/// by the shared record), `advance(past:)` makes it certain, even while the clock is being put back.
public struct AdvertSigner: Sendable {
  /// The sequence of the last advert signed. What follows is after it.
  public private(set) var last: AuthenticationSequence
  /// Index of the key that signs.
  public private(set) var signingKey = 0
  public let keys: [AuthenticationKey]

  private let windowSeconds: Int32?
  private var scratch: AuthenticatedBytes
  private var hasSigned = false

  /// Nil where the settings ask for no signature.
  public init?(_ settings: AuthenticationSettings, for router: Settings) {
    guard settings.mode.signs, !settings.keys.isEmpty else { return nil }
    keys = settings.keys
    windowSeconds = settings.freshness.windowSeconds
    scratch = AuthenticatedBytes(version: router.effectiveVersion, id: router.id)
    last = AuthenticationSequence(rawValue: 0)
  }

  /// What is signed from now on comes after `sequence`: another process has signed up to there.
  public mutating func advance(past sequence: AuthenticationSequence) {
    guard !hasSigned || sequence.isAfter(last) else { return }
    hasSigned = true
    last = sequence
  }

  /// From now on the key of that index signs.
  public mutating func sign(withKey index: Int) {
    if keys.indices.contains(index) { signingKey = index }
  }

  /// Writes a signed copy of `message`, a whole VRRP message, into `buffer`, whose storage is used again.
  /// - Parameter wallNanoseconds: the time of day, in nanoseconds since 1970.
  public mutating func sign(
    _ message: RawSpan, from source: IPAddress, to destination: IPAddress, wallNanoseconds: Int64,
    into buffer: inout [UInt8]
  ) {
    let key = keys[signingKey]
    next(AuthenticationSequence(wallNanoseconds: wallNanoseconds))
    let tag = scratch.tag(of: message, length: message.byteCount, from: source, sequence: last, under: key)

    buffer.removeAll(keepingCapacity: true)
    for offset in 0..<message.byteCount { buffer.append(message.byte(offset)) }
    buffer.appendTrailer(keyID: key.id, sequence: last, tag: tag)
    if source.family == .ipv6 { countTrailer(&buffer, source, destination) }
  }

  private mutating func next(_ now: AuthenticationSequence) {
    defer { hasSigned = true }
    if !hasSigned || now.isAfter(last) {
      last = now
    } else if let windowSeconds, last.secondsAhead(of: now) > windowSeconds {
      // The clock was put back by so much that no receiver would take what continues. Their marks go the same way.
      last = now
    } else {
      last.rawValue &+= 1
    }
  }

  /// Over IPv6 the checksum covers all that is behind the IP header.
  private func countTrailer(_ buffer: inout [UInt8], _ source: IPAddress, _ destination: IPAddress) {
    buffer.put(checksum: 0)
    var sum = Checksum()
    sum.add(buffer)
    sum.addPseudoHeader(
      from: source, to: destination, protocol: AdvertHeader.ipProtocol, length: buffer.count)
    buffer.put(checksum: sum.value)
  }
}
