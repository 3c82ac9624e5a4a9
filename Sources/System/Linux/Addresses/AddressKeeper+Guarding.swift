import Basis
import Glibc
import Wire

/// What keeps a VIP whole where it is owned, and away where it is not.
extension AddressKeeper {
  /// A VIP's address where it must not be.
  struct Foreign: Hashable {
    var address: IPAddress
    var index: Int32
    var prefixLength: Int
  }

  // MARK: What the kernel tells

  /// Reads all changes that wait, and acts on those that concern a VIP.
  func readChanges() {
    if watch.follow({ note($0) }) {
      for entry in entries.indices { entries[entry].needsLook = true }
      lookForForeign()
    }
    watch.tell()
    followClaims()
    for entry in entries.indices where entries[entry].needsLook { look(entry) }
  }

  private func note(_ message: NetlinkMessage) {
    switch message {
    case .address(let address, let removed) where addressesOfVIPs.contains(address.address):
      for entry in entries.indices where entries[entry].vip.addresses.contains(address.address) {
        if !removed, address.isDuplicate {
          counting.count { $0.duplicates += 1 }
          report(.duplicate(entries[entry].vip.id, address.address))
        }
        // Gone though it is held, there though it is not, or over; all else is this thread's own doing.
        switch entries[entry].phase {
        case .held(let generation, _)
        where !removed && self.record.holds(entries[entry].vip.id, generation: generation): break
        case .idle, .held: entries[entry].needsLook = true
        }
      }
      noteForeign(address, removed: removed)
    case .link(let link, _):
      for entry in entries.indices where concerns(link, entry) { entries[entry].needsLook = true }
      for found in foreign.keys where table.link(at: found.index) == nil { forget(found) }
    default: break
    }
  }

  /// By index, too: it may have another name by now.
  private func concerns(_ link: LinkRecord, _ entry: Int) -> Bool {
    let (vip, home) = (entries[entry].vip, entries[entry].home)
    return link.name == vip.interface || link.index == home.interface || link.index == home.ipv4
      || link.index == home.ipv6
  }

  // MARK: Where a VIP must not be

  /// Looks at everything that the interfaces have.
  func lookForForeign() {
    for link in table.links {
      for address in table.addresses[link.index] ?? [] where addressesOfVIPs.contains(address.address) {
        noteForeign(address, removed: false)
      }
    }
  }

  private func noteForeign(_ address: AddressRecord, removed: Bool) {
    let found = Foreign(address: address.address, index: address.index, prefixLength: address.prefixLength)
    if removed { return forget(found) }
    guard let link = table.link(at: address.index), !link.isLoopback,
      let entry = entries.firstIndex(where: { $0.vip.addresses.contains(address.address) })
    else { return }
    // Alone on its own interface it is right, or a stray that `look` removes.
    let family = address.address.family
    let isAtHome =
      address.isVIP(address.address)
      && (link.index == currentIndex(entry, family) || link.name == entries[entry].vip.device(family))
    guard !isAtHome, foreign.updateValue(link.name, forKey: found) == nil else { return }
    counting.count { $0.foreign += 1 }
    report(
      .foreign(
        entries[entry].vip.id, address.address, prefixLength: address.prefixLength, interface: link.name))
  }

  private func forget(_ found: Foreign) {
    guard let interface = foreign.removeValue(forKey: found),
      let entry = entries.firstIndex(where: { $0.vip.addresses.contains(found.address) })
    else { return }
    report(
      .foreignGone(entries[entry].vip.id, found.address, prefixLength: found.prefixLength, interface: interface))
  }

  // MARK: Where it must be

  /// Compares what is on the interface with what should be.
  /// - Parameter isSecond: it was put off once already, and what the loop sent meanwhile is done.
  func look(_ entry: Int, isSecond: Bool = false) {
    entries[entry].needsLook = false
    entries[entry].lookAgain = nil
    let vip = entries[entry].vip
    switch entries[entry].phase {
    case .held(let generation, let until) where record.holds(vip.id, generation: generation):
      if isWhole(entry) { return }
      do throws(SystemError) {
        try watch.read()
      } catch {
        entries[entry].lookAgain = Clock.now() + .milliseconds(100)
        return report(.blind(error))
      }
      // One of the same name may have taken its place.
      guard isAtHome(entry) else { return vanish(entry, .interfaceLost) }
      for address in vip.addresses where !table.hasVIP(address, on: entries[entry].home[address.family]) {
        guard putBack(address, entry, generation, until) else { return }
      }
    case .held:
      // Revoked. If `release` did it, its command is on the way; else somebody who has the record.
      if isSecond { vanish(entry, .revoked) } else { lookSoon(entry) }
    case .idle:
      removeStrays(entry)
      if entries[entry].lookAgain == nil, record.mayBePresent(vip.id, generation: entries[entry].told) {
        // A removal failed, or was never asked for. What the kernel told may be old, so it is asked.
        remove(entry)
        if entries[entry].lookAgain != nil { entries[entry].lookAgain = Clock.now() + .milliseconds(100) }
      }
    }
  }

