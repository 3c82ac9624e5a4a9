import Basis
import Wire

/// One virtual router as this node sees it: the state machine of RFC 9568 §6.4 and RFC 3768 §6.4.
///
/// A value without clock or socket: inputs and messages go in with the time, outputs come out. `deadline` is when it wants
/// `.timer` at the latest; a `.timer` that comes early does nothing. Nothing is allocated in steady state: the adverts
/// are encoded when something in them changes, and sending passes the same array again.
///
/// Where it is finer or more careful than the RFC, each with its reason at the place:
/// - timers count nanoseconds, so skews below a centisecond are real ones;
/// - a router that was active and hears a better one sends one last advert of its own, so that the winner announces;
/// - what a losing advert or a priority 0 provokes from an active router is limited to one in a quarter of an interval;
/// - a priority 0 only ever shortens the wait of a backup;
/// - an active router that was silent for so long that another one may have taken over looks before it sends
///   (`VirtualRouter+Stall.swift`).
public struct VirtualRouter: Sendable {
  public enum State: String, Sendable, Hashable { case initialize, backup, active }

  public enum Input: Sendable, Hashable {
    /// Begin. `local` is the source of our adverts: an address of the interface, for IPv6 a link-local one.
    /// An address of the other family is refused: the router stays in Initialize.
    case startup(local: IPAddress)
    /// Stop politely: an active router says priority 0.
    case shutdown
    /// Stop without a word, as when the link is gone. The text is for people.
    case abandon(String)
    /// The deadline was reached.
    case timer
    /// The source of our adverts is another address now.
    case local(IPAddress)
    /// The addresses were lost. Active makes way as if a better owner had been heard: it says priority 0, so that a peer takes
    /// over, and doesn't come back before a full Active_Down_Interval.
    case yield
    /// The same, for that reason: a hand-over, or a group that moves together.
    case makeWay(Reason)
    /// The VIP is another router's by now, and was given up in our name: backup without a word, for at least a full
    /// Active_Down_Interval.
    case deposed(Reason)
    /// The priority to advertise and to compare with, 1 to 255, until the next `.settings`: what is tracked lowers it. An active
    /// router says it with its next advert, and whoever is better by then takes over by the ordinary rules.
    case priority(UInt8)
    /// The owner named this router to follow it: when that owner says priority 0, no skew is waited for.
    case successor(Bool)
    /// A backup becomes active at once: it was handed the VIP, or the rest of its group was. Elsewhere nothing.
    case takeOver(Reason)
    /// Whether a lower-priority owner is deposed; nil: as configured. Priority 255 always does.
    case preempt(Bool?)
    /// A backup does not become active before that instant, whatever it hears or misses, unless by `.takeOver`. An instant that has
    /// passed ends an earlier one: what was due meanwhile is due now.
    case postpone(until: Instant)
    /// Other settings for the same virtual router. VRID, version and family must be the same, and the kind of its peers: with others
    /// nothing happens. Nothing is sent out of turn, and no state changes.
    case settings(Settings)
  }

  public enum Output: Sendable, Hashable {
    case transmit([UInt8], to: Destination)
    /// Take the addresses and announce them.
    case becameActive(Reason)
    case becameBackup(Reason)
    case becameInitialize(Reason)
    /// Another router claimed the addresses and lost: tell the neighbours again where they are.
    case announce(Reason)
    case notice(Notice)
  }

  /// The router that was last heard as owner, while this one is a backup.
  public struct Owner: Sendable, Hashable {
    public let address: IPAddress
    public let priority: UInt8
    public let heard: Instant

    public init(address: IPAddress, priority: UInt8, heard: Instant) {
      self.address = address
      self.priority = priority
      self.heard = heard
    }
  }

  public internal(set) var settings: Settings
  /// What is advertised and compared: the configured priority, or what `.priority` made of it.
  public internal(set) var priority: UInt8
  public internal(set) var state = State.initialize
  /// When `.timer` is wanted. Nil exactly in Initialize.
  public internal(set) var deadline: Instant?
  public internal(set) var counters = Counters()
  public internal(set) var owner: Owner?
  /// This backup was the owner, and another router has taken its place already: nothing may be said of the addresses by it.
  public internal(set) var wasDeposed = false
  /// Active_Adver_Interval: our own until an owner's advert taught another (RFC 9568 §6.1).
  @inlinable @inline(__always)
  public var interval: Duration { .nanoseconds(activeInterval) }
  /// Active_Down_Interval: how long an owner may be silent before this router takes over.
  @inlinable @inline(__always)
  public var longestSilence: Duration { .nanoseconds(activeDownInterval) }

