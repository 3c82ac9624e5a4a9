import Basis
import CLinux
import Control
import Glibc
import Linux
import Node
import Proxy
import Synchronization
import Telemetry

/// The old daemon's side of an upgrade: starts the new one, hands it everything step by step, and goes on as if nothing had been where
/// it fails. One attempt at a time, on a thread of its own.
final class Upgrader: Sendable {
  /// `roost upgrade --json`.
  struct Report: Codable, Sendable, Hashable {
    /// The process that runs now, and its version.
    var pid: Int32
    var version: String
    /// From the start of the new process to its first word as the node.
    var took_ms: Double
    /// How long neither process acted for the node.
    var silent_ms: Double
  }

  enum Outcome: Sendable {
    case done(Report)
    case refused(String)
  }

  /// Why there is no upgrade.
  private struct Refusal: Error { let text: String }

  /// What the new one gets.
  struct Belongings: Sendable {
    let folder: Int32
    let namespace: Int32
    let namespaceFile: Int32?
    let equipment: Equipment
    let addresses: AddressThread
    let predecessors: Predecessors
    /// The control socket's, once there is one.
    let control: @Sendable () -> Int32?
  }

  /// From the start of the process until it could take over: it has to read its configuration and open its sockets.
  private static let longestStart = Duration.seconds(10)
  /// Leases are renewed by nobody meanwhile, and last 2 s by default, of which a quarter may be over.
  private static let longestPreparation = Duration.seconds(1)
  /// Nobody says an advert meanwhile.
  private static let longestSilence = Duration.milliseconds(300)

  private let mailbox: Mailbox<Loop.Message>
  private let log: Log
  private let isBusy = Mutex(false)
  private let finished = Mutex<(channel: UpgradeChannel, answer: @Sendable () -> Void)?>(nil)

  init(mailbox: Mailbox<Loop.Message>, log: Log) {
    self.mailbox = mailbox
    self.log = log
  }

  /// What is wanted: `roost upgrade`.
  struct Wish: Codable, Sendable {
    /// The new binary; nil: what is in this one's place on the disk.
    var program: String?
    /// Where too many processes still finish their connections, the oldest one ends.
    var force: Bool?
  }

  func begin(_ wish: Wish, _ belongings: Belongings, then: @escaping @Sendable (Outcome) -> Void) {
    let isFirst = isBusy.withLock { busy in
      defer { busy = true }
      return !busy
    }
    guard isFirst else { return then(.refused("an upgrade is under way already")) }
    do throws(SystemError) {
      _ = try Thread.start(named: "roost-upgrade", stackSize: 1 << 20) { [self] in
        do throws(Refusal) {
          let report = try perform(wish, belongings, then)
          log.write(.notice, "process \(report.pid), version \(report.version), goes on in this one's place")
        } catch {
          isBusy.withLock { $0 = false }
          log.write(.error, "no upgrade: \(error.text)")
          then(.refused("\(error.text); this daemon goes on"))
        }
      }
    } catch {
      isBusy.withLock { $0 = false }
      then(.refused("\(error)"))
    }
  }

  // MARK: Steps

  private func perform(
    _ wish: Wish, _ belongings: Belongings, _ then: @escaping @Sendable (Outcome) -> Void
  ) throws(Refusal) -> Report {
    let began = Clock.now()
    if let text = belongings.predecessors.objection(isForced: wish.force ?? false, at: began) {
      throw Refusal(text: text)
    }
    let (channel, group) = try start(wish.program ?? Self.ownProgram)
    var successor: Int32 = 0
    var pause: AddressThread.Pause?
    do throws(Refusal) {
      guard case .started(let pid, let version) = try receive(channel, within: Self.longestStart) else {
        throw Refusal(text: "the new process said something else than that it has started")
      }
      successor = pid
      try lend(belongings, channel)
      guard case .ready = try receive(channel, within: Self.longestStart) else {
        throw Refusal(text: "the new process said something else than that it is ready")
      }
      let grants = try ask { .offer($0) }
      do throws(SystemError) {
        pause = try belongings.addresses.pause(within: .milliseconds(500))
      } catch {
        throw Refusal(text: "\(error)")
      }
      guard pause != nil else { throw Refusal(text: "the kernel keeps the address thread waiting; try again") }
      channel.send(.grants(grants))
      guard case .prepared = try receive(channel, within: Self.longestPreparation) else {
        throw Refusal(text: "the new process could not prepare itself")
      }
      let silent = Clock.now()
      channel.send(.state(try ask { .fallSilent($0) }))
      guard case .done = try receive(channel, within: Self.longestSilence) else {
        throw Refusal(text: "the new process did not go on")
      }
      let now = Clock.now()
      let report = Report(
        pid: pid, version: version, took_ms: (now - began).milliseconds, silent_ms: (now - silent).milliseconds)
      finished.withLock { $0 = (channel, { then(.done(report)) }) }
      // From here on this process owns nothing. Its address thread rests for ever.
      mailbox.send(.upgrade(.cede))
      return report
    } catch {
      channel.send(.cancelled)
      end(successor, group, channel)
      mailbox.send(.upgrade(.goOn))
      pause?.end()
      throw error
    }
  }