  /// Somebody added it again, or a renewal came behind the removal: two nodes would answer for it.
  private func removeStrays(_ entry: Int) {
    let vip = entries[entry].vip
    for address in vip.addresses {
      // Where it would be, and where it was: the interface may have another name by now.
      let indices = [device(of: entry, address.family)?.index, entries[entry].home[address.family]]
      for case let index? in indices where index != 0 && table.hasVIP(address, on: index) {
        let now = Clock.now()
        guard entries[entry].deletions.take(at: now) else {
          entries[entry].lookAgain = now + entries[entry].deletions.wait
          return
        }
        let code = perform(.remove, address, on: index)
        if code == 0 {
          counting.count { $0.strays += 1 }
          report(.strayRemoved(vip.id, address))
          break
        }
        if !Self.isGone(code) { entries[entry].lookAgain = now + .milliseconds(100) }
      }
    }
  }

  func lookSoon(_ entry: Int) { entries[entry].lookAgain = Clock.now() + .milliseconds(10) }

  private func isWhole(_ entry: Int) -> Bool {
    guard isAtHome(entry) else { return false }
    let home = entries[entry].home
    return entries[entry].vip.addresses.allSatisfy { table.hasVIP($0, on: home[$0.family]) }
  }

  /// Puts back what another program removed. False where this VIP is done with for now.
  private func putBack(_ address: IPAddress, _ entry: Int, _ generation: UInt64, _ until: Instant?) -> Bool {
    let vip = entries[entry].vip
    let index = entries[entry].home[address.family]
    let now = Clock.now()
    // What the kernel itself took away is over. It may be early by a tick, so the last moments count as over, too.
    guard isBefore(until.map { $0 - Self.expiryTolerance }) else {
      vanish(entry, .expired)
      return false
    }
    // IPv6 loses its addresses when the interface goes down; they would come back without use.
    guard table.link(at: index)?.isAdministrativelyUp == true, link(of: entry)?.isAdministrativelyUp == true else {
      vanish(entry, .interfaceLost)
      return false
    }
    guard entries[entry].patience.take(at: now) else {
      vanish(entry, .givenUp)
      return false
    }
    guard entries[entry].putBacks.take(at: now) else {
      entries[entry].lookAgain = now + entries[entry].putBacks.wait
      return false
    }
    guard record.holds(vip.id, generation: generation) else { return false }
    let code = perform(.set(leaseSeconds: remainingSeconds(until, at: now)), address, on: index)
    guard code == 0 || code == EEXIST else {
      report(
        .failed(
          vip.id, generation,
          SystemError(call: "RTM_NEWADDR", code: code, subject: "\(address) on \(vip.device(address.family))")))
      return false
    }
    counting.count { $0.putBack += 1 }
    if entries[entry].announced == generation { announceAgain(address, entry, generation) }
    report(.putBack(vip.id, generation, address))
    return true
  }

  /// Not longer than the lease that was granted: this thread may be alive while the loop is not. What the kernel's whole seconds
  /// add to it, `deadline` takes away.
  func remainingSeconds(_ until: Instant?, at now: Instant) -> UInt32? {
    until.map { UInt32(clamping: max(1, ($0 - now).components.seconds)) }
  }

  /// The kernel's check of lifetimes runs on ticks and may be a fiftieth of a second early (`ADDRCONF_TIMER_FUZZ_MINUS`).
  private static let expiryTolerance = Duration.milliseconds(50)

  /// The VIP is lost: removes what may be left of it, so that it never is here in part.
  func vanish(_ entry: Int, _ cause: AddressThread.Report.Cause) {
    guard case .held(let generation, _) = entries[entry].phase else { return }
    remove(entry)
    report(.vanished(entries[entry].vip.id, generation, cause))
  }

  func remove(_ entry: Int) {
    let vip = entries[entry].vip
    entries[entry].phase = .idle
    entries[entry].lookAgain = nil
    record.setLeaseEnd(vip.id, nil)
    for address in vip.addresses {
      let index = currentIndex(entry, address.family)
      if index != 0, !Self.isGone(perform(.remove, address, on: index)) { lookSoon(entry) }
    }
    if entries[entry].lookAgain == nil { confirmGone(entry) }
    lower(entry)
  }

  /// Sets the devices of a virtual MAC down: nothing may answer with it here.
  func lower(_ entry: Int) {
    let vip = entries[entry].vip
    guard vip.virtualMAC != nil else { return }
    flush()
    for family in vip.families {
      guard let device = device(of: entry, family), device.isVirtualRouter else { continue }
      do throws(SystemError) {
        let code = try VirtualDevice.set(up: false, device.index, requests)
        if !Self.isGone(code) { lookSoon(entry) }
      } catch {
        lookSoon(entry)
      }
    }
  }
}