  /// Our own Advertisement_Interval as the advert can say it, in nanoseconds.
  var ownInterval: Int64
  @usableFromInline var activeInterval: Int64
  var outgoing: Outgoing
  var observations: Observations
  /// Who said priority 0 last, while a backup waits for its skew.
  var departed: IPAddress?
  /// The last advert a backup heard was a losing one: its timer runs out because it preempts, not because of silence.
  var isPreempting = false
  /// Before this a lower-priority owner is left alone (`Settings.preemptDelay`).
  var preemptFrom = Instant(nanoseconds: .min)
  /// `.preempt`: instead of the settings' own.
  var preemptOverride: Bool?
  var isSuccessor = false
  /// When a backup's Active_Down_Timer runs out. Its deadline is that, or later where one of the next two holds it back.
  var downAt = Instant(nanoseconds: .min)
  /// Before this a router that made way, or was deposed, doesn't come back.
  var holdUntil = Instant(nanoseconds: .min)
  /// The same, by `.postpone`.
  var postponedUntil = Instant(nanoseconds: .min)
  /// Adver_Timer of an active router.
  var adverAt = Instant(nanoseconds: .min)
  /// From when an extra advert is allowed again, and why one is owed.
  var reassertFrom = Instant(nanoseconds: .min)
  var owed: Reason?
  /// When, and how often of late, this router was deposed because it stalled.
  var stalls = Stalls()

  /// In Initialize, silent, without a deadline. VRRPv2 knows no IPv6: there the router speaks v3 whatever the settings say.
  public init(_ settings: Settings) {
    var settings = settings
    if settings.family == .ipv6 { settings.version = .v3 }
    self.settings = settings
    priority = settings.priority
    ownInterval = settings.version.rounded(settings.interval.nanoseconds)
    activeInterval = ownInterval
    outgoing = Outgoing(settings)
    observations = Observations(sending: settings.checksum == .message ? .message : .pseudoHeader)
  }

  /// The VRID of a message, for finding its router; nil where it is too short to have one. Nothing else is checked.
  public static func identify(_ message: RawSpan) -> UInt8? {
    message.byteCount >= AdvertHeader.length ? message.byte(1) : nil
  }

  public mutating func handle(_ input: Input, at now: Instant, _ emit: (Output) -> Void) {
    switch input {
    case .startup(let local): start(local, now, emit)
    case .local(let local): if local.family == settings.family { outgoing.prepare(from: local) }
    case .timer: turn(now, emit)
    case .shutdown: stop(.shutdown, emit)
    case .abandon(let why): stop(.abandoned(why), emit)
    case .yield: makeWay(.yielded, now, emit)
    case .makeWay(let why): makeWay(why, now, emit)
    case .deposed(let why): beDeposed(why, now, emit)
    case .priority(let priority): change(priority: max(priority, 1), now)
    case .successor(let isSuccessor): self.isSuccessor = isSuccessor
    case .takeOver(let why): if state == .backup { becomeActive(why, now, emit) }
    case .preempt(let override): preemptOverride = override
    case .postpone(let instant): postpone(until: instant)
    case .settings(let settings): change(settings, now)
    }
  }

  /// A VRRP message: the bytes behind the IP header. Counted exactly once, as accepted or as one `Discard`.
  public mutating func receive(
    _ message: RawSpan, in envelope: Envelope, at now: Instant, _ emit: (Output) -> Void
  ) {
    let header: AdvertHeader
    do throws(Discard) {
      header = try check(message, envelope)
    } catch {
      counters[error] &+= 1
      if error == .unicastHopLimit { observations.hopLimit(envelope, settings.peers, now, emit) }
      return
    }
    counters.accepted &+= 1
    if header.priority == 0 { counters.farewells &+= 1 }
    if let coverage = header.coverage {
      if coverage == .message { counters.checksumMessage &+= 1 } else { counters.checksumPseudoHeader &+= 1 }
      outgoing.learn(coverage)
    }
    observe(header, message, envelope.source, now, emit)
    switch state {
    case .initialize: break
    case .backup: hearAsBackup(header, envelope.source, now, emit)
    case .active: hearAsActive(header, envelope.source, now, emit)
    }
  }
}

// MARK: - Backup

extension VirtualRouter {
  /// RFC 9568 §6.4.2.
  private mutating func hearAsBackup(
    _ header: AdvertHeader, _ source: IPAddress, _ now: Instant, _ emit: (Output) -> Void
  ) {
    if header.priority == 0 { return hearFarewell(source, now, emit) }
    owner = Owner(address: source, priority: header.priority, heard: now)
    guard header.priority >= priority || !preempts(at: now) else {
      counters.losing &+= 1
      isPreempting = true
      return
    }
    departed = nil
    isPreempting = false
    learn(header)
    wait(until: now.adding(activeDownInterval))
  }

