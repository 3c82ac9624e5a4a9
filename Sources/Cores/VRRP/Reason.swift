import Basis
import Wire

/// Why a router changed its state, or announces again. It prints itself for people.
public enum Reason: Sendable, Hashable {
  /// Started with priority 255.
  case ownsAddresses
  /// Started, and listens first.
  case started
  /// No owner was heard for as long as an owner may be silent; nil: none was heard at all.
  case silence(of: IPAddress?, for: Duration)
  /// The owner gave the addresses up (priority 0).
  case left(IPAddress)
  /// The owner's priority is lower than ours, and we preempt.
  case preempts(owner: IPAddress, theirs: UInt8, ours: UInt8)
  /// An owner with a higher priority was heard.
  case higherPriority(IPAddress, theirs: UInt8, ours: UInt8)
  /// An owner with our priority and a greater address was heard.
  case greaterAddress(IPAddress, priority: UInt8)
  /// Another router believes that it owns the addresses, and loses against us.
  case losingAdvert(from: IPAddress, theirs: UInt8, ours: UInt8)
  /// This node lost the addresses, and makes way.
  case yielded
  /// This router is active and was not run for that long: it announces again.
  case stalled(Duration)
  /// This router was silent for that long, and another one has taken over.
  case overslept(Duration)
  /// The guardian gave the addresses up while this process was stalled.
  case revoked
  /// A planned move: to that node, or from it. By name.
  case handedTo(String)
  case handedBy(String)
  /// The VIPs of its group move together, and that one moved.
  case group(with: String)
  /// The addresses are given up to that end; for people.
  case gaveWay(String)
  /// Stopped politely.
  case shutdown
  /// Stopped without a word, as the text says.
  case abandoned(String)
}

extension Reason: CustomStringConvertible {
  public var description: String { text(\.description) }

  /// - Parameter name: what an address is called; over IPv6 it says nothing to most people.
  public func text(_ name: (IPAddress) -> String) -> String {
    switch self {
    case .ownsAddresses: "this node owns the addresses for good (priority 255)"
    case .started: "started"
    case .silence(let owner?, let time): "no advert from \(name(owner)) for \(time.words)"
    case .silence(nil, let time): "no advert from anybody for \(time.words)"
    case .left(let owner): "\(name(owner)) leaves (priority 0)"
    case .preempts(let owner, let theirs, let ours): "higher priority than \(name(owner)) (\(ours) > \(theirs))"
    case .higherPriority(let owner, let theirs, let ours):
      "higher priority \(theirs) > \(ours) heard from \(name(owner))"
    case .greaterAddress(let owner, let priority):
      "equal priority \(priority) and a greater address heard from \(name(owner))"
    case .losingAdvert(let other, 0, _): "\(name(other)) claimed the addresses and leaves (priority 0)"
    case .losingAdvert(let other, let theirs, let ours) where theirs == ours:
      "\(name(other)) claims the addresses with equal priority \(theirs) and a smaller address"
    case .losingAdvert(let other, let theirs, let ours):
      "\(name(other)) claims the addresses with a lower priority (\(theirs) < \(ours))"
    case .yielded: "this node lost the addresses and makes way"
    case .stalled(let time): "this node was stalled for \(time.words)"
    case .overslept(let time): "this node was silent for \(time.words), and another one took over"
    case .revoked: "this node was stalled, and its guardian gave the VIP up"
    case .handedTo(let node): "handed over to \(node)"
    case .handedBy(let node): "handed over by \(node)"
    case .group(let vip): "moves together with \(vip)"
    case .gaveWay(let why): why
    case .shutdown: "stopped"
    case .abandoned(let why): why
    }
  }
}

/// Something that does no harm by itself but that somebody should look at. Said once, and again only when it changes.
public enum Notice: Sendable, Hashable {
  /// Routers should agree on the interval; the advert is obeyed all the same.
  case intervalMismatch(from: IPAddress, theirs: Duration, ours: Duration)
  /// Routers should agree on the addresses; dropping the advert would make two owners while a list is being changed.
  case addressesMismatch(from: IPAddress, theirs: [IPAddress], ours: [IPAddress])
  /// A peer's VRRPv3 checksums over IPv4 are made in this way; with `ChecksumCoverage.learned` ours are now too.
  case checksumCoverage(from: IPAddress, ChecksumCoverage)
  /// A unicast peer's adverts are dropped for their TTL or hop limit: unless that changes, both may own the addresses.
  case peerHopLimit(from: IPAddress, UInt8)
}

extension Notice: CustomStringConvertible {
  public var description: String {
    switch self {
    case .intervalMismatch(let from, let theirs, let ours):
      "\(from) advertises every \(theirs.words), this node every \(ours.words): set the same interval on both"
    case .addressesMismatch(let from, let theirs, let ours):
      "\(from) advertises \(list(theirs)), this node \(list(ours)): set the same addresses on both"
    case .checksumCoverage(let from, .message): "\(from) computes checksums over the message only (RFC 9568)"
    case .peerHopLimit(let from, let hopLimit):
      "\(from) sends adverts with TTL or hop limit \(hopLimit), which are dropped: it must be 255 on arrival (keepalived: unicast_ttl 255)"
    case .checksumCoverage(let from, _): "\(from) computes checksums with the pseudo-header (as keepalived does)"
    }
  }
}

/// Some of them: an advert may list 255, as whoever sends it likes.
private func list(_ addresses: [IPAddress]) -> String {
  let most = 5
  let shown = addresses.prefix(most).map(\.description).joined(separator: " ")
  return addresses.isEmpty
    ? "nothing" : addresses.count > most ? "\(shown) … and \(addresses.count - most) more" : shown
}
