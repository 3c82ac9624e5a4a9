import Basis
import Wire
import VRRP

/// The control plane of one node, as one value: an event and the time in, effects out.
///
/// No clock, socket, lock, logger or randomness of its own inside: the daemon, the simulator and the replay of an incident
/// run this same code. `deadline` is when it wants `.timer` at the latest.
public struct Node: Sendable {
  public let settings: NodeSettings
  public private(set) var deadline: Instant?

  public init(_ settings: NodeSettings, seed: UInt64) {
    self.settings = settings
  }

  public mutating func handle(_ event: Event, at now: Instant, _ emit: (Effect) -> Void) {
  }

  /// A VRRP message, without the copy that `Event.advert` needs.
  public mutating func receive(
    _ message: RawSpan, in envelope: Envelope, at now: Instant, _ emit: (Effect) -> Void
  ) {
  }
}
