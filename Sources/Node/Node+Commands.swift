import Basis
import Peering

extension Node {
  /// `Event.command`.
  mutating func obey(_ command: Command, ticket: UInt64, at now: Instant, _ emit: (Effect) -> Void) {
    emit(.answer(ticket: ticket, .refused("not available in this version")))
  }
}
