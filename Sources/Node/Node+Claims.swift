import Basis
import VRRP
import Wire

// Somebody else announces an address of a VIP that this node owns: a machine with the same address, a forger, or a node that
// doesn't hear our adverts. The neighbours believe whoever spoke last, so the owner speaks again.
//
// RFC 5227 §2.4 leaves a host three ways, and an owner takes (c): it keeps the address and defends it, but paced, because two that
// defend the same address answer each other for ever. Its ten seconds between two defences suit a host that may well lose its address; a VIP
// would belong to the other for ten seconds each time. So:
// - an answer comes 5 ms after the claim: one that belongs to an election (a new owner's first announcement travels with its
//   advert) finds that this node is no longer the owner by then;
// - the last claim is always answered, after a pause where there was an answer just before: at most four answers an interval, and fifty a second;
// - a conflict that has gone on for ten seconds is not settled by haste: four answers a second from there on, until it has been quiet for ten.

/// When a foreign claim is answered.
struct Defence: Sendable {
  static let delay = Duration.milliseconds(5)
  static let leastPause = Duration.milliseconds(20)
  static let longPause = Duration.milliseconds(250)
  /// DEFEND_INTERVAL (RFC 5227 §1.1).
  static let patience = Duration.seconds(10)

  private(set) var due: Instant?
  private var began: Instant?
  private var lastClaim: Instant?
  private var lastAnswer: Instant?
  private var said: MACAddress?
  private var sayFrom: Instant?

  mutating func claimed(at now: Instant, interval: Duration) {
    if let lastClaim, now - lastClaim < Self.patience {} else { began = now }
    lastClaim = now
    guard due == nil else { return }
    let isLong = began.map { now - $0 >= Self.patience } ?? false
    let pause = isLong ? Self.longPause : max(interval / 4, Self.leastPause)
    let earliest = now + Self.delay
    due = lastAnswer.map { max(earliest, $0 + pause) } ?? earliest
  }

  mutating func answered(at now: Instant) {
    due = nil
    lastAnswer = now
  }

  mutating func forget() { due = nil }

  /// Each claimant is worth one line, and many that take turns one in ten seconds.
  mutating func isWorthSaying(_ mac: MACAddress, at now: Instant) -> Bool {
    if said == mac { return false }
    if let sayFrom, now < sayFrom { return false }
    said = mac
    sayFrom = now + Self.patience
    return true
  }
}

extension Node {
  mutating func claimed(
    _ address: IPAddress, by mac: MACAddress, vip: Int, at now: Instant, _ emit: (Effect) -> Void
  ) {
    guard vips[vip].isHeld, vips[vip].settings.addresses.contains(address) else { return }
    // While connections end because another node took over, the claim is that node's, and right.
    if case .closing(_, _, _, leaving: false) = vips[vip].holding { return }
    vips[vip].defence.claimed(at: now, interval: vips[vip].machine.interval)
    if vips[vip].defence.isWorthSaying(mac, at: now) { emit(.report(.claimed(address, by: mac, vip: vip))) }
  }

  mutating func defend(vip: Int, at now: Instant, _ emit: (Effect) -> Void) {
    vips[vip].defence.answered(at: now)
    announce(vip: vip, emit)
  }
}
