import Basis
import Wire

/// What the faults leave of the network, as far as ownership is concerned.
struct Connectivity: Sendable, Hashable {
  /// Hosts whose processes and link are gone: what their kernel still holds counts for nobody.
  var dead: Set<String> = []
  /// Hosts whose link carries nothing.
  var isolated: Set<String> = []
  var cut: Set<Cabling.Pair> = []

  /// Both hear each other.
  func isMutual(_ first: String, _ second: String) -> Bool {
    isReachable(first) && isReachable(second) && !cut.contains(Cabling.Pair(from: first, to: second))
      && !cut.contains(Cabling.Pair(from: second, to: first))
  }

  /// The client can reach it.
  func isReachable(_ host: String) -> Bool { !dead.contains(host) && !isolated.contains(host) }
}

/// Who held the VIP's addresses when, and who could reach whom: the ground for every figure about owners.
struct OwnershipTimeline: Sendable {
  var addresses: [IPAddress]
  var nodes: [String]
  var changes: [AddressChange]
  /// In order of time; before the first, all is whole.
  var connectivity: [(time: Instant, state: Connectivity)]

  struct Figures: Sendable, Hashable {
    /// In all, and the longest stretch.
    var twoOwners = Duration.zero
    var longestTwoOwners = Duration.zero
    var noOwner = Duration.zero
  }

  func holders(of address: IPAddress, at time: Instant) -> Set<String> {
    var holders: Set<String> = []
    for change in changes where change.address == address && change.time <= time {
      if change.isHeld { holders.insert(change.host) } else { holders.remove(change.host) }
    }
    return holders
  }

  func connectivity(at time: Instant) -> Connectivity {
    connectivity.last { $0.time <= time }?.state ?? Connectivity()
  }

  /// The nodes that own the VIP then: they hold one of its addresses, and are not dead.
  func owners(at time: Instant) -> [String] {
    let state = connectivity(at: time)
    let holders = addresses.reduce(into: Set<String>()) { $0.formUnion(self.holders(of: $1, at: time)) }
    return nodes.filter { holders.contains($0) && !state.dead.contains($0) }
  }

  /// How often a node took an address, of any VIP: where nothing is broken, each is a false failover or the way back from one.
  func takes(from start: Instant, to end: Instant) -> Int {
    changes.count { $0.isHeld && start < $0.time && $0.time < end }
  }

  /// Of the address that fared worst.
  func figures(from start: Instant, to end: Instant) -> Figures {
    var worst = Figures()
    for address in addresses {
      let figures = figures(of: address, from: start, to: end)
      worst.twoOwners = max(worst.twoOwners, figures.twoOwners)
      worst.longestTwoOwners = max(worst.longestTwoOwners, figures.longestTwoOwners)
      worst.noOwner = max(worst.noOwner, figures.noOwner)
    }
    return worst
  }

  private func figures(of address: IPAddress, from start: Instant, to end: Instant) -> Figures {
    var figures = Figures()
    for rivalry in rivalries(for: address, from: start, to: end) {
      let length = rivalry.upperBound - rivalry.lowerBound
      figures.twoOwners += length
      figures.longestTwoOwners = max(figures.longestTwoOwners, length)
    }
    for (from, to) in stretches(from: start, to: end) {
      let state = connectivity(at: from)
      if !holders(of: address, at: from).contains(where: state.isReachable) { figures.noOwner += to - from }
    }
    return figures
  }

  /// While two nodes that reach each other hold the address, in order.
  func rivalries(for address: IPAddress, from start: Instant, to end: Instant) -> [Range<Instant>] {
    var rivalries: [Range<Instant>] = []
    for (from, to) in stretches(from: start, to: end) {
      let state = connectivity(at: from)
      let holding = holders(of: address, at: from)
      let rivals = nodes.filter(holding.contains)
      let hasRivals = rivals.indices.contains { first in
        rivals[(first + 1)...].contains { state.isMutual(rivals[first], $0) }
      }
      guard hasRivals else { continue }
      if let last = rivalries.last, last.upperBound == from {
        rivalries[rivalries.count - 1] = last.lowerBound..<to
      } else {
        rivalries.append(from..<to)
      }
    }
    return rivalries
  }

  /// When something about owners or who reaches whom changed, in order.
  func moments(from start: Instant, to end: Instant) -> [Instant] {
    (changes.filter { addresses.contains($0.address) }.map(\.time) + connectivity.map(\.time))
      .filter { start < $0 && $0 < end }.sorted()
  }

  /// The time between two such moments, in which nothing changed.
  private func stretches(from start: Instant, to end: Instant) -> [(from: Instant, to: Instant)] {
    guard start < end else { return [] }
    let cuts = [start] + moments(from: start, to: end) + [end]
    return zip(cuts, cuts.dropFirst()).filter { $0 < $1 }.map { (from: $0, to: $1) }
  }
}