  /// Whatever it was about to do, it does no more: there must be one of us.
  private func end(_ successor: Int32, _ group: Int32, _ channel: UpgradeChannel) {
    if successor > 1 { kill(successor, SIGKILL) }
    // The kernel closes its end when it is gone.
    let limit = Clock.now() + .seconds(1)
    do throws(UpgradeChannel.Failure) {
      while true { _ = try channel.receive(until: limit) }
    } catch {
      // One that hangs before it has said its number has the channel still, so the group's number is nobody else's.
      if error == .late, successor <= 1 { kill(-group, SIGKILL) }
    }
  }

  /// By way of a process that ends at once, so that the new one is the child of whoever supervises this one.
  /// - Returns: the channel to it, and the process group that it begins in.
  private func start(_ program: String) throws(Refusal) -> (UpgradeChannel, group: Int32) {
    guard access(program, X_OK) == 0 else {
      throw Refusal(text: "\(program) can't be run: \(String(cString: strerror(errno)))")
    }
    do throws(SystemError) {
      let (channel, other) = try UpgradeChannel.pair()
      let own = CommandLine.arguments.filter { $0 != Run.successor && $0 != Run.detach }
      var arguments: [UnsafeMutablePointer<CChar>?] = (own + [Run.successor, Run.detach]).map { strdup($0) }
      arguments.append(nil)
      defer { for argument in arguments { free(argument) } }
      let pid = clinux_guardian_spawn(program, arguments, environ, [other.descriptor], 1)
      guard pid > 0 else { throw .last("posix_spawn", program) }
      var status: Int32 = 0
      while waitpid(pid, &status, 0) < 0, errno == EINTR {}
      withExtendedLifetime(other) {}
      guard status == 0 else {
        throw SystemError(call: "start", code: ENOEXEC, subject: "\(program) (is it a roost that can upgrade?)")
      }
      return (channel, pid)
    } catch {
      throw Refusal(text: "\(error)")
    }
  }

  /// What is at the place that this process was started from, be it another file by now.
  private static var ownProgram: String {
    var path = [UInt8](repeating: 0, count: Int(PATH_MAX))
    let count = path.withUnsafeMutableBytes { buffer in
      readlink("/proc/self/exe", buffer.assumingMemoryBound(to: CChar.self).baseAddress!, buffer.count)
    }
    let text = String(decoding: path.prefix(max(0, count)), as: UTF8.self)
    let replaced = " (deleted)"
    return text.hasSuffix(replaced) ? String(text.dropLast(replaced.count)) : text
  }

  private func lend(_ belongings: Belongings, _ channel: UpgradeChannel) throws(Refusal) {
    channel.send(.descriptor("folder", belongings.folder))
    channel.send(.descriptor("namespace", belongings.namespace))
    if let file = belongings.namespaceFile { channel.send(.descriptor("namespace file", file)) }
    if let control = belongings.control() { channel.send(.descriptor("control", control)) }
    if let proxy = belongings.equipment.current.proxy {
      guard let listeners = proxy.lendListeners() else { throw Refusal(text: "a proxy worker does not answer") }
      for (place, socket) in listeners {
        channel.send(.descriptor("listener \(place.address) \(place.port)", socket))
        close(socket)
      }
    }
    for (place, other) in belongings.predecessors.channels.enumerated() {
      channel.send(.descriptor("predecessor \(place)", other.descriptor))
    }
    guard channel.send(.offered) else { throw Refusal(text: "the new process does not listen") }
  }

  private func receive(_ channel: UpgradeChannel, within limit: Duration) throws(Refusal) -> UpgradeChannel.Message {
    let message: UpgradeChannel.Message
    do throws(UpgradeChannel.Failure) {
      message = try channel.receive(until: Clock.now() + limit)
    } catch {
      switch error {
      case .closed: throw Refusal(text: "the new process ended; the log has its words")
      case .late: throw Refusal(text: "the new process was not ready within \(limit.words)")
      }
    }
    if case .failed(let why) = message { throw Refusal(text: "the new process can't run: \(why)") }
    return message
  }

  /// Asks the loop.
  private func ask(_ step: (@escaping @Sendable (Result<[UInt8], Loop.Objection>) -> Void) -> Loop.Step) throws(Refusal)
    -> [UInt8]
  {
    let answer = Mutex<Result<[UInt8], Loop.Objection>?>(nil)
    let box = Box(answer)
    do throws(SystemError) {
      let done = try Semaphore()
      mailbox.send(
        .upgrade(
          step { result in
            box.value.withLock { $0 = result }
            done.signal()
          }))
      guard done.wait(for: .seconds(2)) else { throw SystemError(call: "ask", code: ETIMEDOUT, subject: "the loop") }
    } catch {
      throw Refusal(text: "\(error)")
    }
    switch box.value.withLock({ $0 }) {
    case .success(let bytes): return bytes
    case .failure(let objection): throw Refusal(text: objection.text)
    case nil: throw Refusal(text: "the loop gave no answer")
    }
  }

  private final class Box: Sendable {
    let value: Mutex<Result<[UInt8], Loop.Objection>?>
    init(_ value: consuming sending Mutex<Result<[UInt8], Loop.Objection>?>) { self.value = value }
  }

  // MARK: Afterwards

  /// Everything of this process is at rest: the other one may have what only one can.
  /// - Returns: what it says from now on.
  func release() -> UpgradeChannel? {
    guard let (channel, answer) = finished.withLock({ $0 }) else { return nil }
    answer()
    channel.send(.released)
    return channel
  }
}
