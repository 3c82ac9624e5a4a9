import Basis
import CLinux
import Glibc
import Linux
import Synchronization

/// What the guardian was told of each VIP, and the sockets for it, open and ready. The clerk writes it, the watch reads it.
final class ChargeBook: Sendable {
  typealias Route = GuardianMessage.Route

  private struct State {
    /// By the VIP's number in the record.
    var charges: [Charge?]
    var drafts: [Int: Charge] = [:]
    /// Where VIPs have been under the ownership that they have, or had last, by a charge that is no longer theirs.
    var formerly: [Int: Former] = [:]
    /// By the VIP's number: the last generation whose addresses were erased here.
    var erased: [UInt64]
    /// Farewells leave by these.
    var sockets: [Route: VRRPSocket] = [:]
    /// The daemon's own.
    var lent: [Route: Lent] = [:]
  }

  private struct Former {
    var targets: [AddressEraser.Target]
    var generation: UInt64
  }

  private final class Lent: Sendable {
    let descriptor: Descriptor
    init(_ descriptor: consuming Descriptor) { self.descriptor = descriptor }
  }

  private let record: OwnershipRecord
  private let sign: GuardianSigner
  private let state: Mutex<State>

  init(_ record: OwnershipRecord, sign: @escaping GuardianSigner) {
    self.record = record
    self.sign = sign
    state = Mutex(
      State(
        charges: Array(repeating: nil, count: record.capacity), erased: Array(repeating: 0, count: record.capacity)))
  }

  // MARK: Written by the clerk

  /// Gives what a person should know.
  func take(_ message: GuardianMessage, lent: consuming Descriptor?) -> SystemError? {
    switch message {
    case .charge(let vip, let charge): state.withLock { if isKnown(vip) { $0.drafts[vip] = charge } }
    case .farewell(let vip, let farewell): state.withLock { $0.drafts[vip]?.farewells.append(farewell) }
    case .commit(let vip): return commit(vip)
    case .drop(let vip):
      state.withLock {
        if isKnown(vip) { replace(vip, with: nil, &$0) }
        Self.closeUnused(&$0)
      }
    case .socket(let route):
      if let lent {
        let socket = Lent(lent)
        state.withLock { $0.lent[route] = socket }
      }
    case .dropSocket(let route): state.withLock { $0.lent[route] = nil }
    case .goodbye, .ready, .released, .demoted, .trouble: break
    }
    return nil
  }

  private func isKnown(_ vip: Int) -> Bool { 0..<record.capacity ~= vip }

  private func commit(_ vip: Int) -> SystemError? {
    state.withLock { state in
      guard isKnown(vip), let charge = state.drafts.removeValue(forKey: vip) else { return nil }
      replace(vip, with: charge, &state)
      var failure: SystemError?
      for farewell in charge.farewells where state.sockets[Route(farewell)] == nil {
        do throws(SystemError) {
          state.sockets[Route(farewell)] = try VRRPSocket(
            sendingOn: farewell.interface, family: farewell.source.family)
        } catch {
          failure = error
        }
      }
      // Once for nothing: the library's own preparations, milliseconds of them, are done when it matters.
      if let key = charge.key, let farewell = charge.farewells.first { _ = sign(farewell, key, 0) }
      Self.closeUnused(&state)
      return failure
    }
  }

  /// The new charge says where the addresses will be. Where they are until the address thread has moved or removed them, the old one says.
  private func replace(_ vip: Int, with new: Charge?, _ state: inout State) {
    let moved = (state.charges[vip]?.targets ?? []).filter { !(new?.targets.contains($0) ?? false) }
    state.charges[vip] = new
    let generation = record.lastGranted(vip)
    var former = state.formerly[vip].map { record.mayBePresent(vip, generation: $0.generation) ? $0.targets : [] } ?? []
    former += moved.filter { !former.contains($0) }
    let isPresent = !former.isEmpty && record.mayBePresent(vip, generation: generation)
    state.formerly[vip] = isPresent ? Former(targets: former, generation: generation) : nil
  }

