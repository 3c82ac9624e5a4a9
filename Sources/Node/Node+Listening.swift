import Basis
import VRRP
import Wire

// Before a node claims a VIP because it hears nobody: does it hear anything at all?
//
// Warm-up. A switch port that has just come up may swallow everything for half a minute (spanning tree): both nodes would own the VIP, and
// the neighbours' answers would come when it is too late. So a node that has received nothing since its carrier rose stays out of the election,
// with priority 255 too, until something is received or `VIPSettings.warmUp` is over. Only then its election starts, so that it listens for a
// full Active_Down_Interval on a link that works.
//
// Isolation. A backup whose link is cut behind the switch hears nobody either. Where there are witnesses, it asks them when an advert
// is half an interval overdue, and each half interval from there on: answers are there before its Active_Down_Interval ends, so the test
// delays no take-over. A claim needs a proof that is no older than `proof`, five quarters of an interval: an answer, which proves that the
// link worked when the question was asked, no matter when it is read; or anything that is heard. So whoever is cut off claims nothing
// later than that, and one answer may get lost. Without a proof it waits, asks on, and claims with the first answer. A priority 0, an owner
// that is worse than this node, and a hand-over were heard, and need no witness.
//
// An owner that hears nothing keeps its VIP. If its link is cut, it harms nobody, for nobody hears it; if its peers are merely gone, its clients
// need it. A link that is down ends its ownership already.

/// An interface, and what came from it.
struct Segment: Sendable {
  let interface: String
  var link: LinkState?
  /// Any advert of another node.
  var heard: Instant?

  static func all(of vips: [VIPSettings]) -> [Segment] {
    var segments: [Segment] = []
    for vip in vips where !vip.isVacant && index(of: vip.interface, in: segments) == nil {
      segments.append(Segment(interface: vip.interface))
    }
    return segments
  }

  static func index(of interface: String, in segments: [Segment]) -> Int? {
    segments.firstIndex { $0.interface == interface }
  }
}

/// What is heard of the peers by the peer link.
struct Hearsay: Sendable {
  var isUp: [Bool]
  var heard: Instant?

  init(peers: Int) { isUp = Array(repeating: false, count: peers) }

  /// The same peers in another order, some gone, some new.
  mutating func change(from old: [String], to new: [String]) {
    let before = isUp
    isUp = new.map { name in old.firstIndex(of: name).map { before[$0] } ?? false }
  }

  mutating func heard(_ report: PeerReport, of peer: Int, at now: Instant) {
    switch report {
    case .up:
      isUp[peer] = true
      heard = now
    case .said: heard = now
    case .down: isUp[peer] = false
    }
  }
}

/// What one VIP waits for before it claims.
struct Listening: Sendable {
  /// The end of the warm-up; nil: it is over.
  var until: Instant?
  /// When the witnesses are asked (again).
  var ask: Instant?
  /// The number of the last question, and of the first since something was heard.
  var round: UInt64 = 0
  var firstRound: UInt64 = 1
  /// When the last few questions were asked, by their number.
  private var asked: InlineArray<8, Instant> = .init(repeating: Instant(nanoseconds: .min))
  /// The link worked then: an advert for this VIP, or a question that a witness has answered.
  var heard: Instant?
  /// A claim is due, and waits for a witness, since then.
  var heldBackAt: Instant?
  var isHeldBack: Bool { heldBackAt != nil }

  /// The next question's number.
  mutating func nextRound(at now: Instant) -> UInt64 {
    round += 1
    asked[Int(round % 8)] = now
    return round
  }

  /// When a question was asked; nil where it is too old, or belongs to an earlier silence, or was never asked.
  func time(ofRound number: UInt64) -> Instant? {
    guard number >= firstRound, number <= round, round - number < 8 else { return nil }
    return asked[Int(number % 8)]
  }

  var deadline: Instant? { earlier(until, ask) }
}

extension Node {
  /// A peer link that is still up when a backup has waited and everything else has been silent for so long is alive: it would have noticed
  /// by then. What a node heard while it was no backup (in standby, say) it did not keep, so silence counts from there.
  static let peerLinkProof = Duration.seconds(5)

  /// How old a proof that the link works may be when a node claims what it hears nobody own.
  static func proof(_ interval: Duration) -> Duration { interval * 5 / 4 }

  // MARK: Warm-up

  mutating func beginListening(vip: Int, at now: Instant) {
    let warmUp = vips[vip].settings.warmUp
    let isNeeded = warmUp > .zero && vips[vip].hasElection && vips[vip].link?.hasReceived == false
    vips[vip].listening.until = isNeeded ? now + warmUp : nil
  }

  /// Whether the VIP's election can't start yet.
  mutating func mustListen(vip: Int, at now: Instant, _ emit: (Effect) -> Void) -> Bool {
    guard let until = vips[vip].listening.until else { return false }
    if vips[vip].link?.hasReceived != false || until <= now {
      vips[vip].listening.until = nil
      return false
    }
    let reason = "listening: nothing was received on \(vips[vip].settings.interface) since its link came up"
    enter(.initialize, vip: vip, because: reason, at: now, emit)
    explain(vip: vip, reason, emit)
    return true
  }

