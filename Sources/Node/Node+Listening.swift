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
// is half an interval overdue: their answer is there before its Active_Down_Interval ends, so the test delays no take-over. Only if nothing
// answers, and nothing else was heard, it waits, asks again each interval, and claims with the first answer. A priority 0, an owner that is
// worse than this node, and a hand-over were heard, and need no witness.
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
  /// An advert for this VIP, or a witness's answer.
  var heard: Instant?
  /// A claim is due, and waits for a witness.
  var isHeldBack = false

  var deadline: Instant? { earlier(until, ask) }
}

extension Node {
  /// A peer link that is still up when everything else has been silent for so long is alive: it would have noticed by then.
  static let peerLinkProof = Duration.seconds(5)

  // MARK: Warm-up

  mutating func beginListening(vip: Int, at now: Instant) {
    let warmUp = vips[vip].settings.warmUp
    let isNeeded = warmUp > .zero && vips[vip].router != nil && vips[vip].link?.hasReceived == false
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
    if vips[vip].router?.state == .backup { askLater(vip: vip, at: now) }
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
    guard settings.hasWitnesses, let router = vips[vip].router, router.state == .backup else { return }
    vips[vip].listening.ask = now + router.interval * 3 / 2
  }

  mutating func listeningTimer(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    if let until = vips[vip].listening.until, until <= now {
      vips[vip].listening.until = nil
      reconsider(vip: vip, at: now, emit)
    }
    guard let ask = vips[vip].listening.ask, ask <= now else { return }
    guard settings.hasWitnesses, let router = vips[vip].router, router.state == .backup else {
      vips[vip].listening.ask = nil
      return
    }
    vips[vip].listening.round += 1
    vips[vip].listening.ask = now + router.interval
    emit(.askWitnesses(vip: vip, round: vips[vip].listening.round))
  }

  mutating func witnessAnswered(vip: Int, round: UInt64, at now: Instant, _ emit: (Effect) -> Void) {
    guard vips.indices.contains(vip) else { return }
    let listening = vips[vip].listening
    // An answer to a question of an earlier silence says nothing of this one.
    guard round >= listening.firstRound, round <= listening.round else { return }
    vips[vip].listening.heard = now
    guard listening.isHeldBack, vips[vip].router?.state == .backup else { return }
    freeClaim(vip: vip, at: now, emit)
    if let due = vips[vip].router?.deadline, due <= now { elect(vip: vip, .timer, at: now, emit) }
  }

  /// Whether a router whose deadline was reached may act on it. A backup that hears nothing at all is held back.
  mutating func mayClaim(vip: Int, at now: Instant, _ emit: (Effect) -> Void) -> Bool {
    guard settings.hasWitnesses, vips[vip].router?.state == .backup, isIsolated(vip, at: now),
      let interval = vips[vip].router?.interval
    else { return true }
    vips[vip].listening.isHeldBack = true
    if vips[vip].listening.ask == nil { vips[vip].listening.ask = now }
    elect(vip: vip, .postpone(until: now + interval), at: now, emit)
    explain(
      vip: vip,
      "isolated: nothing is heard on \(vips[vip].settings.interface), and no witness answers; waiting for one", emit)
    return false
  }

  private func isIsolated(_ vip: Int, at now: Instant) -> Bool {
    guard let router = vips[vip].router else { return false }
    let address = vips[vip]
    var last = address.listening.heard
    for other in [address.segment.flatMap { segments[$0].heard }, hearsay.heard] {
      if let other { last = last.map { max($0, other) } ?? other }
    }
    let quiet = last.map { now - $0 }
    if let quiet, quiet < router.longestSilence { return false }
    return !(hearsay.isUp.contains(true) && (quiet ?? .zero) >= Self.peerLinkProof)
  }

  private mutating func freeClaim(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    vips[vip].listening.isHeldBack = false
    elect(vip: vip, .postpone(until: now), at: now, emit)
  }
}
