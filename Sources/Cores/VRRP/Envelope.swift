import Wire

/// What the IP header and the receiving socket say of a VRRP message.
public struct Envelope: Sendable, Hashable {
  /// The interface's name; at most 15 bytes, so that it is stored inline.
  public var interface: String
  public var source: IPAddress
  public var destination: IPAddress
  /// TTL or hop limit as received.
  public var hopLimit: UInt8

  public init(interface: String, source: IPAddress, destination: IPAddress, hopLimit: UInt8) {
    self.interface = interface
    self.source = source
    self.destination = destination
    self.hopLimit = hopLimit
  }
}

/// Where an advert goes.
public enum Destination: Sendable, Hashable {
  case multicast
  case unicast(IPAddress)
}
