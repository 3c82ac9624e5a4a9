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
    guard start < end else { return figures }
    let moments = changes.filter { $0.address == address }.map(\.time) + connectivity.map(\.time)
    var cuts = [start] + moments.filter { start < $0 && $0 < end }.sorted()
    cuts.append(end)
    var stretch = Duration.zero
    for (from, to) in zip(cuts, cuts.dropFirst()) {
      let state = connectivity(at: from)
      let holders = nodes.filter(self.holders(of: address, at: from).contains)
      if !holders.contains(where: state.isReachable) { figures.noOwner += to - from }
      let hasRivals = holders.indices.contains { first in
        holders[(first + 1)...].contains { state.isMutual(holders[first], $0) }
      }
      stretch = hasRivals ? stretch + (to - from) : .zero
      if hasRivals { figures.twoOwners += to - from }
      figures.longestTwoOwners = max(figures.longestTwoOwners, stretch)
    }
    return figures
  }
}
