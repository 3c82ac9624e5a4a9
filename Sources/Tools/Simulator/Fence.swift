/// One VIP on one node, as three parties see it: the record that daemon and guardian share, the address thread, and the kernel.
///
/// Two owners would come from here. RTM_NEWADDR on an address that is gone makes it anew, and between reading that one may and
/// telling the kernel anything can happen: the process is stopped, the guardian ends the ownership, the lease runs out, another
/// program removes the address. So each step is by itself, and whoever drives this puts them in any order: `World` as time and
/// the seed have it, `Interleavings` in every order there is.
struct Place: Hashable {
  // The record.
  var granted: UInt64 = 0
  /// Every generation up to this one is over.
  var revoked: UInt64 = 0
  /// The last generation that the guardian ended, and the last of these that the loop knows of.
  var deposed: UInt64 = 0
  var acknowledged: UInt64 = 0
  // The address thread: the generation whose addresses it believes to be there, 0 for none, and until when.
  var held: UInt64 = 0
  var until: Int64?
  // The kernel: whether the address is there, and when the kernel takes it away by itself.
  var isPresent = false
  var expiry: Int64?

  /// Whether that generation owns the VIP now.
  func isOwner(_ generation: UInt64) -> Bool { generation > 0 && granted == generation && revoked < generation }

  /// The generation that was ended without the loop's knowledge.
  var unacknowledged: UInt64? { deposed > acknowledged ? deposed : nil }
}

/// What the address thread is told, or decides by itself.
struct Order: Hashable {
  enum Kind { case take, renew, release, announce, putBack }
  var kind: Kind
  var vip: Int
  var generation: UInt64
  /// Nanoseconds.
  var lease: Int64?
  /// Whether the neighbours are told as soon as the address is there.
  var announces = true
  /// How long the kernel is at it, nanoseconds.
  var work: Int64 = 0
  /// When the record and the clock were read for it; nil before that.
  var read: Int64?
  /// The kernel has it.
  var isSent = false
}

/// What a message to the kernel came to.
enum MessageOutcome: Hashable {
  case added(until: Int64?)
  case renewed(until: Int64?)
  case removed
  case announced
  case putBack
  /// Of no consequence: a later ownership has begun.
  case ignored
}

/// What the address thread finds when it compares what is there with what should be.
enum Discrepancy: Hashable {
  /// Ownership is over, by the guardian's hand or by a `release` that is on its way.
  case revoked
  case expired
  /// Another program removed it.
  case missing
  /// It is there and nobody here owns it.
  case stray
}

extension Place {
  /// What the kernel's check of lifetimes may be early by.
  static let expiryTolerance: Int64 = 50_000_000

  // MARK: The loop

  mutating func grant(_ generation: UInt64) { granted = generation }
  mutating func revoke(_ generation: UInt64) { revoked = max(revoked, generation) }

  // MARK: The guardian

  /// Ends the ownership, whatever the loop thinks of it. False where nobody owned.
  mutating func depose() -> Bool {
    guard isOwner(granted) else { return false }
    revoke(granted)
    deposed = granted
    return true
  }

  /// RTM_DELADDR by anybody but the address thread.
  mutating func removeFromOutside() {
    isPresent = false
    expiry = nil
  }

  // MARK: The address thread, before its message

  /// The fence: whether the order may still be carried out.
  func allows(_ order: Order, at now: Int64, isFenced: Bool = true) -> Bool {
    guard isFenced else { return order.kind != .putBack || !isPresent }
    let isCurrent = held == order.generation && isOwner(order.generation)
    switch order.kind {
    case .take: return isOwner(order.generation)
    case .renew, .announce: return isCurrent && until.map { $0 > now } ?? true
    case .putBack: return isCurrent && !isPresent && until.map { $0 - Self.expiryTolerance > now } ?? true
    case .release: return held <= order.generation
    }
  }

  // MARK: The address thread's message, and what it makes of the answer

  /// - Parameter late: how late the kernel will be to end the lease, nanoseconds.
  mutating func perform(_ order: Order, at now: Int64, late: Int64) -> MessageOutcome {
    let read = order.read ?? now
    switch order.kind {
    case .take, .renew:
      isPresent = true
      expiry = order.lease.map { now + $0 + late }
      if order.kind == .renew, held != order.generation { return .ignored }
      held = order.generation
      // Counted from before the message, so that it is never later than the kernel's own end.
      until = order.lease.map { read + $0 }
      return order.kind == .take ? .added(until: until) : .renewed(until: until)
    case .release:
      if held > order.generation { return .ignored }
      forget()
      return .removed
    case .announce: return isPresent ? .announced : .ignored
    case .putBack:
      isPresent = true
      // What remains of the lease, in the kernel's whole seconds.
      expiry = until.map { now + max(1_000_000_000, ($0 - read) / 1_000_000_000 * 1_000_000_000) + late }
      return .putBack
    }
  }

  // MARK: The address thread, when the kernel told it of a change or its lease's end has come

  func discrepancy(at now: Int64, isFenced: Bool = true) -> Discrepancy? {
    if held == 0 { return isPresent && isFenced ? .stray : nil }
    if isFenced, !isOwner(held) { return .revoked }
    if isFenced, let until, until <= now { return .expired }
    if isPresent { return nil }
    // What the kernel itself took away is over; the fence is what tells that from a theft.
    if isFenced, let until, until - Self.expiryTolerance <= now { return .expired }
    return .missing
  }

  /// The VIP is lost: removes what may be left of it.
  mutating func forget() {
    held = 0
    until = nil
    isPresent = false
    expiry = nil
  }

  // MARK: The kernel

  /// A lease ends, unless it was renewed since. True if the address went.
  mutating func expire(at now: Int64) -> Bool {
    guard isPresent, let expiry, expiry <= now else { return false }
    removeFromOutside()
    return true
  }
}
