import Basis
import CLinux
import Glibc
import Linux

/// The guardian's first thread: keeps the book of charges, erases addresses and keeps them erased, and knows when it all ends.
final class Clerk {
  private struct Errand: Sendable {
    let targets: [AddressEraser.Target]
    let done: @Sendable () -> Void
  }

  private let record: OwnershipRecord
  private let book: ChargeBook
  private let channel: Channel
  private let process: WatchedProcess
  private let releaser: Releaser
  private let reactor: Reactor
  private let errands: Mailbox<Errand>
  private let eraser: AddressEraser
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: GuardianMessage.longest, alignment: 8)
  private let isRealtime: Bool
  private let mayAct: Releaser.Permission
  private var monitor: Reactor.Registration?
  private var nextCheck: Instant?

  init(
    _ record: OwnershipRecord, _ channel: Channel, _ process: WatchedProcess, isRealtime: Bool,
    sign: @escaping GuardianSigner, mayAct: @escaping Releaser.Permission = {}
  ) throws(SystemError) {
    self.isRealtime = isRealtime
    self.mayAct = mayAct
    self.record = record
    self.channel = channel
    self.process = process
    book = ChargeBook(record, sign: sign)
    reactor = try Reactor(batch: 8)
    let errands = try Mailbox<Errand>()
    self.errands = errands
    eraser = try AddressEraser()
    releaser = Releaser(record, book, process, mayAct: mayAct) { targets, done in
      errands.send(Errand(targets: targets, done: done))
    }
  }

  deinit { buffer.deallocate() }

  /// Returns when the daemon is gone and nothing of it is left.
  func run() throws(SystemError) {
    let channel = channel
    var registration: Reactor.Registration?
    registration = try reactor.register(channel.descriptor, .readable) { [unowned self] _ in
      let isOpen = channel.receive(buffer) { receive($0, lent: $1) }
      // The daemon is dying, or has another guardian by now: which it is, the lock and the process tell.
      if !isOpen, let registration { reactor.unregister(registration) }
    }
    try reactor.register(process.descriptor, .readable) { [unowned self] _ in end() }
    try errands.attach(to: reactor) { [unowned self] in perform($0) }
    let (record, book, releaser, isRealtime) = (record, book, releaser, isRealtime)
    // It lives as long as the process; its stack is all that it needs.
    _ = try Thread.start(named: "roost-guardian", stackSize: 256 << 10) {
      if isRealtime { GuardianProcess.becomeRealtime() }
      var watch = Watch(record, book, releaser) { _ = channel.send($0) }
      watch.run()
    }
    _ = channel.send(.ready)
    try reactor.run(deadline: { [unowned self] in nextCheck }, onDeadline: { [unowned self] _ in check() })
  }

  // MARK: What the daemon says

  private func receive(_ message: Result<GuardianMessage, MalformedMessage>, lent: Int32) {
    let lent = lent >= 0 ? Descriptor(owning: lent) : nil
    switch message {
    case .success(.goodbye): end()
    case .success(let message):
      if let error = book.take(message, lent: lent) {
        _ = channel.send(.trouble("farewells can't be sent: \(error)"))
      }
    case .failure: _ = channel.send(.trouble("a message of the daemon could not be read"))
    }
  }

  // MARK: Erasing

  private func perform(_ errand: Errand) {
    mayAct()
    // Before anything is erased: what is added behind it is seen.
    watchAddresses()
    let erased = eraser.erase(errand.targets)
    errand.done()
    let lowered = eraser.lower(errand.targets)
    if let error = erased ?? lowered { _ = channel.send(.trouble("an address could not be removed: \(error)")) }
  }

  /// Until the loop acknowledges, and the address thread says that all is gone: a message of the daemon's that was on the way brings an
  /// address back.
  private func watchAddresses() {
    nextCheck = Clock.now() + Self.checkInterval
    guard monitor == nil else { return }
    do throws(SystemError) {
      let descriptor = try eraser.beginWatching()
      monitor = try reactor.register(descriptor, .readable) { [unowned self] _ in eraseAgain() }
    } catch {
      _ = channel.send(.trouble("addresses can't be watched: \(error)"))
    }
  }

  private func eraseAgain() {
    mayAct()
    let open = book.openTargets
    var back: [AddressEraser.Target] = []
    let isWhole = eraser.readAdded { added in
      if let target = open.first(where: { $0.isSamePlace(as: added) }), !back.contains(target) { back.append(target) }
    }
    let targets = isWhole ? back : open
    if !targets.isEmpty { eraser.erase(targets) }
  }

  private static let checkInterval = Duration.milliseconds(100)

  private func check() {
    guard record.isAcknowledged, book.openTargets.isEmpty else {
      nextCheck = Clock.now() + Self.checkInterval
      return
    }
    nextCheck = nil
    if let monitor { reactor.unregister(monitor) }
    monitor = nil
    eraser.endWatching()
  }

  // MARK: The end

  /// The daemon has said goodbye, or is dead: not one of its threads does anything any more. What it still owned is given up, and
  /// what it may have brought back since then is erased.
  private func end() {
    mayAct()
    // Of one that says goodbye the last notifications may still be under way.
    if process.isDead { record.killPrograms() }
    while true {
      errands.drain { perform($0) }
      let release = releaser.finishAfterDeath { targets, done in
        eraser.erase(targets)
        done()
      }
      if let release {
        if let release { GuardianProcess.complain("\(release)") }
        break
      }
      usleep(20)
    }
    let open = book.openTargets
    if !open.isEmpty {
      eraser.erase(open)
      eraser.lower(open)
    }
    reactor.stop()
  }
}
