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
    /// Farewells leave by these.
    var sockets: [Route: VRRPSocket] = [:]
    /// The daemon's own.
    var lent: [Route: Lent] = [:]
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
    state = Mutex(State(charges: Array(repeating: nil, count: record.capacity)))
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
        if isKnown(vip) { $0.charges[vip] = nil }
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
      state.charges[vip] = charge
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

  private static func closeUnused(_ state: inout State) {
    let used = Set(state.charges.lazy.compactMap { $0 }.flatMap { $0.farewells.map(Route.init) })
    guard state.sockets.count > used.count else { return }
    state.sockets = state.sockets.filter { used.contains($0.key) }
  }

  // MARK: Read by the watch

  /// The shortest patience of the VIPs that are owned now; nil where none with an election is. And of all, owned or not.
  var patience: (owned: Duration?, any: Duration?) {
    state.withLock { state in
      var (owned, any): (Duration?, Duration?)
      for vip in state.charges.indices {
        guard let patience = state.charges[vip]?.patience else { continue }
        any = any.map { min($0, patience) } ?? patience
        if record.owner(vip) != nil { owned = owned.map { min($0, patience) } ?? patience }
      }
      return (owned, any)
    }
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

  /// VIPs that are owned though this process was never told what they are.
  var unknown: [Int] {
    state.withLock { state in state.charges.indices.filter { state.charges[$0] == nil && record.owner($0) != nil } }
  }

  func targets(_ vips: [Int]) -> [AddressEraser.Target] {
    state.withLock { state in
      vips.flatMap { vip in
        guard let charge = state.charges[vip] else { return [] as [AddressEraser.Target] }
        return charge.addresses.map { AddressEraser.Target($0, on: charge.interface) }
      }
    }
  }

  /// The addresses of all VIPs that were deposed and whose deposition the loop has not acknowledged.
  var openTargets: [AddressEraser.Target] { targets((0..<record.capacity).filter { record.deposed($0) != nil }) }

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
