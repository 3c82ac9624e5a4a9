import Basis
import Glibc
import Linux
import Node
import Proxy
import Synchronization
import Wire

/// The new daemon's side of an upgrade: what it got from the one before, and where it stands.
final class Succession: Sendable {
  /// The descriptor that it is started with.
  private static let inherited: Int32 = 3

  let channel: UpgradeChannel
  let listeners = ProxyEngine.Inheritance()
  private let descriptors = Mutex<[String: Int32]>([:])
  private let stage = Mutex(Stage.pending)

  enum Stage: Sendable {
    /// The other one is the daemon; this process must leave everything as it is.
    case pending
    /// This one is, and the other one still lets go.
    case acting
    case complete
  }

  enum Failure: Error, CustomStringConvertible {
    case notStarted
    case given(String)
    var description: String {
      switch self {
      case .notStarted: "\(Run.successor) is for a daemon that is upgraded, not for people"
      case .given(let why): why
      }
    }
  }

  /// Waits for what the other one gives.
  init() throws(Failure) {
    guard fcntl(Self.inherited, F_SETFD, FD_CLOEXEC) == 0 else { throw .notStarted }
    channel = UpgradeChannel(Descriptor(owning: Self.inherited))
    // It says which process systemd watches; this one is another.
    unsetenv("WATCHDOG_PID")
    channel.send(.started(pid: getpid(), version: Roost.version))
    let end = Clock.now() + .seconds(10)
    while true {
      guard let message = try? channel.receive(until: end) else { throw .given("the old process gave nothing") }
      switch message {
      case .descriptor(let role, let number): take(number, as: role)
      case .offered: return
      default: throw .given("the old process said something that is not understood")
      }
    }
  }

  private func take(_ number: Int32, as role: String) {
    let words = role.split(separator: " ")
    if words.count == 3, words[0] == "listener", let address = IPAddress(String(words[1])), let port = UInt16(words[2])
    {
      listeners.add(Descriptor(owning: number), at: .init(address, port: port))
    } else {
      descriptors.withLock { known in
        if let double = known.updateValue(number, forKey: role) { close(double) }
      }
    }
  }

  /// The descriptor of that role; it is the caller's from then on.
  func take(_ role: String) -> Descriptor? {
    descriptors.withLock { $0.removeValue(forKey: role) }.map { Descriptor(owning: $0) }
  }

  /// Ends of the channels to processes that finish since earlier upgrades, the oldest first.
  func takePredecessors() -> [UpgradeChannel] {
    var channels: [UpgradeChannel] = []
    while let descriptor = take("predecessor \(channels.count)") { channels.append(UpgradeChannel(descriptor)) }
    return channels
  }

  var current: Stage { stage.withLock { $0 } }
  func enter(_ next: Stage) { stage.withLock { $0 = next } }
  var isPending: Bool { if case .pending = current { true } else { false } }

  /// Everything is ready but what only one process can have. Waits for what is owned.
  func awaitGrants() throws(Failure) -> Resumption {
    channel.send(.ready)
    guard let message = try? channel.receive(until: Clock.now() + .seconds(5)), case .grants(let bytes) = message,
      let resumption = try? Resumption(bytes)
    else { throw .given("the old process goes on") }
    return resumption
  }

  /// This process never was. The kernel closes what it has; nothing on the network is its own.
  func giveUp(_ why: String) -> Never {
    channel.send(.failed(why))
    _exit(1)
  }
}
