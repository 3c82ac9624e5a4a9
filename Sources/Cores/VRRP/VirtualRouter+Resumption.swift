import Basis
import Wire

// One process goes on where another one stopped, in the middle of an election, and no peer can tell.

extension VirtualRouter {
  /// What another process has to know to go on in this one's place. Times are of the machine's clock, which both share.
  public struct Resumption: Sendable, Hashable {
    /// False: a backup.
    public var isActive: Bool
    /// When the next advert is due, of an active router.
    public var adverAt: Instant
    /// When a backup's patience ends.
    public var downAt: Instant
    public var holdUntil: Instant
    public var postponedUntil: Instant
    public var preemptFrom: Instant
    public var preempt: Bool?
    /// Active_Adver_Interval.
    public var interval: Duration
    public var isSuccessor: Bool
    public var owner: Owner?

    public init(
      isActive: Bool, adverAt: Instant, downAt: Instant, holdUntil: Instant, postponedUntil: Instant,
      preemptFrom: Instant, preempt: Bool?, interval: Duration, isSuccessor: Bool, owner: Owner?
    ) {
      self.isActive = isActive
      self.adverAt = adverAt
      self.downAt = downAt
      self.holdUntil = holdUntil
      self.postponedUntil = postponedUntil
      self.preemptFrom = preemptFrom
      self.preempt = preempt
      self.interval = interval
      self.isSuccessor = isSuccessor
      self.owner = owner
    }
  }

  /// Nil in Initialize: there is nothing to go on with.
  public var resumption: Resumption? {
    guard state != .initialize else { return nil }
    return Resumption(
      isActive: state == .active, adverAt: adverAt, downAt: downAt, holdUntil: holdUntil,
      postponedUntil: postponedUntil, preemptFrom: preemptFrom, preempt: preemptOverride, interval: interval,
      isSuccessor: isSuccessor, owner: owner)
  }

  /// Goes on in the place of a router of the same settings. Nothing is sent, and nothing comes of it: who owns the addresses is as it was.
  /// Only in Initialize, and with a source of the right family; elsewhere nothing happens.
  public mutating func resume(_ resumption: Resumption, local: IPAddress, at now: Instant) {
    guard state == .initialize, local.family == settings.family, resumption.interval > .zero else { return }
    outgoing.prepare(from: local)
    activeInterval = resumption.interval.nanoseconds
    holdUntil = resumption.holdUntil
    postponedUntil = resumption.postponedUntil
    preemptFrom = resumption.preemptFrom
    preemptOverride = resumption.preempt
    isSuccessor = resumption.isSuccessor
    owner = resumption.owner
    if resumption.isActive {
      state = .active
      reassertFrom = now
      // Never later than an interval from now: the peers wait for three.
      adverAt = min(resumption.adverAt, now.adding(ownInterval))
      deadline = adverAt
    } else {
      state = .backup
      wait(until: resumption.downAt)
    }
  }
}
