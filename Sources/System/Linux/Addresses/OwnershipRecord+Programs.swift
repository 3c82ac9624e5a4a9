import Basis
import Glibc
import Synchronization

/// The programs that the daemon runs: trackers, hooks, notifications. Each is the leader of a session and a process group of its own.
///
/// The kernel kills the leader when the daemon dies, but nothing that the leader has started. So the guardian does, by the numbers that are
/// written down here; and it ends a `before-announcing` with the ownership that it was for, should the daemon stand still then: what that one
/// attaches elsewhere must not be taken back from the next owner. A group's number is taken out before its leader is reaped, for after that it
/// may be another's.
extension OwnershipRecord {
  /// As many places as fit behind the signs of life: one program for each VIP, and some trackers and notifications.
  static let programPlaces = 320
  private static let programs = 1024

  /// A program runs from now on. Safe from any thread.
  /// - Parameter vip: whose claim it makes for this node; nil for all else.
  /// - Returns: its place; nil where none is free.
  public func enter(program leader: Int32, claiming vip: Int? = nil) -> Int? {
    let word = UInt64(UInt32(bitPattern: leader)) | UInt64(vip.map { $0 + 1 } ?? 0) << 32
    for place in 0..<Self.programPlaces
    where program(
      place, { $0.compareExchange(expected: 0, desired: word, ordering: .sequentiallyConsistent).exchanged })
    {
      return place
    }
    return nil
  }

  /// It has ended; its number is still its own.
  public func leave(_ place: Int?) {
    if let place { program(place) { $0.store(0, ordering: .sequentiallyConsistent) } }
  }

  /// Kills every one with its group: the daemon is dead.
  public func killPrograms() { killPrograms { _ in true } }

  /// Kills those that make a claim on one of the VIPs.
  public func killPrograms(claiming vips: [Int]) { killPrograms { vip in vip.map(vips.contains) ?? false } }

  private func killPrograms(where isOver: (Int?) -> Bool) {
    for place in 0..<Self.programPlaces {
      let word = program(place) { $0.load(ordering: .sequentiallyConsistent) }
      let (leader, vip) = (Int32(truncatingIfNeeded: word), Int(word >> 32))
      guard leader > 1, isOver(vip == 0 ? nil : vip - 1) else { continue }
      kill(-leader, SIGKILL)
    }
  }

  private func program<Result>(_ place: Int, _ body: (borrowing Atomic<UInt64>) -> Result) -> Result {
    let address = base + Self.programs + place * MemoryLayout<UInt64>.stride
    return body(address.assumingMemoryBound(to: Atomic<UInt64>.self).pointee)
  }
}

/// Where the programs that this process runs are written down; nowhere, in one that has no guardian.
public final class RunningPrograms: Sendable {
  public static let shared = RunningPrograms()
  private let record = Mutex<OwnershipRecord?>(nil)

  private init() {}

  /// From now on there.
  public func keep(in record: OwnershipRecord) { self.record.withLock { $0 = record } }

  /// One that was written down.
  public struct Entry: Sendable {
    fileprivate let record: OwnershipRecord?
    fileprivate let place: Int?

    /// It has ended, and is not reaped yet.
    public func leave() { record?.leave(place) }
  }

  public func enter(_ leader: Int32, claiming vip: Int? = nil) -> Entry {
    let record = record.withLock { $0 }
    return Entry(record: record, place: record?.enter(program: leader, claiming: vip))
  }
}
