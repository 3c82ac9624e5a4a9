import Basis
import Glibc
import Linux

/// The guardian's thread that waits for the loop's end: for its lock of life to be given away by the kernel, or for its beat to stay out.
struct Watch {
  let record: OwnershipRecord
  let book: ChargeBook
  let releaser: Releaser
  let tell: @Sendable (GuardianMessage) -> Void
  private var vigil = Vigil(from: OwnershipRecord.now())
  private var spin: SpinWatch

  /// The longest sleep. By it the guardian's own beat comes, and a loop that spins is noticed.
  private static let longestSleep = Duration.milliseconds(100)
  /// Each worker turns ten times a second. The loop withdraws by itself after one second; this is for a loop that doesn't.
  private static let workersPatience = Duration.seconds(3)

  init(
    _ record: OwnershipRecord, _ book: ChargeBook, _ releaser: Releaser,
    tell: @escaping @Sendable (GuardianMessage) -> Void
  ) {
    self.record = record
    self.book = book
    self.releaser = releaser
    self.tell = tell
    spin = SpinWatch(process: record.process, thread: record.loopThread)
  }

  /// Returns when the loop's thread is gone.
  mutating func run() {
    while true {
      record.guardianBeat()
      let planned = nextLook(OwnershipRecord.now())
      switch record.awaitDeath(until: planned) {
      case .died:
        releaser.mayAct()
        record.killPrograms()
        report(releaser.releaseAfterDeath())
        return
      case .ended: return
      case .lives: look(planned)
      }
    }
  }

  private func nextLook(_ now: Instant) -> Instant {
    let (present, any) = book.patience
    // What is taken while this sleeps is known at the next look: no later than the most impatient VIP could want it.
    let soon = now + min(any ?? Self.longestSleep, Self.longestSleep)
    guard let present else { return soon }
    return min(soon, vigil.silence(since: record.lastBeat) + present)
  }

  private mutating func look(_ planned: Instant) {
    let now = OwnershipRecord.now()
    if let burnt = spin.look(at: now) { tell(.demoted(burnt)) }
    guard let patience = book.patience.present else { return lookAtWorkers() }
    let beat = record.lastBeat
    switch vigil.judge(beat: beat, patience: patience, planned: planned, at: now) {
    case .alive: lookAtWorkers()
    case .waiting: break  // `nextLook` knows until when
    case .silent(let since): giveUp(silentSince: since, beat: beat)
    }
  }

  private mutating func giveUp(silentSince since: Instant, beat: Instant) {
    let silence = OwnershipRecord.now() - since
    // Each for itself: a VIP with slow adverts stays where it is through a stall that its peers don't notice.
    let isConcerned = { @Sendable (charge: Charge) in charge.patience.map { silence >= $0 } ?? false }
    let (vips, leftovers) = (book.owned(isConcerned), book.leftovers(isConcerned))
    guard !vips.isEmpty || !leftovers.isEmpty else { return }
    let record = record
    let outcome = releaser.releaseAlive(vips, leftovers, .silence, silence: silence) { record.lastBeat != beat }
    if outcome == nil { vigil.begin(at: OwnershipRecord.now()) }
    report(outcome)
  }

  /// The loop turns, and says itself that not all workers do.
  private func lookAtWorkers() {
    let silence = record.lastBeat - record.lastWorkersBeat
    guard silence >= Self.workersPatience else { return }
    let vips = book.owned(\.hasServices)
    guard !vips.isEmpty else { return }
    let record = record
    report(
      releaser.releaseAlive(vips, [], .workers, silence: silence) {
        record.lastBeat - record.lastWorkersBeat < Self.workersPatience
      })
  }

  private func report(_ outcome: Releaser.Outcome?) {
    guard let outcome else { return }
    tell(.released(outcome.release))
    if let error = outcome.error { tell(.trouble("a farewell could not be sent: \(error)")) }
  }
}
