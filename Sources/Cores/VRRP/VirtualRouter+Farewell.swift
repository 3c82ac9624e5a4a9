import Wire

extension VirtualRouter {
  /// A message of priority 0 that is ready to be sent, by whoever gives the addresses up in this router's place.
  public struct Farewell: Sendable, Hashable {
    public let source: IPAddress
    public let destination: Destination
    /// What stands behind the IP header, its checksum filled in.
    public let message: [UInt8]
  }

  /// As they would be sent now; none before the router knows where its adverts come from.
  public var farewells: [Farewell] {
    guard let local = outgoing.local else { return [] }
    return outgoing.farewells.map { Farewell(source: local, destination: $0.destination, message: $0.bytes) }
  }
}