  private mutating func hearFarewell(_ source: IPAddress, _ now: Instant, _ emit: (Output) -> Void) {
    // Only the owner names a successor. From anybody else a priority 0 is worth the RFC's skew, and no more.
    let isOwners = owner?.address == source
    // And nothing where another one has just advertised: a successor may be heard before the farewell of the one that it follows.
    if let owner, !isOwners, now.nanoseconds &- owner.heard.nanoseconds < activeInterval { return }
    departed = source
    owner = nil
    // Never later than what was waited for anyway: a stream of priority 0 must not keep a backup waiting for ever.
    wait(until: min(downAt, now.adding(isSuccessor && isOwners ? 0 : skew)))
    if let deadline, deadline <= now { becomeActive(.left(source), now, emit) }
  }

  @inline(__always)
  private func preempts(at now: Instant) -> Bool {
    // The address owner always does (RFC 9568 §6.1, Preempt_Mode).
    priority == 255 || (preemptOverride ?? settings.preempt) && now >= preemptFrom
  }

  private mutating func learn(_ header: AdvertHeader) {
    activeInterval = header.intervalNanoseconds
    if activeInterval > ownInterval { counters.intervalStretched &+= 1 }
  }

  mutating func wait(until instant: Instant) {
    downAt = instant
    deadline = max(instant, holdUntil, postponedUntil)
  }

  private mutating func postpone(until instant: Instant) {
    postponedUntil = instant
    if state == .backup { wait(until: downAt) }
  }

  /// Skew_Time in nanoseconds (RFC 9568 §6.1; RFC 3768 §6.1 knows seconds only).
  @inlinable @inline(__always)
  var skew: Int64 {
    (256 - Int64(priority)) * (settings.version == .v2 ? 1_000_000_000 : activeInterval) / 256
  }

  /// Active_Down_Interval in nanoseconds.
  @inlinable @inline(__always)
  var activeDownInterval: Int64 { 3 * activeInterval + skew }

  private func reasonToTakeOver(at now: Instant) -> Reason {
    if let departed { return .left(departed) }
    guard let owner else { return .silence(of: nil, for: .nanoseconds(activeDownInterval)) }
    let quiet = now.since(owner.heard)
    if isPreempting, quiet < activeDownInterval {
      return .preempts(owner: owner.address, theirs: owner.priority, ours: priority)
    }
    return .silence(of: owner.address, for: .nanoseconds(quiet))
  }
}

// MARK: - Active

extension VirtualRouter {
  /// RFC 9568 §6.4.3.
  private mutating func hearAsActive(
    _ header: AdvertHeader, _ source: IPAddress, _ now: Instant, _ emit: (Output) -> Void
  ) {
    guard let better = reasonToDefer(to: header, source) else {
      if header.priority > 0 {
        counters.losing &+= 1
        if let overslept = stall(at: now) { return beDeposed(overslept, now, emit) }
      }
      reassert(.losingAdvert(from: source, theirs: header.priority, ours: priority), now, emit)
      return
    }
    // One last advert, which the winner sees as a losing one: it announces again, and the neighbours that were ours
    // (the far side of a healed partition) learn where the addresses went. Without it a loser that hears the winner
    // first would say nothing, and their caches would stay wrong until they time out.
    transmit(outgoing.adverts, emit)
    owner = Owner(address: source, priority: header.priority, heard: now)
    learn(header)
    becomeBackup(better, until: now.adding(activeDownInterval), emit)
  }

  @inline(__always)
  private func reasonToDefer(to header: AdvertHeader, _ source: IPAddress) -> Reason? {
    if header.priority > priority {
      return .higherPriority(source, theirs: header.priority, ours: priority)
    }
    guard header.priority == priority, let local = outgoing.local, source > local else { return nil }
    return .greaterAddress(source, priority: header.priority)
  }

  /// Sends an advert at once, and announces. Somebody who sends losing adverts or priority 0 in a stream gets one answer in
  /// a quarter of an interval, the last one included: more would let a stranger draw a storm from us. One limit serves all
  /// peers, because each advert reaches all of them.
  private mutating func reassert(_ reason: Reason, _ now: Instant, _ emit: (Output) -> Void) {
    guard now >= reassertFrom else {
      owed = reason
      deadline = min(adverAt, reassertFrom)
      return
    }
    owed = nil
    reassertFrom = now.adding(ownInterval / 4)
    counters.reasserted &+= 1
    transmit(outgoing.adverts, emit)
    emit(.announce(reason))
    // After a priority 0 the Adver_Timer starts anew; here after any extra advert, for nobody needs two in a row.
    adverAt = now.adding(ownInterval)
    deadline = adverAt
  }
}

