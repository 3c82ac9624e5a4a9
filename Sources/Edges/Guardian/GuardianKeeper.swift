import Basis
import CLinux
import Glibc
import Linux
import Wire

/// The daemon's side of the guardian: starts it, tells it what it has to know, starts another when it dies, and lets it go at the end.
///
/// It belongs to the loop's thread, and never waits there: what the guardian doesn't take at once it is told a turn later.
/// ```
///   before any thread: init, start          the loop: attach, then charge and lend, and turned() once a turn
///   the end: goodbye, which waits until the guardian is gone
/// ```
public final class GuardianKeeper {
  public enum Report: Sendable, Hashable {
    /// The guardian watches: the first, or one after another died.
    case watches(pid: Int32)
    /// It has not turned for that long though this loop has, and is killed; another one follows.
    case hung(pid: Int32, silence: Duration)
    /// A guardian of an earlier life was in the way, stopped or hung: killed, if that is its number, or out of office in any case.
    case dismissed(pid: Int32?)
    /// It is gone, and not because it was let go. Another is started after that time.
    case died(pid: Int32, again: Duration)
    case notStarted(SystemError, again: Duration)
    /// While the loop stood still.
    case released(Release)
    /// The loop used so much processor time without a pause that its real-time priority was taken away.
    case demoted(Duration)
    case trouble(String)
  }

  /// How a guardian is started.
  public struct Command: Sendable {
    /// The running binary itself, even where it was replaced on the disk meanwhile.
    public var program = "/proc/self/exe"
    public var arguments: [String]
    /// The file that it locks for as long as it watches.
    public var pidFile: String?

    public init(arguments: [String], pidFile: String? = nil) {
      self.arguments = arguments
      self.pidFile = pidFile
    }
  }

  /// A guardian that was started.
  private struct Running: Sendable {
    let pid: Int32
    let handle: Int32
    let channel: Channel
    /// Kept open: the kernel tells whoever has it of the guardian's death.
    let lifeline: Lifeline
    let started: Instant
    /// It said that it watches.
    var isReady = false
    var isHung = false
  }

  /// How the guardian is.
  public enum Condition: Sendable, Hashable {
    case watching(pid: Int32)
    /// It does not watch yet.
    case starting
    /// It does not turn, and is killed.
    case hung(pid: Int32)
    /// Another one is started after that time.
    case none(again: Duration)
  }

  /// From other threads.
  private enum News: Sendable {
    case started(Running)
    case notStarted(SystemError)
    case dismissed(GuardianFile.Dismissal?)
  }

  private let record: OwnershipRecord
  private let command: Command
  /// This process, for the guardian to watch.
  private let own: Descriptor
  private var running: Running?
  private var registrations: [Reactor.Registration] = []
  private var reactor: Reactor?
  private var report: (Report) -> Void = { _ in }
  private var doElsewhere: (@escaping @Sendable () -> Void) -> Bool = { _ in false }
  private let news: Mailbox<News>
  private var pulse = Pulse()
  /// When it is looked whether another guardian is in the way.
  private var nextDismissal: Instant?
  private var startAgain: Instant?
  private var pause = GuardianKeeper.firstPause
  private static let firstPause = Duration.milliseconds(50)
  private static let longestPause = Duration.seconds(30)

