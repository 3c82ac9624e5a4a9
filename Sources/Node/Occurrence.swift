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
  case stopping
}
