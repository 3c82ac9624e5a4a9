import Basis
import VRRP
import Wire

/// What the world is asked to do. Effects of one event are done in the order in which they were emitted.
public enum Effect: Sendable, Equatable {
  /// Send a VRRP message from the VIP's interface.
  case transmit(vip: Int, message: [UInt8], to: Destination)
  /// Add the VIP's addresses with the lease, then announce them. Answered by `.added` or `.failed`.
  case take(vip: Int, generation: UInt64, lease: Duration?)
  /// Extend the lease, unless the generation is over by then. Answered by `.renewed`, or `.failed`.
  case renew(vip: Int, generation: UInt64, lease: Duration?)
  /// Remove the VIP's addresses. From this moment the generation is over, whatever is still queued. Answered by `.removed`.
  case release(vip: Int, generation: UInt64)
  /// Tell the neighbours again where the VIP is (gratuitous ARP, unsolicited neighbour advertisement).
  case announce(vip: Int, generation: UInt64)
  /// Let the VIP's proxied connections finish for that long, then reset the rest. Answered by `.connectionsClosed`.
  case closeConnections(vip: Int, generation: UInt64, within: Duration)
  /// Perform the check of a backend now. Answered by `.check` with the same number.
  case probe(service: Int, backend: Int, probe: UInt64)
  /// The proxy's view of a backend changes.
  case backend(service: Int, backend: Int, BackendState)
  /// Something worth telling a person.
  case report(Occurrence)
  /// A polite stop is complete: nothing of this node is left on the network.
  case stopped
}

/// Whether a backend takes traffic.
public enum BackendState: String, Sendable, Hashable {
  case up, down, draining, disabled, unknown
}
