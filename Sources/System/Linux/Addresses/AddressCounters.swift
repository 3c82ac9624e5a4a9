import Synchronization

/// What the address thread did and saw since it started.
public struct AddressCounters: Sendable, Hashable {
  /// Addresses that another program removed and that were put back.
  public var putBack: UInt64 = 0
  /// Addresses that nobody here owned, and that were removed.
  public var strays: UInt64 = 0
  /// Times that another program put a VIP on an interface with another prefix length.
  public var foreign: UInt64 = 0
  /// Times that the kernel found an IPv6 address on another machine.
  public var duplicates: UInt64 = 0
  /// Packets in which another machine claimed an address that was held here, those that were not reported included.
  public var claims: UInt64 = 0
  /// Addresses told to the neighbours.
  public var announcements: UInt64 = 0
  /// Times that announcements were put off, so that switches and neighbours are not flooded.
  public var paced: UInt64 = 0
  /// Requests sent to gateways from a VIP.
  public var nudges: UInt64 = 0

  public init() {}
}

/// The counters where any thread reads them.
final class CounterBox: Sendable {
  private let state = Mutex(AddressCounters())

  var value: AddressCounters { state.withLock { $0 } }
  func count(_ change: (inout AddressCounters) -> Void) { state.withLock { change(&$0) } }
}
