import Basis
import Wire

public enum Version: UInt8, Sendable, Hashable { case v2 = 2, v3 = 3 }

/// How the checksum of a VRRPv3 message over IPv4 is computed. IPv6 always counts the pseudo-header, v2 never.
///
/// RFC 9568 §5.2.8 says the message only; RFC 5798 was read by keepalived, FRR, tcpdump and Wireshark as with the pseudo-header.
/// Both are accepted on receipt; this says what is sent.
public enum ChecksumCoverage: String, Sendable, Hashable {
  /// What keepalived sends, and the default.
  case pseudoHeader = "pseudo-header"
  case message
  /// What the last valid advert of a peer used; the pseudo-header until one was heard.
  case learned
}

/// To whom adverts go.
public enum Peers: Sendable, Hashable {
  /// 224.0.0.18 or ff02::12 (RFC 9568 §5.1.1.2, §5.1.2.2).
  case multicast
  /// Each of these, and adverts are taken from these only.
  case unicast([IPAddress])
}

/// One virtual router, as it is configured. A value that cannot be wrong: `Configuration` checks before it makes one.
public struct Settings: Sendable, Hashable {
  /// VRID, 1-255.
  public var id: UInt8
  public var version: Version
  /// Over which family adverts are sent.
  public var family: AddressFamily
  /// 255 owns the addresses for good (RFC 9568 §5.2.4), 1-254 back it up.
  public var priority: UInt8
  /// Advertisement_Interval. v3: 10 ms to 40.95 s in steps of 10 ms; v2: 1 to 255 s in whole seconds.
  public var interval: Duration
  public var preempt: Bool
  /// How long a lower-priority owner is left alone after this node started or came back.
  public var preemptDelay: Duration
  /// Accept_Mode: packets to the VIP are for this node even though it does not own the address for good.
  public var acceptMode: Bool
  /// The addresses that the advert lists, of `family` only, without the link-local one that IPv6 puts first.
  public var addresses: [IPAddress]
  public var peers: Peers
  public var checksum: ChecksumCoverage

  public init(
    id: UInt8, version: Version = .v3, family: AddressFamily, priority: UInt8, interval: Duration = .seconds(1),
    preempt: Bool = true, preemptDelay: Duration = .zero, acceptMode: Bool = true, addresses: [IPAddress],
    peers: Peers = .multicast, checksum: ChecksumCoverage = .pseudoHeader
  ) {
    self.id = id
    self.version = version
    self.family = family
    self.priority = priority
    self.interval = interval
    self.preempt = preempt
    self.preemptDelay = preemptDelay
    self.acceptMode = acceptMode
    self.addresses = addresses
    self.peers = peers
    self.checksum = checksum
  }
}
