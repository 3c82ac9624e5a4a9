/// A node's kernel as far as its addresses go, and the daemon's address thread in front of it.
///
/// The kernel keeps what it was given until it is told otherwise or the lease ends, whatever becomes of the daemon. The
/// thread works off its orders one after the other, some time after they were given, and asks before each whether its
/// generation is over: a renewal that is still queued behind a release must not bring the address back.
struct Kernel {
  struct Order {
    enum Kind { case take, renew, release, announce }
    var kind: Kind
    var vip: Int
    var generation: UInt64
    /// Nanoseconds.
    var lease: Int64?
  }

  /// What an order came to.
  enum Outcome {
    case added(until: Int64?)
    case renewed(until: Int64?)
    case removed
    case announced
    /// The generation was over: nothing was done and nothing is answered.
    case fenced
  }

  struct Address {
    var isPresent = false
    var generation: UInt64 = 0
    /// What the thread believes, and when the kernel will really act: never earlier.
    var until: Int64?
    var expiry: Int64?
    /// Generations up to this one are over.
    var over: UInt64 = 0
  }

  private(set) var addresses: [Address]
  /// Until then the thread is at work on earlier orders.
  private(set) var busyUntil: Int64 = 0

  init(vips: Int) { addresses = Array(repeating: Address(), count: vips) }

  /// From this moment the generation is over.
  mutating func end(_ generation: UInt64, of vip: Int) {
    addresses[vip].over = max(addresses[vip].over, generation)
  }

  /// When the thread will get to an order given now.
  mutating func queue(now: Int64, work: Int64) -> Int64 {
    busyUntil = max(busyUntil, now) + work
    return busyUntil
  }

  mutating func perform(_ order: Order, now: Int64, lateExpiry: Int64) -> Outcome {
    var address = addresses[order.vip]
    defer { addresses[order.vip] = address }
    switch order.kind {
    case .take:
      guard order.generation > address.over else { return .fenced }
      address.isPresent = true
      address.generation = order.generation
      address.until = order.lease.map { now + $0 }
      address.expiry = address.until.map { $0 + lateExpiry }
      return .added(until: address.until)
    case .renew:
      // The clock is read first: what has run out is not brought back, even where the kernel is late to remove it.
      guard order.generation > address.over, address.isPresent, address.generation == order.generation,
        address.until.map({ $0 > now }) ?? true
      else { return .fenced }
      address.until = order.lease.map { now + $0 }
      address.expiry = address.until.map { $0 + lateExpiry }
      return .renewed(until: address.until)
    case .release:
      address.over = max(address.over, order.generation)
      address.isPresent = false
      address.expiry = nil
      return .removed
    case .announce:
      return order.generation > address.over && address.isPresent ? .announced : .fenced
    }
  }

  /// A lease ends, unless it was renewed since. True if the address went.
  mutating func expire(_ vip: Int, now: Int64) -> Bool {
    guard addresses[vip].isPresent, let expiry = addresses[vip].expiry, expiry <= now else { return false }
    addresses[vip].isPresent = false
    addresses[vip].expiry = nil
    addresses[vip].over = max(addresses[vip].over, addresses[vip].generation)
    return true
  }

  /// A daemon starts: what an earlier life left is removed, and generations count from anew.
  mutating func sweep() {
    for vip in addresses.indices { addresses[vip] = Address() }
    busyUntil = 0
  }
}
