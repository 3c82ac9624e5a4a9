import Basis
import CLinux
import Glibc
import Synchronization

/// Who may touch a VIP's addresses, as numbers in memory that threads and the guardian's process share.
///
/// RTM_NEWADDR on an address that is gone makes it anew, so a renewal that is still on its way behind a removal would make two
/// owners. Hence each ownership has a generation, and whoever is about to add, renew or put back an address reads the record
/// last. The loop writes it at the moment it decides, not when a queue is worked off; the guardian, at the moment it finds the
/// loop dead or stuck.
///
/// ```
///   granted       the generation that was last taken        0: never
///   revoked       every generation up to this one is over
///   until         when the kernel takes the addresses away unless they are renewed
///   deposed       the last generation that the guardian ended
///   acknowledged  the last of these that the loop knows of; until it does, the guardian keeps the addresses away
///   signed        the sequence of the last signed advert, which the guardian's has to follow
///   gone          of every generation up to this one nothing is left, and nothing will come: the address thread's word
/// ```
/// That an ownership is over says nothing of the addresses: they are there until the address thread has removed them, and a renewal that
/// it gave to the kernel before may bring them once more. Hence `gone`; until it is there, whoever survives the daemon removes them.
///
/// Beside the VIPs it holds the signs of life of both processes (`OwnershipRecord+Life.swift`), and which programs the daemon runs
/// (`OwnershipRecord+Programs.swift`).
public final class OwnershipRecord: Sendable {
  /// How many VIPs fit.
  public static let maximumCapacity = 1024
  /// One VIP's part: a cache line, so that VIPs don't disturb one another. The signs of life have a page before them.
  private static let stride = 64
  private static let head = 4096
  private static let magic: UInt64 = 0x526F_6F73_7452_6563  // "RoostRec"
  private static let version: UInt64 = 3

  private enum Field: Int {
    case granted = 0, revoked = 8, until = 16, deposed = 24, acknowledged = 32, signed = 40, gone = 48
  }

  /// Each in a cache line of its own: different threads write them.
  enum Sign: Int {
    case magic = 0, version = 8, capacity = 16
    case beat = 64, turns = 72
    case workersBeat = 128
    case epoch = 192
    case guardianBeat = 256, guardianProcess = 264
    case loopThread = 320, process = 328
    case life = 384
  }

  /// How many VIPs fit.
  public let capacity: Int
  /// A sealed file in memory, for the other process. It stays this record's.
  public var descriptor: Int32 { file.rawValue }

  private let file: Descriptor
  // Mapped until deinit, and only read and written through atomics and the lock's own functions.
  nonisolated(unsafe) let base: UnsafeMutableRawPointer

  private static func size(_ capacity: Int) -> Int { head + capacity * stride }

  /// A record in which nothing is owned.
  public init(capacity: Int) throws(SystemError) {
    let capacity = min(max(1, capacity), Self.maximumCapacity)
    self.capacity = capacity
    // Zeroed by the kernel.
    file = Descriptor(
      owning: try SystemError.check("memfd_create", "the ownership record") {
        clinux_shared_memory("roost-ownership", Self.size(capacity))
      })
    base = try Self.map(file.rawValue, capacity)
    sign(.version) { $0.store(Self.version, ordering: .relaxed) }
    sign(.capacity) { $0.store(UInt64(capacity), ordering: .relaxed) }
    sign(.process) { $0.store(UInt64(getpid()), ordering: .relaxed) }
    let code = clinux_life_make(base + Sign.life.rawValue)
    guard code == 0 else { throw SystemError(call: "pthread_mutex_init", code: code, subject: "the ownership record") }
    sign(.magic) { $0.store(Self.magic, ordering: .releasing) }
  }

  /// The record of another process, by its descriptor, which this takes over. EPROTO where it is none, or of another version.
  public init(sharing descriptor: consuming Descriptor) throws(SystemError) {
    let wrong = SystemError(call: "mmap", code: EPROTO, subject: "the ownership record")
    let number = descriptor.rawValue
    file = descriptor
    var status = stat()
    guard fstat(number, &status) == 0 else { throw .last("fstat", "the ownership record") }
    let capacity = (Int(status.st_size) - Self.head) / Self.stride
    guard 1...Self.maximumCapacity ~= capacity, clinux_is_shared_memory(number, Self.size(capacity)) == 1 else {
      throw wrong
    }
    self.capacity = capacity
    base = try Self.map(number, capacity)
    guard sign(.magic, { $0.load(ordering: .acquiring) }) == Self.magic,
      sign(.version, { $0.load(ordering: .relaxed) }) == Self.version,
      sign(.capacity, { $0.load(ordering: .relaxed) }) == UInt64(capacity)
    else { throw wrong }
  }

  deinit { munmap(base, Self.size(capacity)) }