  private static func closeUnused(_ state: inout State) {
    let used = Set(state.charges.lazy.compactMap { $0 }.flatMap { $0.farewells.map(Route.init) })
    guard state.sockets.count > used.count else { return }
    state.sockets = state.sockets.filter { used.contains($0.key) }
  }

  // MARK: Read by the watch

  /// The shortest patience of the VIPs that are here now, owned or left over; nil where none with an election is. And of all.
  var patience: (present: Duration?, any: Duration?) {
    state.withLock { state in
      var (present, any): (Duration?, Duration?)
      for vip in state.charges.indices {
        guard let patience = state.charges[vip]?.patience else { continue }
        any = any.map { min($0, patience) } ?? patience
        if record.owner(vip) != nil || isLeft(vip, state) { present = present.map { min($0, patience) } ?? patience }
      }
      return (present, any)
    }
  }

  /// Something of it may be there though nobody owns it, and it was not erased here yet.
  private func isLeft(_ vip: Int, _ state: State) -> Bool {
    record.leftover(vip).map { $0 > state.erased[vip] } ?? false
  }

  /// The VIPs that are owned now, and for which `isConcerned`.
  func owned(_ isConcerned: @Sendable (Charge) -> Bool) -> [Int] {
    state.withLock { state in
      state.charges.indices.filter { vip in
        guard let charge = state.charges[vip] else { return false }
        return record.owner(vip) != nil && isConcerned(charge)
      }
    }
  }

  /// The VIPs that are owned no more, but of which something may be there that was not erased here yet, and for which `isConcerned`;
  /// that question is not put of one that has a charge no more.
  func leftovers(_ isConcerned: @Sendable (Charge) -> Bool) -> [Int] {
    state.withLock { state in
      state.charges.indices.filter { vip in
        guard isLeft(vip, state) else { return false }
        return state.charges[vip].map(isConcerned) ?? (state.formerly[vip] != nil)
      }
    }
  }

  /// What is to be erased of these VIPs that nobody owns from now on. Where another one that is owned has an address by now, it stays.
  func targets(_ vips: [Int]) -> [AddressEraser.Target] {
    state.withLock { state in
      let all = vips.flatMap { vip in
        let former = state.formerly[vip].flatMap {
          record.mayBePresent(vip, generation: $0.generation) ? $0.targets : nil
        }
        return (state.charges[vip]?.targets ?? []) + (former ?? [])
      }
      guard !all.isEmpty else { return [] }
      var taken: Set<AddressEraser.Target> = []
      for vip in state.charges.indices where record.owner(vip) != nil {
        taken.formUnion(state.charges[vip]?.targets ?? [])
      }
      return taken.isEmpty ? all : all.filter { !taken.contains($0) }
    }
  }

  /// What may be there, or come to be, though nobody owns it: the address thread has not said yet that it is gone.
  var openTargets: [AddressEraser.Target] { targets((0..<record.capacity).filter { record.leftover($0) != nil }) }

  /// The present ownerships of these VIPs are over, and their addresses are about to be erased.
  func willErase(_ vips: [Int]) {
    state.withLock { state in for vip in vips { state.erased[vip] = record.lastGranted(vip) } }
  }

  /// The daemon's own sockets lead nowhere from now on.
  func divertLent() {
    state.withLock { state in
      for lent in state.lent.values {
        // It fails only where it is no socket any more, or has no interface: then it sends nothing either.
        try? VRRPSocket.divert(lent.descriptor.rawValue)
      }
    }
  }

  /// Sends the farewells of these VIPs, each signed now. Gives the first error.
  func sayFarewell(_ vips: [Int]) -> SystemError? {
    state.withLock { state in
      var first: SystemError?
      for vip in vips {
        guard let charge = state.charges[vip] else { continue }
        for farewell in charge.farewells {
          let message = charge.key.map { sign(farewell, $0, record.lastSigned(vip)) } ?? farewell.message
          do throws(SystemError) {
            try state.sockets[Route(farewell)]?.send(message, to: farewell.destination, from: farewell.source)
          } catch {
            first = first ?? error
          }
        }
      }
      return first
    }
  }
}

extension GuardianMessage.Route {
  init(_ farewell: Charge.Farewell) {
    self.init(interface: farewell.interface, family: farewell.source.family)
  }
}
