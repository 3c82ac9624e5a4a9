import Basis
import Configuration
import Linux
import Notify
import Synchronization
import Telemetry

/// Runs what has to end before a VIP is announced (`before-announcing`): each on a thread of its own, for it may take seconds, and a second
/// VIP must not wait for the first one's.
///
/// One at a time for each VIP, and none for an ownership that is over when its turn comes: what a hook attaches elsewhere, the next owner's
/// must not be followed by.
final class Hooks: Sendable {
  let node: String
  let log: Log
  private let turns = Mutex<[String: Turn]>([:])

  init(node: String, log: Log) {
    self.node = node
    self.log = log
  }

  /// - Parameters:
  ///   - isWanted: whether the ownership that it is for still is; asked when its turn comes.
  ///   - then: called on the hook's thread when it has ended: whether it succeeded.
  func run(
    _ hook: Configuration.Hook, vip: String, addresses: [String], isWanted: @escaping @Sendable () -> Bool,
    then: @escaping @Sendable (Bool) -> Void
  ) {
    let turn = turns.withLock { turns in
      if let known = turns[vip] { return known }
      let made = Turn()
      turns[vip] = made
      return made
    }
    let list = addresses.map { "\"\($0)\"" }.joined(separator: ",")
    let input = Array("{\"node\":\"\(node)\",\"vip\":\"\(vip)\",\"addresses\":[\(list)]}\n".utf8)
    let work: @Sendable () -> Void = { [log] in
      let outcome = turn.take {
        isWanted() ? Program.run(hook.command, input: input, until: Clock.now() + hook.timeout) : nil
      }
      guard let outcome else { return then(false) }
      if case .ended(0, _) = outcome { return then(true) }
      log.write(.error, "vip \(vip): before-announcing \(hook.command[0]) \(outcome.words)", cause: "hook \(vip)")
      then(false)
    }
    do throws(SystemError) {
      _ = try Thread.start(named: "roost-hook", stackSize: 512 * 1024, work)
    } catch {
      log.write(.error, "vip \(vip): before-announcing can't be run: \(error)")
      then(false)
    }
  }
}

extension Program.Outcome {
  fileprivate var words: String {
    switch self {
    case .ended(let code, let output): "ended with \(code)\(output.isEmpty ? "" : ": \(output)")"
    case .killed(let signal): "was killed by signal \(signal)"
    case .late: "did not end in time and was killed"
    case .notStarted(let error): "can't be started: \(error)"
    }
  }
}

/// One after the other.
private final class Turn: Sendable {
  private let mutex = Mutex(())

  func take<Result: Sendable>(_ body: () -> Result) -> Result { mutex.withLock { _ in body() } }
}
