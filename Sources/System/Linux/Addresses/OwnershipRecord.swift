import Basis
import Glibc
import Synchronization

/// Who may touch a VIP's addresses, as numbers in memory that threads share.
///
/// RTM_NEWADDR on an address that is gone makes it anew, so a renewal that is still on its way behind a removal would make two
/// owners. Hence each ownership has a generation, and whoever is about to add, renew or put back an address reads the record
/// last. The loop writes it at the moment it decides, not when a queue is worked off.
///
/// ```
///   granted    the generation that was last taken        0: never
///   revoked    every generation up to this one is over
///   until      when the kernel takes the addresses away unless they are renewed
/// ```
public final class OwnershipRecord: Sendable {
  /// One VIP's part: a cache line, so that VIPs don't disturb one another.
  private static let stride = 64
  private enum Field: Int {
    case granted = 0, revoked = 8, until = 16
  }

  /// How many VIPs fit.
  public let capacity: Int

  // Mapped until deinit, and only read and written through atomics.
  nonisolated(unsafe) private let base: UnsafeMutableRawPointer

  /// A record in which nothing is owned.
  public init(capacity: Int) throws(SystemError) {
    self.capacity = max(1, capacity)
    // Zeroed by the kernel, and aligned to a page.
    guard
      let base = mmap(
        nil, self.capacity * Self.stride, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
      base != MAP_FAILED
    else { throw .last("mmap", "the ownership record") }
    self.base = base
  }

  deinit { munmap(base, capacity * Self.stride) }

  /// From now on this generation owns the VIP. Generations of a VIP grow.
  public func grant(_ vip: Int, generation: UInt64) {
    word(vip, .until) { $0.store(0, ordering: .relaxed) }
    word(vip, .granted) { $0.store(generation, ordering: .sequentiallyConsistent) }
  }

  /// From now on no generation up to this one may add, renew or put back anything.
  public func revoke(_ vip: Int, generation: UInt64) {
    _ = word(vip, .revoked) { $0.max(generation, ordering: .sequentiallyConsistent) }
  }

  /// Whether that generation owns the VIP at this moment.
  public func holds(_ vip: Int, generation: UInt64) -> Bool {
    generation > 0
      && word(vip, .granted) { $0.load(ordering: .sequentiallyConsistent) } == generation
      && word(vip, .revoked) { $0.load(ordering: .sequentiallyConsistent) } < generation
  }

  /// The generation that owns the VIP, nil where none does.
  public func owner(_ vip: Int) -> UInt64? {
    let generation = word(vip, .granted) { $0.load(ordering: .sequentiallyConsistent) }
    return holds(vip, generation: generation) ? generation : nil
  }

  /// When the kernel takes the addresses of the VIP away by itself. Nil: never, or they are on no interface yet.
  public func leaseEnd(_ vip: Int) -> Instant? {
    let nanoseconds = word(vip, .until) { $0.load(ordering: .acquiring) }
    return nanoseconds == 0 ? nil : Instant(nanoseconds: Int64(bitPattern: nanoseconds))
  }

  func setLeaseEnd(_ vip: Int, _ end: Instant?) {
    word(vip, .until) { $0.store(UInt64(bitPattern: end?.nanoseconds ?? 0), ordering: .releasing) }
  }

  private func word<Result>(_ vip: Int, _ field: Field, _ body: (borrowing Atomic<UInt64>) -> Result) -> Result {
    precondition(0..<capacity ~= vip, "a VIP's number must be below the record's capacity")
    let address = base + vip * Self.stride + field.rawValue
    return body(address.assumingMemoryBound(to: Atomic<UInt64>.self).pointee)
  }
}
