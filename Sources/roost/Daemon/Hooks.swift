import Basis
import Configuration
import Linux
import Notify
import Synchronization
import Telemetry

/// Runs what has to end before a VIP is announced (`before-announcing`): each on a thread of its own, for it may take seconds, and a second
/// VIP must not wait for the first one's.
///
/// One at a time for each VIP, and none for an ownership that is over: what a hook attaches elsewhere, the next owner's must not be followed
/// by. One that runs when the ownership ends is killed, with its process group; by the guardian, where this process stands still or is dead.
final class Hooks: Sendable {
  let node: String
  let log: Log
  private let turns = Mutex<[String: Turn]>([:])

  init(node: String, log: Log) {
    self.node = node
    self.log = log
  }

  /// - Parameters:
  ///   - place: the VIP's, in the ownership record.
  ///   - isWanted: whether the ownership that it is for still is; asked when its turn comes, and while it runs.
  ///   - then: called on the hook's thread when it has ended: whether it succeeded.
  func run(
    _ hook: Configuration.Hook, vip: String, place: Int, addresses: [String], isWanted: @escaping @Sendable () -> Bool,
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
      let outcome = turn.take(Leash(vip: place, while: isWanted)) { leash in
        isWanted()
          ? Program.run(hook.command, input: input, until: Clock.now() + hook.timeout, leash: leash) : .unwanted
      }
      if case .ended(0, _) = outcome { return then(true) }
      if case .unwanted = outcome {
        log.write(.notice, "vip \(vip): before-announcing was ended: the VIP is not this node's any more")
        return then(false)
      }
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

  /// An ownership of the VIP has ended: what runs for it ends now.
  func review(vip: String) { turns.withLock { $0[vip] }?.review() }
}

extension Program.Outcome {
  fileprivate var words: String {
    switch self {
    case .ended(let code, let output): "ended with \(code)\(output.isEmpty ? "" : ": \(output)")"
    case .killed(let signal): "was killed by signal \(signal)"
    case .late: "did not end in time and was killed"
    case .unwanted: "was ended"
    case .notStarted(let error): "can't be started: \(error)"
    }
  }
}

/// One after the other.
private final class Turn: Sendable {
  private let mutex = Mutex(())
  private let current = Mutex<Leash?>(nil)

  func take<Result: Sendable>(_ leash: Leash, _ body: (Leash) -> Result) -> Result {
    mutex.withLock { _ in
      current.withLock { $0 = leash }
      defer { current.withLock { $0 = nil } }
      return body(leash)
    }
  }

  /// Not of those that wait: they are asked when their turn comes.
  func review() { current.withLock { $0 }?.review() }
}
