import Basis
import Health
import Peering
import VRRP
import Wire

/// What can happen to a node. Every input of the control plane is one of these, so a recording of them is a whole life.
public enum Event: Sendable, Equatable {
  /// The process is ready: every element may begin.
  case start
  /// Instead of `start`: another process of this node ended, and this one goes on in its place.
  case resume(Resumption)
  /// A polite stop was asked for. `Effect.stopped` follows when nothing of this node is left.
  case stop
  /// A deadline was reached.
  case timer
  /// A VRRP message arrived: the bytes behind the IP header.
  case advert(Envelope, [UInt8])
  /// What is known of an interface now.
  case link(interface: String, LinkState)
  /// The address thread did, or failed to do, what it was told; or saw somebody else do it.
  case address(vip: Int, AddressReport)
  /// A check ended; `probe` is the number that `Effect.probe` gave it.
  case check(service: Int, backend: Int, probe: UInt64, CheckResult)
  /// The proxy's workers: false while one is dead or stuck.
  case workers(healthy: Bool)
  /// What something that is tracked is like now; `tracker` is an index into `NodeSettings.trackers`.
  case track(tracker: Int, TrackReport)
  /// A witness answered what `Effect.askWitnesses` asked, with the number that it gave.
  case witness(vip: Int, round: UInt64)
  /// News of the peer link; `peer` is an index into `NodeSettings.peers`.
  case peer(Int, PeerReport)
  /// A person asked for something. Answered by `Effect.answer` with the same ticket, perhaps later.
  case command(Command, ticket: UInt64)
  /// The configuration changed. A VIP or service keeps its index as long as it lives; see `NodeSettings`. For an interface that no VIP
  /// was on before, `link` follows.
  case settings(NodeSettings)
  /// What `Effect.prepare` started has ended: the VIP may be announced, or can't be had here.
  case prepared(vip: Int, generation: UInt64, succeeded: Bool)
  /// Every proxied connection of the VIP is finished or reset, as `Effect.closeConnections` asked.
  case connectionsClosed(vip: Int, generation: UInt64)
}

/// What something that is tracked is like. `unknown` is no failure: it changes nothing.
public enum TrackReport: Sendable, Hashable {
  case good
  /// In words, for people.
  case bad(String)
  case unknown(String)
}

public enum PeerReport: Sendable, Hashable {
  /// The link to the peer is up. Everything it knew before is to be asked anew.
  case up
  case down
  case said(PeerMessage)
}

/// What a person may ask of a running node.
public enum Command: Sendable, Hashable {
  /// Hand the VIP over, to that peer (an index into `NodeSettings.peers`) or, with nil, to the best one. Asked of a node that
  /// doesn't own the VIP, it goes to the owner; `toSelf` asks for this node.
  case move(vip: Int, to: Target)
  /// Leave every election politely, and stay out. Refused where a VIP of this node's would then be nowhere, as far as it knows.
  case standby
  /// The same, whatever becomes of the VIPs.
  case standbyAnyway
  /// Take part again.
  case resume

  public enum Target: Sendable, Hashable {
    case best
    case thisNode
    case peer(Int)
  }
}

/// An interface as the kernel sees it now.
public struct LinkState: Sendable, Hashable {
  /// Administratively up, and a carrier is seen.
  public var isUp: Bool
  /// The source of multicast IPv4 adverts: the first address of the interface that is no VIP.
  public var ipv4: IPv4Address?
  /// The source of multicast IPv6 adverts: a link-local address that is not tentative.
  public var linkLocal: IPv6Address?
  /// The sources of unicast adverts: this node's addresses by the configuration, where the interface has them. The peers know this
  /// node by no others.
  public var unicastIPv4: IPv4Address?
  public var unicastIPv6: IPv6Address?
  /// Adverts can be sent and heard there. False while the kernel refuses the socket, or refuses to send: a node that can't be heard
  /// must not own what another node then takes too.
  public var canAdvertise = true
  /// Something was received there since the carrier rose. A switch port that has just come up may swallow everything for half a
  /// minute: whoever claimed then would be a second owner.
  public var hasReceived = true

  public init(
    isUp: Bool, ipv4: IPv4Address?, linkLocal: IPv6Address?, unicastIPv4: IPv4Address? = nil,
    unicastIPv6: IPv6Address? = nil
  ) {
    self.isUp = isUp
    self.ipv4 = ipv4
    self.linkLocal = linkLocal
    self.unicastIPv4 = unicastIPv4
    self.unicastIPv6 = unicastIPv6
  }

  /// Where a virtual router's adverts come from; nil while the interface has no such address.
  public func source(of router: VRRP.Settings) -> IPAddress? {
    switch (router.family, router.peers) {
    case (.ipv4, .multicast): ipv4.map(IPAddress.v4)
    case (.ipv4, .unicast): unicastIPv4.map(IPAddress.v4)
    case (.ipv6, .multicast): linkLocal.map(IPAddress.v6)
    case (.ipv6, .unicast): unicastIPv6.map(IPAddress.v6)
    }
  }
}

/// What the address thread reports of a VIP's addresses. Each carries the generation of the ownership that it is about.
public enum AddressReport: Sendable, Hashable {
  /// All are on the interface, until the instant where a lease limits them.
  case added(generation: UInt64, until: Instant?)
  case renewed(generation: UInt64, until: Instant?)
  case removed(generation: UInt64)
  /// The kernel refused (an errno): the node can't own the VIP.
  case failed(generation: UInt64, code: Int32)
  /// One went away and it was not the address thread's doing: another program, or the lease ran out.
  case vanished(generation: UInt64)
  /// Another program removed one, and it is on the interface again.
  case putBack(generation: UInt64)
  /// The guardian gave the VIP up while this process was stalled: priority 0 was said, the addresses are gone.
  case revoked(generation: UInt64)
  /// Somebody else announced one of the addresses, from that hardware address.
  case claimed(IPAddress, by: MACAddress)
  /// The kernel found that another machine has this IPv6 address (`dadfailed`).
  case duplicate(IPAddress)
}
