import Basis
import Linux
import Node
import Synchronization
import VRRP

// One process takes another's place: the old one falls silent, the new one goes on, within the time of one message each way.

extension Loop {
  /// Why not.
  struct Objection: Error { let text: String }

  typealias StepAnswer = @Sendable (Result<[UInt8], Objection>) -> Void

  /// What the old one is asked.
  enum Step: Sendable {
    /// What is owned now. From then on that must stay as it is.
    case offer(StepAnswer)
    /// Nothing is said or decided any more. Gives the node's state.
    case fallSilent(StepAnswer)
    /// It came to nothing.
    case goOn
    /// Another process is the daemon.
    case cede
  }

  /// Where an upgrade stands, in the old one.
  enum Handing {
    case no
    case offered
    /// Something that is owned has changed since.
    case spoilt
    case silent
    case ceded
  }

  var isSilent: Bool {
    switch handing {
    case .silent, .ceded: true
    case .no, .offered, .spoilt: false
    }
  }

  /// An address is being taken or released.
  func ownershipChanges() {
    if case .offered = handing { handing = .spoilt }
  }

  func take(_ step: Step) {
    switch step {
    case .offer(let answer):
      if let obstacle = node.obstacleToResumption { return answer(.failure(.init(text: "\(obstacle); try again"))) }
      handing = .offered
      // Whole leases, for nobody renews them until the other one does.
      for vip in settings.vips.indices {
        if case .held(let generation, _?) = node.vips[vip].holding {
          parts.addresses.renew(vip, generation: generation, lease: settings.vips[vip].lease)
        }
      }
      answer(.success(handedState.bytes))
    case .fallSilent(let answer):
      guard case .offered = handing, node.obstacleToResumption == nil else {
        return answer(.failure(.init(text: "a VIP came or went meanwhile; try again")))
      }
      handing = .silent
      answer(.success(handedState.bytes))
    case .goOn:
      handing = .no
      if stopIsDue { stop() }
    case .cede:
      handing = .ceded
      // What this process still had in mind it must not do: no generation is its own any more.
      for vip in 0..<record.capacity { record.cede(vip) }
      reactor.stop()
    }
  }

  /// The node's state, and what only the loop knows.
  private var handedState: Resumption {
    var all = node.resumption
    for index in all.vips.indices {
      guard let vip = place(named: all.vips[index].name) else { continue }
      all.vips[index].signed = elections.lastSequence(of: vip)
    }
    return all
  }

  private func place(named name: String) -> Int? { settings.vips.firstIndex { !$0.isVacant && $0.name == name } }

  // MARK: The new one

  /// Instead of beginning: says that it could, and waits for the state.
  func follow(_ succession: Succession, status: String, onRelease: @escaping @Sendable () -> Void) throws(SystemError) {
    self.succession = succession
    var registration: Reactor.Registration?
    registration = try reactor.register(succession.channel.descriptor, .readable) { [unowned self] _ in
      do throws(UpgradeChannel.Failure) {
        while let message = try succession.channel.next() { hear(message, succession, status, onRelease) }
      } catch {
        // Without a word: it died. What it had is this process's, if that was said.
        if succession.isPending { succession.giveUp("") }
        finish(succession, onRelease)
        predecessors.isGone(succession.channel)
        if let registration { reactor.unregister(registration) }
      }
    }
  }

  private func hear(
    _ message: UpgradeChannel.Message, _ succession: Succession, _ status: String, _ onRelease: @Sendable () -> Void
  ) {
    switch message {
    case .state(let bytes) where succession.isPending:
      guard let resumption = try? Resumption(bytes) else { succession.giveUp("its state is of another form") }
      do {
        try parts.equipment.proxy?.start()
      } catch {
        succession.giveUp("\(error)")
      }
      succession.enter(.acting)
      for known in resumption.vips {
        if let signed = known.signed, let vip = place(named: known.name) { elections.advance(vip, past: signed) }
      }
      give(.resume(resumption), at: Clock.now())
      ServiceManager.tookOver(status)
      succession.channel.send(.done)
    case .released: finish(succession, onRelease)
    case .cancelled where succession.isPending: succession.giveUp("")
    default: predecessors.hear(message, from: succession.channel, at: Clock.now())
    }
  }

  private func finish(_ succession: Succession, _ onRelease: @Sendable () -> Void) {
    guard case .acting = succession.current else { return }
    succession.enter(.complete)
    for channel in succession.takePredecessors() { follow(channel) }
    predecessors.add(succession.channel, at: Clock.now())
    // From now on the guardian has something to guard.
    for vip in settings.vips.indices { fence.recharge(vip) }
    onRelease()
  }

  /// One that was there before the process before this one.
  private func follow(_ channel: UpgradeChannel) {
    var registration: Reactor.Registration?
    registration = try? reactor.register(channel.descriptor, .readable) { [unowned self] _ in
      do throws(UpgradeChannel.Failure) {
        while let message = try channel.next() { predecessors.hear(message, from: channel, at: Clock.now()) }
      } catch {
        predecessors.isGone(channel)
        if let registration { reactor.unregister(registration) }
      }
    }
    if registration != nil { predecessors.add(channel, at: Clock.now()) }
  }

  /// All interfaces were seen: begin, or say so.
  func begin(at now: Instant) {
    guard let succession else { return give(.start, at: now) }
    if succession.isPending { succession.channel.send(.prepared) }
  }

  /// What the guardian is told now would have it release addresses that another process still owns.
  var isUnguarded: Bool {
    guard let succession else { return false }
    if case .complete = succession.current { return false }
    return true
  }
}

/// Calls `then` with the last of several arrivals.
final class Tally: Sendable {
  private let missing: Atomic<Int>
  private let then: @Sendable () -> Void

  init(_ count: Int, then: @escaping @Sendable () -> Void) {
    missing = Atomic(count)
    self.then = then
  }

  func arrive() {
    if missing.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 { then() }
  }
}
