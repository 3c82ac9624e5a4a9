import Basis
import Node
import VRRP

/// What the simulator drives: a `Node`, or, to prove that the checkers see, a broken one.
public protocol ControlPlane: Sendable {
  var deadline: Instant? { get }
  init(_ settings: NodeSettings, seed: UInt64)
  mutating func handle(_ event: Event, at now: Instant, _ emit: (Effect) -> Void)
  mutating func receive(_ message: RawSpan, in envelope: Envelope, at now: Instant, _ emit: (Effect) -> Void)
}

extension Node: ControlPlane {}
