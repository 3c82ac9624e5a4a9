import Basis
import Glibc
import Wire

/// What the neighbours are told, and what they say.
extension AddressKeeper {
  /// Tells the neighbours where all addresses of the VIP are, if the generation owns it. What is not urgent goes out when the
  /// commands that wait are done.
  func announce(_ entry: Int, _ generation: UInt64) {
    guard isOwned(entry, generation) else { return }
    let isFirst = entries[entry].announced != generation
    entries[entry].announced = generation
    for address in entries[entry].vip.addresses { enqueue(address, entry, generation, isFirst: isFirst) }
    announceWaiting(onlyFirst: true)
  }

  /// Tells of one address that is new, or was put back.
  func announceAgain(_ address: IPAddress, _ entry: Int, _ generation: UInt64) {
    enqueue(address, entry, generation, isFirst: true)
    announceWaiting(onlyFirst: true)
  }

  private func enqueue(_ address: IPAddress, _ entry: Int, _ generation: UInt64, isFirst: Bool) {
    var item = AnnouncementQueue.Item(vip: entries[entry].vip.id, generation: generation, address: address)
    queue.add(item, isFirst: isFirst)
    item.isNudge = true
    queue.add(item, isFirst: false)
  }

  /// An address whose lease is over may be another node's by now.
  private func isOwned(_ entry: Int, _ generation: UInt64) -> Bool {
    guard case .held(generation, let until) = entries[entry].phase else { return false }
    return isBefore(until) && record.holds(entries[entry].vip.id, generation: generation)
  }

  /// Sends what may go now.
  func announceWaiting(onlyFirst: Bool = false) {
    while let item = queue.next(at: Clock.now(), onlyFirst: onlyFirst) {
      guard let entry = entries.firstIndex(where: { $0.vip.id == item.vip }), isOwned(entry, item.generation),
        entries[entry].vip.addresses.contains(item.address)
      else { continue }
      send(item, entry)
    }
    if !onlyFirst, !queue.isEmpty { counting.count { $0.paced += 1 } }
  }

  private func send(_ item: AnnouncementQueue.Item, _ entry: Int) {
    let vip = entries[entry].vip
    // Through the interface itself, whose MAC or virtual MAC is in the frame.
    guard let link = link(of: entry), let own = link.macAddress else { return }  // no Ethernet, no neighbours to tell
    let mac = vip.virtualMAC?.address(item.address.family) ?? own
    do throws(SystemError) {
      if item.isNudge {
        for gateway in gateways.all(on: link.index) where gateway.address.family == item.address.family {
          try announcer.nudge(gateway.address, at: gateway.macAddress, from: item.address, at: mac, on: link.index)
          counting.count { $0.nudges += 1 }
        }
      } else {
        let device = vip.device(item.address.family)
        try announcer.announce(item.address, at: mac, on: link.index, isRouter: isRouter(device, item.address))
        counting.count { $0.announcements += 1 }
      }
    } catch {
      report(.announcementFailed(vip.id, error))
    }
  }

  private func isRouter(_ interface: String, _ address: IPAddress) -> Bool {
    guard case .v6 = address, let value = Sysctl.read("net/ipv6/conf/\(interface)/forwarding") else { return false }
    return value != "0"
  }

  // MARK: Claims of others

  /// Listens on the interfaces that the VIPs are on now.
  func followClaims(again: Bool = false) {
    let indices = Set(
      entries.indices.compactMap { entry in link(of: entry).flatMap { $0.isLoopback ? nil : $0.index } })
    guard again || indices != listening else { return }
    listening = indices
    followGroups()
    do throws(SystemError) {
      try claims.follow(addressesOfVIPs.sorted(), on: indices)
    } catch {
      listening = []  // tried again with the next change
      report(.blind(error))
    }
  }

  /// Listens where the neighbours' questions for addresses on a virtual MAC come.
  private func followGroups() {
    var wanted: Set<SolicitedNodeGroups.Membership> = []
    for entry in entries.indices where entries[entry].vip.virtualMAC != nil {
      guard let link = link(of: entry) else { continue }
      for case .v6(let address) in entries[entry].vip.addresses {
        wanted.insert(.init(group: address.solicitedNode, index: link.index))
      }
    }
    do throws(SystemError) {
      try groups.follow(wanted)
    } catch {
      report(.notListening(error))
    }
  }

  func readClaims() {
    claims.read { claim, _ in
      guard addressesOfVIPs.contains(claim.address), !isOwn(claim.mac) else { return }
      for entry in entries.indices where entries[entry].vip.addresses.contains(claim.address) {
        // Of a VIP that is not held here, its owner says so.
        guard case .held(let generation, _) = entries[entry].phase,
          record.holds(entries[entry].vip.id, generation: generation),
          claim.mac != entries[entry].vip.virtualMAC?.address(claim.address.family)
        else { continue }
        counting.count { $0.claims += 1 }
        if entries[entry].claims.take(at: Clock.now()) {
          report(.claimed(entries[entry].vip.id, claim.address, by: claim.mac))
        }
      }
    }
  }

  private func isOwn(_ mac: MACAddress) -> Bool { table.links.contains { $0.macAddress == mac && !$0.isVirtualRouter } }
}

/// The gateways of interfaces, asked for at most once a second.
struct GatewayCache {
  private var known: [Int32: (gateways: [Gateway], asked: Instant)] = [:]
  private static let age = Duration.seconds(1)

  mutating func all(on index: Int32) -> [Gateway] {
    let now = Clock.now()
    if let entry = known[index], now - entry.asked < Self.age { return entry.gateways }
    do throws(SystemError) {
      let gateways = try Gateway.all(on: index)
      known[index] = (gateways, now)
      return gateways
    } catch {
      // Announcements reach a gateway as well; this only helps where they don't.
      known[index] = ([], now)
      return []
    }
  }
}
