import Basis
import Node
import VRRP

/// What the simulator drives: a `Node`, or, to prove that the checkers see, a broken one.
public protocol ControlPlane: Sendable {
  var deadline: Instant? { get }
  init(_ settings: NodeSettings, seed: UInt64)
  mutating func handle(_ event: Event, at now: Instant, _ emit: (Effect) -> Void)
  mutating func receive(_ message: RawSpan, in envelope: Envelope, at now: Instant, _ emit: (Effect) -> Void)
  /// What another process has to know to go on in this one's place; nil where nobody can at this moment.
  var succession: Resumption? { get }
}

extension ControlPlane {
  /// A broken one is not upgraded.
  public var succession: Resumption? { nil }
}

extension Node: ControlPlane {
  public var succession: Resumption? { obstacleToResumption == nil ? resumption : nil }
}
