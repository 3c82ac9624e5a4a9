import Basis
import Wire

/// The messages that a router sends, ready made: encoded again only when the source or the checksum's reading changes.
struct Outgoing: Sendable {
  struct Message: Sendable {
    let destination: Destination
    let bytes: [UInt8]
  }

  private(set) var adverts: [Message] = []
  /// The same with priority 0.
  private(set) var farewells: [Message] = []
  private(set) var local: IPAddress?
  /// What the advert lists; for IPv6 a link-local address first.
  private(set) var addresses: [IPAddress]
  private var settings: Settings
  private var priority: UInt8
  private var coverage: ChecksumCoverage

  init(_ settings: Settings) {
    self.settings = settings
    priority = settings.priority
    coverage = settings.checksum == .message ? .message : .pseudoHeader
    addresses = settings.advertisedAddresses
  }

  mutating func prepare(from local: IPAddress) {
    guard self.local != local else { return }
    self.local = local
    encode()
  }

  /// What a valid advert of a peer used; matters with `ChecksumCoverage.learned` only.
  mutating func learn(_ heard: ChecksumCoverage) {
    guard settings.checksum == .learned, heard != coverage else { return }
    coverage = heard
    encode()
  }

  mutating func change(priority: UInt8) {
    self.priority = priority
    encode()
  }

  mutating func change(to settings: Settings, priority: UInt8) {
    if settings.checksum != self.settings.checksum, settings.checksum != .learned {
      coverage = settings.checksum == .message ? .message : .pseudoHeader
    }
    self.settings = settings
    self.priority = priority
    addresses = settings.advertisedAddresses
    encode()
  }

  private mutating func encode() {
    guard let local else { return }
    adverts = messages(priority: priority, from: local)
    farewells = messages(priority: 0, from: local)
  }

  private func messages(priority: UInt8, from local: IPAddress) -> [Message] {
    let advert = Advert(
      version: settings.version, id: settings.id, priority: priority, interval: settings.interval, addresses: addresses)
    switch settings.peers {
    case .multicast:
      let bytes = advert.encoded(from: local, to: settings.family.vrrpGroup, coverage: coverage)
      return [Message(destination: .multicast, bytes: bytes)]
    case .unicast(let peers):
      return peers.filter { $0.family == settings.family && $0 != local }.map { peer in
        Message(
          destination: .unicast(peer), bytes: advert.encoded(from: local, to: peer, coverage: coverage))
      }
    }
  }

  /// Whether a message lists our addresses, in any order. The first of IPv6 may differ: it is each vendor's own choice.
  func lists(_ header: AdvertHeader, _ message: RawSpan) -> Bool {
    guard header.count == addresses.count else { return false }
    let first = header.family == .ipv6 ? 1 : 0
    var same = first
    while same < header.count, header.address(same, in: message) == addresses[same] { same += 1 }
    // The same order nearly always, so the search is rare. As ours are all different and the counts agree,
    // it's enough that each of ours is among theirs.
    return same == header.count
      || addresses[same...].allSatisfy { ours in
        (first..<header.count).contains { header.address($0, in: message) == ours }
      }
  }
}

extension AddressFamily {
  /// 224.0.0.18 or ff02::12.
  public var vrrpGroup: IPAddress { self == .ipv4 ? .v4(.vrrpGroup) : .v6(.vrrpGroup) }
}

extension Settings {
  /// 00-00-5E-00-01-{VRID}, or 00-00-5E-00-02-{VRID} for IPv6 (RFC 9568 §7.3).
  public var virtualMAC: MACAddress {
    MACAddress(rawValue: 0x0000_5E00_0000 | (family == .ipv4 ? 0x100 : 0x200) | UInt64(id))
  }

  /// The link-local address that an IPv6 advert lists first (RFC 9568 §5.2.9): the first of `addresses` where that is one,
  /// otherwise the one derived from the virtual MAC. Nil for IPv4.
  public var virtualLinkLocal: IPv6Address? {
    guard family == .ipv6 else { return nil }
    if case .v6(let first)? = addresses.first, first.isLinkLocal { return first }
    return IPv6Address(linkLocalOf: virtualMAC)
  }

  /// The list as it is advertised: at most 255, and for IPv6 the link-local one first.
  public var advertisedAddresses: [IPAddress] {
    guard let linkLocal = virtualLinkLocal, addresses.first != .v6(linkLocal) else {
      return Array(addresses.prefix(255))
    }
    return [.v6(linkLocal)] + addresses.prefix(254)
  }
}
