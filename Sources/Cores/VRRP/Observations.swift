import Basis
import Wire

/// What was already said, so that each mismatch is told once until it changes.
///
/// Two peers, or a forger, may take turns with different values; so each kind is told at most once in `pause`,
/// and what changed meanwhile is told with the first advert after it.
struct Observations: Sendable {
  private static let pause: Int64 = 10_000_000_000

  private var saidInterval: Int64?
  private var intervalFrom = Instant(nanoseconds: .min)
  private var saidAddresses: [IPAddress]?
  private var addressesFrom = Instant(nanoseconds: .min)
  /// At first what this router sends: only what differs is worth a word.
  private var saidCoverage: ChecksumCoverage
  private var coverageFrom = Instant(nanoseconds: .min)
  private var saidHopLimit: UInt8?
  private var hopLimitFrom = Instant(nanoseconds: .min)

  init(sending coverage: ChecksumCoverage) { saidCoverage = coverage }

  mutating func interval(
    _ header: AdvertHeader, _ source: IPAddress, ours: Int64, _ now: Instant,
    _ emit: (VirtualRouter.Output) -> Void
  ) {
    let theirs = header.intervalNanoseconds
    guard theirs != ours else { return saidInterval = nil }
    guard theirs != saidInterval, now >= intervalFrom else { return }
    saidInterval = theirs
    intervalFrom = now.adding(Self.pause)
    emit(.notice(.intervalMismatch(from: source, theirs: .nanoseconds(theirs), ours: .nanoseconds(ours))))
  }

  mutating func addresses(
    _ same: Bool, _ header: AdvertHeader, _ message: RawSpan, _ source: IPAddress, ours: [IPAddress], _ now: Instant,
    _ emit: (VirtualRouter.Output) -> Void
  ) {
    if same {
      saidAddresses = nil
      return
    }
    guard now >= addressesFrom else { return }
    if let said = saidAddresses, said.count == header.count,
      said.indices.allSatisfy({ said[$0] == header.address($0, in: message) })
    {
      return
    }
    let theirs = (0..<header.count).map { header.address($0, in: message) }
    saidAddresses = theirs
    addressesFrom = now.adding(Self.pause)
    emit(.notice(.addressesMismatch(from: source, theirs: theirs, ours: ours)))
  }

  mutating func coverage(
    _ header: AdvertHeader, _ source: IPAddress, _ now: Instant, _ emit: (VirtualRouter.Output) -> Void
  ) {
    guard let coverage = header.coverage, coverage != saidCoverage, now >= coverageFrom else { return }
    saidCoverage = coverage
    coverageFrom = now.adding(Self.pause)
    emit(.notice(.checksumCoverage(from: source, coverage)))
  }
  /// Of an advert that was dropped: nothing but a word tells why two nodes that hear each other own the same addresses.
  mutating func hopLimit(
    _ envelope: Envelope, _ peers: Peers, _ now: Instant, _ emit: (VirtualRouter.Output) -> Void
  ) {
    guard case .unicast(let known) = peers, known.contains(envelope.source) else { return }
    guard envelope.hopLimit != saidHopLimit, now >= hopLimitFrom else { return }
    saidHopLimit = envelope.hopLimit
    hopLimitFrom = now.adding(Self.pause)
    emit(.notice(.peerHopLimit(from: envelope.source, envelope.hopLimit)))
  }
}