  /// By the VIP's number in the record.
  private var charges: [Charge?]
  private var untold: [Bool]
  private var sockets: [GuardianMessage.Route: VRRPSocket] = [:]
  private var untoldSockets: [GuardianMessage.Route] = []
  private var hasUntold = false
  /// How many messages the guardian was told, to see that it is told nothing twice.
  private(set) var told: UInt64 = 0
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: GuardianMessage.longest, alignment: 8)

  public init(_ record: OwnershipRecord, _ command: Command) throws(SystemError) {
    self.record = record
    self.command = command
    own = Descriptor(owning: try SystemError.check("pidfd_open") { clinux_pidfd_open(getpid()) })
    charges = Array(repeating: nil, count: record.capacity)
    untold = Array(repeating: false, count: record.capacity)
    news = try Mailbox()
  }

  deinit {
    if let running { close(running.handle) }
    buffer.deallocate()
  }

  /// The guardian's process; nil while there is none.
  public var pid: Int32? { running?.pid }

  public var condition: Condition {
    guard let running else {
      return startAgain.map { .none(again: max(.zero, $0 - OwnershipRecord.now())) } ?? .starting
    }
    if running.isHung { return .hung(pid: running.pid) }
    return running.isReady ? .watching(pid: running.pid) : .starting
  }

  // MARK: Starting

  /// Starts the first guardian. Call it before there is any other thread.
  public func start() throws(SystemError) {
    running = try Self.start(command, record: record.descriptor, own: own.rawValue)
  }

  /// Waits until it watches: it does when the guardian of an earlier life is gone, which might still be removing addresses that this
  /// life is about to take. Call it before anything is taken.
  /// - Returns: false where that took too long; it will watch later.
  public func awaitReadiness(within limit: Duration = .seconds(3)) -> Bool {
    guard let running else { return false }
    var entry = pollfd(fd: running.channel.descriptor, events: Int16(POLLIN), revents: 0)
    return poll(&entry, 1, Int32(clamping: limit.nanoseconds / 1_000_000)) > 0
  }

  /// Puts the guardian of an earlier life, which did not let go in time, out of office. Only for a life that is the only one.
  /// - Returns: what to tell of it; nil where there is none.
  public func dismissPredecessor() -> Report? {
    command.pidFile.flatMap { GuardianFile.dismiss($0, sparing: pid) }.map(Self.told)
  }

  private static func told(_ dismissal: GuardianFile.Dismissal) -> Report {
    switch dismissal {
    case .killed(let pid): .dismissed(pid: pid)
    case .dismissed: .dismissed(pid: nil)
    }
  }

  private static func start(_ command: Command, record: Int32, own: Int32) throws(SystemError) -> Running {
    let (channel, other) = try Channel.pair()
    let (lifeline, far) = try Lifeline.make(for: getpid())
    var arguments: [UnsafeMutablePointer<CChar>?] = command.arguments.map { strdup($0) }
    arguments.append(nil)
    defer { for argument in arguments { free(argument) } }
    let descriptors = [other.descriptor, record, own, lifeline.descriptor, far.descriptor]
    let pid = clinux_guardian_spawn(command.program, arguments, environ, descriptors, Int32(descriptors.count))
    guard pid > 0 else { throw .last("posix_spawn", "the guardian") }
    // A child that is gone already is a zombie, and has a descriptor all the same.
    let handle = clinux_pidfd_open(pid)
    guard handle >= 0 else {
      let error = SystemError.last("pidfd_open", "the guardian")
      kill(pid, SIGKILL)
      while waitpid(pid, nil, 0) < 0, errno == EINTR {}
      throw error
    }
    withExtendedLifetime((other, far)) {}
    return Running(pid: pid, handle: handle, channel: channel, lifeline: lifeline, started: OwnershipRecord.now())
  }

  /// From now on the keeper lives on that reactor.
  /// - Parameters:
  ///   - doElsewhere: has a closure run on another thread: starting a process takes a millisecond, which the loop doesn't have.
  ///     False where that is not possible now.
  ///   - report: called on the reactor's thread.
  public func attach(
    to reactor: Reactor, doElsewhere: @escaping (@escaping @Sendable () -> Void) -> Bool,
    report: @escaping (Report) -> Void
  ) throws(SystemError) {
    self.reactor = reactor
    self.doElsewhere = doElsewhere
    self.report = report
    try news.attach(to: reactor) { [unowned self] in hear($0) }
    try follow()
  }

  private func hear(_ news: News) {
    switch news {
    case .started(let new):
      running = new
      pulse = Pulse()
      nextDismissal = nil
      do throws(SystemError) {
        try follow()
      } catch {
        report(.trouble("what it says can't be heard: \(error)"))
      }
    case .notStarted(let error): tryAgain { .notStarted(error, again: $0) }
    case .dismissed(let dismissal): if let dismissal { report(Self.told(dismissal)) }
    }
  }

  private func follow() throws(SystemError) {
    guard let running, let reactor else { return }
    registrations = [
      try reactor.register(running.channel.descriptor, .readable) { [unowned self] _ in listen() },
      try reactor.register(running.handle, .readable) { [unowned self] _ in died() },
    ]
  }

  private func listen() {
    guard let running else { return }
    let isOpen = running.channel.receive(buffer) { message, lent in
      if lent >= 0 { close(lent) }
      if case .success(let message) = message { received(message, from: running) }
    }
    // It is about to die; its process's descriptor tells when.
    if !isOpen, let registration = registrations.first { reactor?.unregister(registration) }
  }

  private func received(_ message: GuardianMessage, from guardian: Running) {
    switch message {
    case .ready:
      running?.isReady = true
      for vip in charges.indices where charges[vip] != nil { untold[vip] = true }
      untoldSockets = Array(sockets.keys)
      hasUntold = true
      report(.watches(pid: guardian.pid))
    case .released(let release): report(.released(release))
    case .demoted(let burnt): report(.demoted(burnt))
    case .trouble(let text): report(.trouble(text))
    case .charge, .farewell, .commit, .drop, .socket, .dropSocket, .goodbye: break
    }
  }

  private func died() {
    guard let dead = running else { return }
    listen()  // its last words
    for registration in registrations { reactor?.unregister(registration) }
    registrations = []
    running = nil
    while waitpid(dead.pid, nil, 0) < 0, errno == EINTR {}
    close(dead.handle)
    if OwnershipRecord.now() - dead.started > .seconds(10) { pause = Self.firstPause }
    tryAgain { .died(pid: dead.pid, again: $0) }
  }

  /// Not at once, and later and later: something that dies at its start would keep the machine busy.
  private func tryAgain(_ why: (Duration) -> Report) {
    startAgain = OwnershipRecord.now() + pause
    report(why(pause))
    pause = min(pause * 2, Self.longestPause)
  }

  // MARK: Telling

  /// What the guardian has to know of a VIP from now on; nil: nothing of it can be on this node.
  public func charge(_ vip: Int, _ charge: Charge?) {
    guard charges.indices.contains(vip), charges[vip] != charge else { return }
    charges[vip] = charge
    untold[vip] = true
    hasUntold = true
    tell()
  }

  /// A socket that adverts are sent with, so that the guardian can silence it. It takes the place of an earlier one of the same
  /// interface and family.
  public func lend(_ socket: VRRPSocket) {
    let route = GuardianMessage.Route(interface: socket.index, family: socket.family)
    sockets[route] = socket
    if !untoldSockets.contains(route) { untoldSockets.append(route) }
    hasUntold = true
    tell()
  }

  /// The socket is closed, or about to be.
  public func unlend(_ socket: VRRPSocket) {
    let route = GuardianMessage.Route(interface: socket.index, family: socket.family)
    guard sockets[route] === socket else { return }
    sockets[route] = nil
    if !untoldSockets.contains(route) { untoldSockets.append(route) }
    hasUntold = true
    tell()
  }

  /// Once a turn of the loop: what is due, which is nearly always nothing.
  /// - Parameter isOnlyLife: no other process of this node has a guardian that is in its right.
  public func turned(isOnlyLife: Bool = true) {
    if hasUntold { tell() }
    let now = OwnershipRecord.now()
    feelPulse(now)
    dismissLater(now, isOnlyLife)
    guard let due = startAgain, now >= due else { return }
    startAgain = nil
    let (command, record, own, news) = (command, record, own.rawValue, news)
    let isUnderWay = doElsewhere {
      do throws(SystemError) {
        news.send(.started(try Self.start(command, record: record.descriptor, own: own)))
      } catch {
        news.send(.notStarted(error))
      }
    }
    if !isUnderWay { startAgain = OwnershipRecord.now() + pause }
  }

  /// A guardian that does not turn would act on nothing.
  private func feelPulse(_ now: Instant) {
    guard let running, !running.isHung else { return }
    let silence = pulse.silence(beat: record.lastGuardianBeat, at: now)
    guard silence >= (running.isReady ? Pulse.patience : Pulse.patienceAtStart) else { return }
    self.running?.isHung = true
    report(.hung(pid: running.pid, silence: silence))
    // A child that is not waited for yet: this descriptor stands for no other process.
    _ = clinux_pidfd_signal(running.handle, SIGKILL)
  }

  /// One that is not ready for so long waits for another guardian's place.
  private func dismissLater(_ now: Instant, _ isOnlyLife: Bool) {
    guard let running, !running.isReady, isOnlyLife, let file = command.pidFile else {
      nextDismissal = nil
      return
    }
    guard let due = nextDismissal, now >= due else {
      nextDismissal = nextDismissal ?? now + Self.predecessorsTime
      return
    }
    nextDismissal = now + Self.predecessorsTime
    let (own, news) = (running.pid, news)
    _ = doElsewhere { news.send(.dismissed(GuardianFile.dismiss(file, sparing: own))) }
  }

  /// More than a process that hands over gives its own to end, and than a guardian whose daemon died can have to do.
  private static let predecessorsTime = Duration.seconds(5)

  private func tell() {
    guard let channel = running?.channel else { return }
    while let route = untoldSockets.last {
      let sent =
        sockets[route].map { channel.send(.socket(route), with: $0.descriptor) } ?? channel.send(.dropSocket(route))
      guard sent == .done else { return }
      untoldSockets.removeLast()
    }
    for vip in charges.indices where untold[vip] {
      guard tell(vip, channel) == .done else { return }
      untold[vip] = false
    }
    hasUntold = false
  }

  private func tell(_ vip: Int, _ channel: Channel) -> Channel.Sent {
    func say(_ message: GuardianMessage) -> Channel.Sent {
      told &+= 1
      return channel.send(message)
    }
    guard let charge = charges[vip] else { return say(.drop(vip: vip)) }
    // Where one of these has no room, all begin again: the first one makes the guardian forget the rest.
    var sent = say(.charge(vip: vip, charge))
    for farewell in charge.farewells where sent == .done {
      sent = say(.farewell(vip: vip, farewell))
    }
    return sent == .done ? say(.commit(vip: vip)) : sent
  }

  // MARK: The end

  /// Lets the guardian go, and waits until it is gone. Call it when nothing is owned any more; what is, the guardian releases first.
  public func goodbye() {
    startAgain = nil
    news.drain { news in if case .started(let late) = news, running == nil { running = late } }
    guard let last = running else { return }
    running = nil
    for registration in registrations { reactor?.unregister(registration) }
    registrations = []
    if last.channel.send(.goodbye) != .done || !Self.hasEnded(last.handle, within: Self.longestGoodbye) {
      _ = clinux_pidfd_signal(last.handle, SIGKILL)
    }
    while waitpid(last.pid, nil, 0) < 0, errno == EINTR {}
    close(last.handle)
  }

  private static let longestGoodbye = Duration.seconds(2)

  private static func hasEnded(_ handle: Int32, within limit: Duration) -> Bool {
    let end = OwnershipRecord.now() + limit
    while true {
      let remaining = (end - OwnershipRecord.now()).nanoseconds / 1_000_000
      var entry = pollfd(fd: handle, events: Int16(POLLIN), revents: 0)
      let ready = poll(&entry, 1, Int32(clamping: max(0, remaining)))
      if ready > 0 { return true }
      if ready == 0 || errno != EINTR { return false }
    }
  }
}

/// For how long a guardian has not beaten, in time in which this loop turned itself: where it stood still, so may have the machine.
private struct Pulse {
  /// Twenty of its beats.
  static let patience = Duration.seconds(2)
  /// A process that starts has to be loaded first.
  static let patienceAtStart = Duration.seconds(10)
  /// The loop turns ten times a second.
  private static let longestStep = Duration.milliseconds(250)

  private var beat: Instant?
  private var looked: Instant?
  private var silence = Duration.zero

  mutating func silence(beat: Instant, at now: Instant) -> Duration {
    if self.beat != beat {
      self.beat = beat
      silence = .zero
    } else if let looked {
      silence += min(now - looked, Self.longestStep)
    }
    looked = now
    return silence
  }
}
