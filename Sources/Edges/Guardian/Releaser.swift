import Basis
import Glibc
import Linux
import Synchronization

/// Gives VIPs up in the daemon's place.
///
/// ```
///   daemon stands still ─► its sockets lead nowhere ─► generations deposed ─┬─► addresses erased (the clerk's thread)
///                                                                           └─► … or 2 ms ─► farewells
///                                                     ─► daemon goes on
/// ```
/// The addresses go first, so that nobody answers for them when a peer takes over: with the farewell first, a peer announced the VIP while
/// the old owner's kernel still answered, in 3 of 20 runs. But they go under the kernel's lock of the network configuration, which others
/// hold for 20 ms at times, and nobody at all is no better than two: so another thread erases, and the farewell waits for it only
/// as long as a `headStart`.
final class Releaser: Sendable {
  private let record: OwnershipRecord
  private let book: ChargeBook
  private let process: WatchedProcess
  /// One release at a time: two threads may learn of the same death. In it: the last one.
  private let lock = Mutex<Release?>(nil)
  /// Has the clerk erase, and calls back from its thread.
  private let erase: Erase
  /// Asked before each deed, because this process may have been stopped for any time before it.
  let mayAct: Permission

  /// Doesn't return where another guardian is in this one's place.
  typealias Permission = @Sendable () -> Void
  typealias Erase = @Sendable ([AddressEraser.Target], _ done: @escaping @Sendable () -> Void) -> Void
  typealias OwnErase = ([AddressEraser.Target], _ done: @escaping @Sendable () -> Void) -> Void

  init(
    _ record: OwnershipRecord, _ book: ChargeBook, _ process: WatchedProcess, mayAct: @escaping Permission = {},
    erase: @escaping Erase
  ) {
    self.mayAct = mayAct
    self.record = record
    self.book = book
    self.process = process
    self.erase = erase
  }

  struct Outcome: Sendable {
    var release: Release
    var error: SystemError?
  }

  /// The loop's thread is dead, or the whole process is.
  func releaseAfterDeath() -> Outcome? {
    lock.withLock { last in
      let outcome = releaseAll(erasing: erase, waiting: false)
      if let outcome { last = outcome.release }
      return outcome
    }
  }

  /// The same for the clerk, whose erasing is its own. Nil where another thread is about it: see to its errand, and ask again.
  /// - Returns: the release of this death, whoever did it.
  func finishAfterDeath(erasing erase: OwnErase) -> Release?? {
    lock.withLockIfAvailable { last in
      if let outcome = releaseAll(erasing: erase, waiting: true) { last = outcome.release }
      return last?.cause == .death ? last : nil
    }
  }

  private func releaseAll(erasing erase: OwnErase, waiting: Bool) -> Outcome? {
    mayAct()
    let noticed = OwnershipRecord.now()
    let (vips, leftovers) = (book.owned { _ in true }, book.leftovers { _ in true })
    guard !vips.isEmpty || !leftovers.isEmpty else { return nil }
    return release(
      vips, leftovers, .death, silence: noticed - record.lastBeat, noticed, erasing: erase, waiting: waiting)
  }

  /// The daemon lives, but its loop, or its workers, don't.
  /// - Parameters:
  ///   - vips: those to give up.
  ///   - leftovers: those that the loop has ended, and of which something may be there.
  ///   - hasRecovered: asked when the daemon stands still; where it is true, nothing happens.
  func releaseAlive(
    _ vips: [Int], _ leftovers: [Int], _ cause: Release.Cause, silence: Duration, unless hasRecovered: () -> Bool
  ) -> Outcome? {
    lock.withLock { _ in
      let noticed = OwnershipRecord.now()
      mayAct()
      var isHeld = process.hold(record.loopThread, within: Self.longestStop)
      defer { if isHeld { process.letGo() } }
      guard !hasRecovered() else { return nil }
      // Whoever had stopped it may have continued it since.
      if !isHeld { isHeld = process.hold(record.loopThread, within: Self.longestStop) }
      if !vips.isEmpty { book.divertLent() }
      return release(vips, leftovers, cause, silence: silence, noticed, erasing: erase, waiting: true)
    }
  }

  /// For a thread of the daemon that waits in the kernel. What it does when it comes out is undone: the clerk watches.
  private static let longestStop = Duration.milliseconds(5)
  private static let headStart = Duration.milliseconds(2)
  /// The daemon stands still until the addresses are gone, but not for ever.
  private static let longestErasure = Duration.milliseconds(200)

  private func release(
    _ vips: [Int], _ leftovers: [Int], _ cause: Release.Cause, silence: Duration, _ noticed: Instant,
    erasing erase: OwnErase, waiting: Bool
  ) -> Outcome {
    // Before, too: should this process die in between, the loop looks at what was deposed all the same.
    if !vips.isEmpty { record.bumpEpoch() }
    for vip in vips { _ = record.depose(vip) }
    record.killPrograms(claiming: vips + leftovers)
    if !vips.isEmpty { record.bumpEpoch() }
    let targets = book.targets(vips + leftovers)
    book.willErase(vips + leftovers)
    let erased = Moment()
    erase(targets) { erased.set(OwnershipRecord.now()) }
    var gone = erased.wait(for: Self.headStart)
    let error = book.sayFarewell(vips)
    let said = OwnershipRecord.now()
    if waiting, gone == nil { gone = erased.wait(for: Self.longestErasure) }
    return Outcome(
      release: Release(
        cause: cause, vips: vips.count, leftovers: leftovers.count, silence: silence, farewell: said - noticed,
        erased: gone.map { $0 - noticed }),
      error: error)
  }
}

/// When something happened, perhaps on another thread.
private final class Moment: Sendable {
  private let instant = Mutex<Instant?>(nil)

  func set(_ value: Instant) { instant.withLock { $0 = value } }

  func wait(for limit: Duration) -> Instant? {
    let end = OwnershipRecord.now() + limit
    while true {
      if let value = instant.withLock({ $0 }) { return value }
      guard OwnershipRecord.now() < end else { return nil }
      usleep(20)
    }
  }
}