  /// An advert arrived: the link works, for all VIPs on it.
  mutating func endWarmUp(vip: Int, hearing envelope: Envelope, at now: Instant, _ emit: (Effect) -> Void) {
    guard vips[vip].listening.until != nil, envelope.source != vips[vip].local else { return }
    for other in vips.indices where vips[other].listening.until != nil && vips[other].segment == vips[vip].segment {
      vips[other].listening.until = nil
      reconsider(vip: other, at: now, emit)
    }
  }

  // MARK: Isolation

  /// An advert that the VIP's router took.
  mutating func heard(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    vips[vip].listening.heard = now
    vips[vip].listening.firstRound = vips[vip].listening.round + 1
    if let segment = vips[vip].segment { segments[segment].heard = now }
    if vips[vip].machine.state == .backup { askLater(vip: vip, at: now) }
    if vips[vip].listening.isHeldBack {
      freeClaim(vip: vip, at: now, emit)
      explain(vip: vip, "adverts are heard again", emit)
    }
  }

  /// An advert for a virtual router that this node has not.
  mutating func overheard(_ envelope: Envelope, at now: Instant, _ emit: (Effect) -> Void) {
    guard envelope.hopLimit == 255, let segment = Segment.index(of: envelope.interface, in: segments),
      let vip = vips.firstIndex(where: { $0.segment == segment }), envelope.source != vips[vip].local
    else { return }
    segments[segment].heard = now
    if let listener = vips.firstIndex(where: { $0.segment == segment && $0.listening.until != nil }) {
      endWarmUp(vip: listener, hearing: envelope, at: now, emit)
    }
  }

  /// Half an interval after an advert should have come, the witnesses are asked.
  mutating func askLater(vip: Int, at now: Instant) {
    guard settings.hasWitnesses, vips[vip].machine.state == .backup else { return }
    vips[vip].listening.ask = now + vips[vip].machine.interval * 3 / 2
  }

  mutating func listeningTimer(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    if let until = vips[vip].listening.until, until <= now {
      vips[vip].listening.until = nil
      reconsider(vip: vip, at: now, emit)
    }
    guard let ask = vips[vip].listening.ask, ask <= now else { return }
    guard settings.hasWitnesses, vips[vip].machine.state == .backup else {
      vips[vip].listening.ask = nil
      return
    }
    vips[vip].listening.ask = now + vips[vip].machine.interval / 2
    emit(.askWitnesses(vip: vip, round: vips[vip].listening.nextRound(at: now)))
  }

  mutating func witnessAnswered(vip: Int, round: UInt64, at now: Instant, _ emit: (Effect) -> Void) {
    guard vips.indices.contains(vip) else { return }
    // An answer to a question of an earlier silence says nothing of this one.
    guard let asked = vips[vip].listening.time(ofRound: round) else { return }
    vips[vip].listening.heard = vips[vip].listening.heard.map { max($0, asked) } ?? asked
    guard vips[vip].listening.isHeldBack, vips[vip].machine.state == .backup else { return }
    // Where an answer takes long, each comes too old for the proof; one to a question of the time of waiting is as good as it can be.
    if let since = vips[vip].listening.heldBackAt, asked < since, isIsolated(vip, at: now) { return }
    freeClaim(vip: vip, at: now, emit)
    if let due = vips[vip].machine.deadline, due <= now { elect(vip: vip, .timer, at: now, emit) }
  }

  /// Whether a router whose deadline was reached may act on it. A backup that hears nothing at all is held back.
  mutating func mayClaim(vip: Int, at now: Instant, _ emit: (Effect) -> Void) -> Bool {
    guard settings.hasWitnesses, vips[vip].machine.state == .backup, isIsolated(vip, at: now) else { return true }
    if vips[vip].listening.heldBackAt == nil { vips[vip].listening.heldBackAt = now }
    vips[vip].listening.ask = min(vips[vip].listening.ask ?? now, now)
    elect(vip: vip, .postpone(until: now + vips[vip].machine.interval), at: now, emit)
    explain(
      vip: vip,
      "isolated: nothing is heard on \(vips[vip].settings.interface), and no witness answers; waiting for one", emit)
    return false
  }

  private func isIsolated(_ vip: Int, at now: Instant) -> Bool {
    var last = vips[vip].listening.heard
    if let segment = vips[vip].segment, let heard = segments[segment].heard {
      last = last.map { max($0, heard) } ?? heard
    }
    if let heard = hearsay.heard { last = last.map { max($0, heard) } ?? heard }
    let quiet = last.map { now - $0 }
    if let quiet, quiet < Self.proof(vips[vip].machine.interval) { return false }
    let waited = vips[vip].since.map { now - $0 } ?? .zero
    return !(hearsay.isUp.contains(true) && min(quiet ?? waited, waited) >= Self.peerLinkProof)
  }

  private mutating func freeClaim(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    vips[vip].listening.heldBackAt = nil
    elect(vip: vip, .postpone(until: now), at: now, emit)
  }
}
