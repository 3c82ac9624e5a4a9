import Basis
import Glibc
import Wire

/// What keeps a VIP whole where it is owned, and away where it is not.
extension AddressKeeper {
  /// Compares what is on the interface with what should be.
  /// - Parameter isSecond: it was put off once already, and what the loop sent meanwhile is done.
  func look(_ entry: Int, isSecond: Bool = false) {
    entries[entry].needsLook = false
    entries[entry].lookAgain = nil
    let vip = entries[entry].vip
    switch entries[entry].phase {
    case .held(let generation, let until) where record.holds(vip.id, generation: generation):
      if isWhole(vip, on: entries[entry].index) { return }
      do throws(SystemError) {
        try watch.read()
      } catch {
        entries[entry].lookAgain = Clock.now() + .milliseconds(100)
        return report(.blind(error))
      }
      // One of the same name may have taken its place.
      guard let link = link(of: entry), link.index == entries[entry].index else { return vanish(entry, .interfaceLost) }
      for address in vip.addresses where !table.hasVIP(address, on: link.index) {
        guard putBack(address, entry, generation, until, link) else { return }
      }
    case .held:
      // Revoked. If `release` did it, its command is on the way; else somebody who has the record.
      if isSecond { vanish(entry, .revoked) } else { lookSoon(entry) }
    case .idle:
      // Somebody added it again, or a renewal came behind the removal: two nodes would answer for it.
      let index = link(of: entry)?.index ?? entries[entry].index
      for address in vip.addresses where table.hasVIP(address, on: index) {
        let now = Clock.now()
        guard entries[entry].deletions.take(at: now) else {
          entries[entry].lookAgain = now + entries[entry].deletions.wait
          return
        }
        let code = perform(.remove, address, on: index)
        if code == 0 { report(.strayRemoved(vip.id, address)) }
        if !Self.isGone(code) { entries[entry].lookAgain = now + .milliseconds(100) }
      }
    }
  }

  func lookSoon(_ entry: Int) { entries[entry].lookAgain = Clock.now() + .milliseconds(10) }

  private func isWhole(_ vip: AddressThread.VIP, on index: Int32) -> Bool {
    guard let link = table.link(named: vip.interface), link.index == index else { return false }
    return vip.addresses.allSatisfy { table.hasVIP($0, on: link.index) }
  }

  /// Puts back what another program removed. False where this VIP is done with for now.
  private func putBack(
    _ address: IPAddress, _ entry: Int, _ generation: UInt64, _ until: Instant?, _ link: LinkRecord
  ) -> Bool {
    let vip = entries[entry].vip
    let now = Clock.now()
    // What the kernel itself took away is over. It may be early by a tick, so the last moments count as over, too.
    guard isBefore(until.map { $0 - Self.expiryTolerance }) else {
      vanish(entry, .expired)
      return false
    }
    // IPv6 loses its addresses when the interface goes down; they would come back without use.
    guard link.isAdministrativelyUp else {
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
    // Not longer than the lease that was granted: this thread may be alive while the loop is not. What the kernel's whole
    // seconds add to it, `deadline` takes away.
    let remaining = until.map { UInt32(clamping: max(1, ($0 - now).components.seconds)) }
    guard record.holds(vip.id, generation: generation) else { return false }
    let code = perform(.set(leaseSeconds: remaining), address, on: link.index)
    guard code == 0 || code == EEXIST else {
      report(
        .failed(
          vip.id, generation, SystemError(call: "RTM_NEWADDR", code: code, subject: "\(address) on \(vip.interface)")))
      return false
    }
    announce(address, entry, link)
    report(.putBack(vip.id, generation, address))
    return true
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
    let index = currentIndex(entry)
    for address in vip.addresses where !Self.isGone(perform(.remove, address, on: index)) { lookSoon(entry) }
  }
}
