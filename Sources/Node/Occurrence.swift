import Basis
import VRRP
import Wire

/// Something that happened, worth telling a person; one line of the log and of a scenario's timeline.
public enum Occurrence: Sendable, Hashable {
  case became(VirtualAddress.State, vip: Int, reason: String)
  /// Something about a peer's adverts that a person should mend; said once until it changes.
  case notice(vip: Int, Notice)
  case backend(BackendState, service: Int, backend: Int, message: String)
  case allBackendsDown(service: Int)
  case backendsAgain(service: Int)
  /// Another program removed an address of a VIP that this node owns; it is there again.
  case addressPutBack(vip: Int)
  /// The kernel would not add an address (an errno).
  case addressRefused(vip: Int, code: Int32)
  /// An address is gone for good: its lease ran out before it was renewed, or another program kept removing it.
  case addressLost(vip: Int)
  /// The guardian gave the VIP up while this process was stalled.
  case revoked(vip: Int)
  /// Somebody else announced an address of a VIP that this node owns; said once until the hardware address changes.
  case claimed(IPAddress, by: MACAddress, vip: Int)
  /// Another machine on the link has this address.
  case duplicate(IPAddress, vip: Int)
  /// What has to end before the VIP is announced failed, or took too long; it is announced all the same.
  case preparationFailed(vip: Int, timedOut: Bool)
  /// A tracker turned; `message` says why it is bad.
  case tracker(Int, isGood: Bool, message: String)
  /// A tracker turned bad too often: it stays bad until it has been good for a while.
  case trackerDamped(Int, message: String)
  /// It has been.
  case trackerCalm(Int)
  /// The link to a peer came up, or went down.
  case peer(Int, isUp: Bool)
  /// A VIP, with its group, is being handed over: the target is ready, connections end.
  case handOver(vip: Int, to: String)
  /// It is done. Nobody owned it for `vacant` at most; nil where the target did not say.
  case handedOver(vip: Int, to: String, vacant: Duration?)
  case handOverFailed(vip: Int, to: String, reason: String)
  /// More than one node owns the VIP; said once until it is over. `isHeard`: this node is one of them, and hears the other's adverts.
  case splitBrain(vip: Int, owners: [SplitBrain.Owner], isHeard: Bool)
  /// One owns it again, or none.
  case splitBrainOver(vip: Int, lasted: Duration)
  /// This node leaves every election, as a person asked; or takes part again.
  case standby
  case resumed
  case stopping
}
