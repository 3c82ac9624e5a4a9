/// Why a message was not taken. Each has its own counter; the checks are made in this order, and the first that fails counts.
///
/// The order is RFC 9568 §7.1's as far as that goes: what the IP header says, then version, type, length, checksum, VRID.
public enum Discard: UInt8, Sendable, Hashable, CaseIterable, Error {
  /// The router is in Initialize (RFC 9568 §6.4.1).
  case notRunning
  /// IPv4 for a router of IPv6, or the other way.
  case family
  /// From no host's address: 0.0.0.0, ::, a group or 255.255.255.255; or from an address of the VIP, which only a router whose own
  /// it is for good (priority 255) may send from.
  case source
  /// One of our own adverts came back, from a loop in the network or a bridge that reflects.
  case reflected
  /// TTL or hop limit is not 255: it crossed a router (RFC 9568 §5.1.1.3, §5.1.2.3).
  case hopLimit
  /// The same, of a unicast advert.
  case unicastHopLimit
  /// Not sent to the group, or sent to it while adverts are unicast.
  case destination
  /// From an address that is not among the unicast peers.
  case stranger
  /// Shorter than a VRRP header.
  case truncated
  /// Another version than the configured one.
  case version
  /// Not an ADVERTISEMENT (RFC 9568 §5.2.2).
  case type
  /// No address is counted (RFC 9568 §5.2.5).
  case noAddresses
  /// Not as long as its count of addresses asks for.
  case length
  /// VRRPv2 with an authentication type other than 0 (RFC 3768 §5.3.6).
  case authentication
  /// Wrong, by both readings where there are two.
  case checksum
  /// Another virtual router's.
  case id
  /// An interval of zero would be a storm.
  case zeroInterval
  /// The first IPv6 address is not link-local (RFC 9568 §5.2.9).
  case notLinkLocal
}

extension Discard: CustomStringConvertible {
  public var description: String {
    switch self {
    case .notRunning: "not running"
    case .family: "wrong address family"
    case .source: "source is no node's address"
    case .reflected: "own advert came back"
    case .hopLimit: "TTL or hop limit not 255"
    case .unicastHopLimit: "unicast TTL or hop limit not 255"
    case .destination: "wrong destination"
    case .stranger: "source is no peer"
    case .truncated: "shorter than a header"
    case .version: "wrong version"
    case .type: "not an advert"
    case .noAddresses: "no addresses"
    case .length: "wrong length"
    case .authentication: "authentication not supported"
    case .checksum: "wrong checksum"
    case .id: "another VRID"
    case .zeroInterval: "interval 0"
    case .notLinkLocal: "first address not link-local"
    }
  }
}