  private static func map(_ descriptor: Int32, _ capacity: Int) throws(SystemError) -> UnsafeMutableRawPointer {
    guard let base = mmap(nil, size(capacity), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0), base != MAP_FAILED
    else { throw .last("mmap", "the ownership record") }
    return base
  }

  // MARK: Ownership

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

  /// The generation that was taken last, whether it still owns the VIP or not; 0: none ever.
  public func lastGranted(_ vip: Int) -> UInt64 { word(vip, .granted) { $0.load(ordering: .sequentiallyConsistent) } }

  /// Nothing is left of any generation up to this one, and nothing of them is on its way to the kernel. For whoever puts addresses on
  /// interfaces, after the kernel has answered.
  public func setGone(_ vip: Int, upTo generation: UInt64) {
    _ = word(vip, .gone) { $0.max(generation, ordering: .sequentiallyConsistent) }
  }

  /// Whether addresses of that generation may be on an interface, or come to be, whether it owns the VIP or not.
  public func mayBePresent(_ vip: Int, generation: UInt64) -> Bool {
    word(vip, .gone) { $0.load(ordering: .sequentiallyConsistent) } < generation
  }

  /// The generation of which something may be left although nobody owns the VIP; nil where there is none.
  public func leftover(_ vip: Int) -> UInt64? {
    let generation = lastGranted(vip)
    return mayBePresent(vip, generation: generation) && !holds(vip, generation: generation) ? generation : nil
  }

  /// When the kernel takes the addresses of the VIP away by itself. Nil: never, or they are on no interface yet.
  public func leaseEnd(_ vip: Int) -> Instant? {
    let nanoseconds = word(vip, .until) { $0.load(ordering: .acquiring) }
    return nanoseconds == 0 ? nil : Instant(nanoseconds: Int64(bitPattern: nanoseconds))
  }

  /// That generation owns the VIP already, by the word of the process whose place this one takes.
  public func adopt(_ vip: Int, generation: UInt64, until: Instant?) {
    grant(vip, generation: generation)
    setLeaseEnd(vip, until)
  }

  /// The other way round: another process owns the VIP from now on, and what is on the interface is that one's. No generation of this record
  /// may touch it any more, nor may whoever clears up behind it.
  public func cede(_ vip: Int) {
    let generation = lastGranted(vip)
    // In this order: what is over and not gone is a leftover, to be erased.
    setGone(vip, upTo: generation)
    revoke(vip, generation: generation)
  }

  func setLeaseEnd(_ vip: Int, _ end: Instant?) {
    word(vip, .until) { $0.store(UInt64(bitPattern: end?.nanoseconds ?? 0), ordering: .releasing) }
  }

  // MARK: Deposing

  /// Ends the ownership of the VIP, whatever the loop thinks of it, and gives the generation; nil where nobody owned it.
  /// Tell the loop by `bumpEpoch` when all are done.
  public func depose(_ vip: Int) -> UInt64? {
    guard let generation = owner(vip) else { return nil }
    revoke(vip, generation: generation)
    word(vip, .deposed) { $0.store(generation, ordering: .sequentiallyConsistent) }
    return generation
  }

  /// The generation that was ended without the loop's knowledge; nil where there is none.
  public func deposed(_ vip: Int) -> UInt64? {
    let generation = word(vip, .deposed) { $0.load(ordering: .sequentiallyConsistent) }
    return generation > word(vip, .acknowledged) { $0.load(ordering: .sequentiallyConsistent) } ? generation : nil
  }

  /// The loop knows that this generation is over.
  public func acknowledge(_ vip: Int, generation: UInt64) {
    word(vip, .acknowledged) { $0.store(generation, ordering: .sequentiallyConsistent) }
  }

  /// Whether the loop has acknowledged all that was deposed.
  public var isAcknowledged: Bool { (0..<capacity).allSatisfy { deposed($0) == nil } }

  // MARK: Signing

  /// The sequence of the last advert that was signed for the VIP, whatever it means to who signs; 0 before the first.
  public func lastSigned(_ vip: Int) -> UInt64 { word(vip, .signed) { $0.load(ordering: .relaxed) } }
  public func setLastSigned(_ vip: Int, _ sequence: UInt64) {
    word(vip, .signed) { $0.store(sequence, ordering: .relaxed) }
  }

  // MARK: Words

  private func word<Result>(_ vip: Int, _ field: Field, _ body: (borrowing Atomic<UInt64>) -> Result) -> Result {
    precondition(0..<capacity ~= vip, "a VIP's number must be below the record's capacity")
    let address = base + Self.head + vip * Self.stride + field.rawValue
    return body(address.assumingMemoryBound(to: Atomic<UInt64>.self).pointee)
  }

  func sign<Result>(_ sign: Sign, _ body: (borrowing Atomic<UInt64>) -> Result) -> Result {
    body((base + sign.rawValue).assumingMemoryBound(to: Atomic<UInt64>.self).pointee)
  }
}
