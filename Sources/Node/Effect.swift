import Basis
import Peering
import VRRP
import Wire

/// What the world is asked to do. Effects of one event are done in the order in which they were emitted.
public enum Effect: Sendable, Equatable {
  /// Send a VRRP message from the VIP's interface.
  case transmit(vip: Int, message: [UInt8], to: Destination)
  /// Add the VIP's addresses with the lease, then announce them, unless that has to wait for the first `announce` of the same
  /// generation. Answered by `.added` or `.failed`.
  case take(vip: Int, generation: UInt64, lease: Duration?, announcing: Bool)
  /// Extend the lease, or end it with nil, unless the generation is over by then. Answered by `.renewed`, or `.failed`.
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
  /// Ask the witnesses whether this node's link reaches anybody. Answered by `.witness` with the same number, or not at all.
  case askWitnesses(vip: Int, round: UInt64)
  /// Say something over the peer link, if it is up. `peer` is an index into `NodeSettings.peers`.
  case tell(peer: Int, PeerMessage)
  /// Run what must have happened before the VIP is announced (`before-announcing`). Answered by `.prepared`.
  case prepare(vip: Int, generation: UInt64)
  /// From now on the VIP at that place is what these settings say; a vacant one is no more. Comes when the place is free of the VIP
  /// that was there before, or at once where the same VIP goes on with other settings: while it is owned, addresses that are
  /// new are added and announced (answered by `.added`, or `.failed`), and those that are no longer listed are removed. Until it
  /// comes, whatever is said of the place is about the VIP that was there.
  case configure(vip: Int, VIPSettings)
  case answer(ticket: UInt64, CommandAnswer)
  /// Something worth telling a person.
  case report(Occurrence)
  /// A polite stop is complete: nothing of this node is left on the network.
  case stopped
}

/// What became of a person's command.
public enum CommandAnswer: Sendable, Hashable {
  case done
  /// To that node; `vacant` is how long nobody owned the VIP as the old owner saw it, an upper bound.
  case moved(to: String, vacant: Duration?)
  /// There was nothing to do: that node owns the VIP.
  case already(String)
  /// Why not, in words.
  case refused(String)
}

/// Whether a backend takes traffic.
public enum BackendState: String, Sendable, Hashable {
  case up, down, draining, disabled, unknown
}