// MARK: - Changes of state

extension VirtualRouter {
  /// RFC 9568 §6.4.1.
  private mutating func start(_ local: IPAddress, _ now: Instant, _ emit: (Output) -> Void) {
    guard local.family == settings.family else { return }
    outgoing.prepare(from: local)
    guard state == .initialize else { return }
    owner = nil
    activeInterval = ownInterval
    holdUntil = Instant(nanoseconds: .min)
    isSuccessor = false
    preemptFrom = now.adding(settings.preemptDelay.nanoseconds)
    if priority == 255 {
      becomeActive(.ownsAddresses, now, emit)
    } else {
      becomeBackup(.started, until: now.adding(activeDownInterval), emit)
    }
  }

  private mutating func turn(_ now: Instant, _ emit: (Output) -> Void) {
    guard let deadline, now >= deadline else { return }
    switch state {
    case .initialize: break
    case .backup: becomeActive(reasonToTakeOver(at: now), now, emit)
    case .active:
      if let owed, now >= reassertFrom { return reassert(owed, now, emit) }
      guard now >= adverAt else { return }
      let late = now.since(adverAt)
      transmit(outgoing.adverts, emit)
      // Nobody claimed meanwhile, or it would have been heard by now. But the neighbours may have been told otherwise.
      if late > ownInterval { emit(.announce(.stalled(.nanoseconds(late)))) }
      // From the deadline and not from now, so that lateness doesn't add up; after a long stall, from now.
      let next = adverAt.adding(ownInterval)
      adverAt = next > now ? next : now.adding(ownInterval)
      self.deadline = owed == nil ? adverAt : min(adverAt, reassertFrom)
    }
  }

  mutating func becomeActive(_ reason: Reason, _ now: Instant, _ emit: (Output) -> Void) {
    state = .active
    counters.becameActive &+= 1
    owner = nil
    departed = nil
    isSuccessor = false
    owed = nil
    reassertFrom = now
    adverAt = now.adding(ownInterval)
    deadline = adverAt
    transmit(outgoing.adverts, emit)
    emit(.becameActive(reason))
  }

  mutating func becomeBackup(_ reason: Reason, until: Instant, _ emit: (Output) -> Void) {
    state = .backup
    wasDeposed = false
    counters.becameBackup &+= 1
    departed = nil
    isPreempting = false
    owed = nil
    wait(until: until)
    emit(.becameBackup(reason))
  }

  private mutating func makeWay(_ reason: Reason, _ now: Instant, _ emit: (Output) -> Void) {
    guard state == .active else { return }
    transmit(outgoing.farewells, emit)
    counters.sentFarewells &+= 1
    stayAway(because: reason, settings.preemptDelay.nanoseconds, now, emit)
  }

  /// Backup, and no owner again before a full Active_Down_Interval.
  mutating func stayAway(
    because reason: Reason, _ preemptDelay: Int64, _ now: Instant, _ emit: (Output) -> Void
  ) {
    activeInterval = ownInterval
    owner = nil
    holdUntil = now.adding(activeDownInterval)
    preemptFrom = now.adding(preemptDelay)
    becomeBackup(reason, until: holdUntil, emit)
  }

  private mutating func stop(_ reason: Reason, _ emit: (Output) -> Void) {
    guard state != .initialize else { return }
    if state == .active, reason == .shutdown {
      transmit(outgoing.farewells, emit)
      counters.sentFarewells &+= 1
    }
    state = .initialize
    deadline = nil
    owner = nil
    departed = nil
    owed = nil
    emit(.becameInitialize(reason))
  }

  mutating func transmit(_ messages: [Outgoing.Message], _ emit: (Output) -> Void) {
    counters.sent &+= 1
    for message in messages { emit(.transmit(message.bytes, to: message.destination)) }
  }
}

extension Instant {
  /// Held at the ends of time instead of trapping: a recording may hold any number.
  func adding(_ nanoseconds: Int64) -> Instant {
    let (sum, overflowed) = self.nanoseconds.addingReportingOverflow(nanoseconds)
    return Instant(nanoseconds: overflowed ? (nanoseconds < 0 ? .min : .max) : sum)
  }

  /// Nanoseconds since an earlier instant, held in the same way.
  func since(_ earlier: Instant) -> Int64 {
    let (difference, overflowed) = nanoseconds.subtractingReportingOverflow(earlier.nanoseconds)
    return overflowed ? (earlier.nanoseconds > 0 ? .min : .max) : difference
  }
}
