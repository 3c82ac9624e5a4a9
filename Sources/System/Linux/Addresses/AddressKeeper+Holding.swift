import Basis
import CLinux
import Glibc
import Wire

/// How a VIP is taken, renewed and released, as the loop asks for it.
extension AddressKeeper {
  func take(_ entry: Int, _ generation: UInt64, _ lease: Duration?, announcing: Bool) {
    let vip = entries[entry].vip
    entries[entry].told = max(entries[entry].told, generation)
    guard record.holds(vip.id, generation: generation) else {
      // Over before it began. Whoever waits for the addresses to be gone is told so.
      return lookSoon(entry)
    }
    func fail(_ error: SystemError) { report(.failed(vip.id, generation, error)) }
    guard let link = link(of: entry) else {
      return fail(SystemError(call: "RTM_NEWADDR", code: ENODEV, subject: vip.interface))
    }
    do throws(SystemError) {
      try makeReady(entry, on: link)
    } catch {
      return fail(error)
    }
    let seconds = Self.wholeSeconds(lease)
    // Counted from before the request, so that it is never later than the kernel's own end.
    let until = seconds.map { Clock.now() + .seconds($0) }
    for address in vip.addresses {
      // The fence: nothing may come between this reading and the message but the kernel's own lock.
      guard record.holds(vip.id, generation: generation) else { return remove(entry) }
      guard isBefore(until) else {
        remove(entry)
        // The kernel's lock was held by others for longer than the lease.
        return fail(SystemError(call: "RTM_NEWADDR", code: ETIME, subject: vip.interface))
      }
      let code = perform(.set(leaseSeconds: seconds), address, on: entries[entry].home[address.family])
      guard code == 0 || code == EEXIST else {
        remove(entry)
        return fail(
          SystemError(call: "RTM_NEWADDR", code: code, subject: "\(address) on \(vip.device(address.family))"))
      }
    }
    entries[entry].phase = .held(generation: generation, until: until)
    entries[entry].lookAgain = nil
    record.setLeaseEnd(vip.id, until)
    if announcing { announce(entry, generation) }
    report(.added(vip.id, generation, until: until))
  }

  /// Everything that has to be there before an address is: the firewall's rule, and the devices of a virtual MAC, up.
  func makeReady(_ entry: Int, on link: LinkRecord) throws(SystemError) {
    let vip = entries[entry].vip
    if !vip.accepts, !vip.addresses.allSatisfy({ firewall.covers($0) }) { try loadFirewall() }
    entries[entry].home = Home(interface: link.index, ipv4: link.index, ipv6: link.index)
    guard vip.virtualMAC != nil else { return }
    for family in vip.families {
      let device = try makeDevice(of: vip, family, on: link)
      entries[entry].home[family] = device.index
      let code = try VirtualDevice.set(up: true, device.index, requests)
      guard code == 0 else { throw SystemError(call: "RTM_NEWLINK", code: code, subject: "\(device.name) up") }
    }
  }

  func renew(_ entry: Int, _ generation: UInt64, _ lease: Duration?) {
    let vip = entries[entry].vip
    guard case .held(generation, let until) = entries[entry].phase else { return }
    guard record.holds(vip.id, generation: generation) else { return lookSoon(entry) }
    // A lease that ran out is over even where the kernel has not noticed: others may count on it.
    guard isBefore(until) else { return vanish(entry, .expired) }
    guard isAtHome(entry) else { return vanish(entry, .interfaceLost) }
    let seconds = Self.wholeSeconds(lease)
    let next = seconds.map { Clock.now() + .seconds($0) }
    for address in vip.addresses {
      append(.set(leaseSeconds: seconds), address, on: entries[entry].home[address.family])
    }
    gather(.init(kind: .renewal(until: next), entry: entry, generation: generation, count: vip.addresses.count))
  }

  func release(_ entry: Int, _ generation: UInt64) {
    let vip = entries[entry].vip
    if case .held(let held, _) = entries[entry].phase, held > generation { return }
    entries[entry].told = max(entries[entry].told, generation)
    entries[entry].phase = .idle
    entries[entry].lookAgain = nil
    var count = 0
    for address in vip.addresses {
      let index = currentIndex(entry, address.family)
      guard index != 0 else { continue }
      append(.remove, address, on: index)
      count += 1
    }
    if vip.virtualMAC != nil {
      for family in vip.families {
        let index = currentIndex(entry, family)
        guard index != 0, index != entries[entry].home.interface else { continue }
        batch.appendSetting(up: false, of: index, sequence: requests.nextSequence())
        count += 1
      }
    }
    gather(.init(kind: .release, entry: entry, generation: generation, count: count))
  }

  /// Whether the interface, and the devices of a virtual MAC, are those that the addresses were put on.
  func isAtHome(_ entry: Int) -> Bool {
    let home = entries[entry].home
    guard let link = link(of: entry), link.index == home.interface else { return false }
    let vip = entries[entry].vip
    guard vip.virtualMAC != nil else { return true }
    return vip.families.allSatisfy { family in
      guard let device = device(of: entry, family) else { return false }
      return device.index == home[family] && device.isAdministrativelyUp
    }
  }

  // MARK: Batches

  private func gather(_ operation: Operation) {
    operations.append(operation)
    if batch.count >= Self.batchLimit { flush() }
  }

  /// So that all answers fit into the socket's buffer.
  private static let batchLimit = 256

  /// Sends what `renew` and `release` gathered, in one system call, and reports.
  func flush() {
    guard !operations.isEmpty else { return }
    defer {
      operations.removeAll(keepingCapacity: true)
      batch.removeAll()
    }
    do throws(SystemError) {
      try requests.perform(batch, &results)
    } catch {
      for operation in operations {
        report(.failed(entries[operation.entry].vip.id, operation.generation, error))
        if case .release = operation.kind { lookSoon(operation.entry) }
      }
      return
    }
    var rest = results[...]
    for operation in operations {
      let own = rest.prefix(operation.count)
      rest = rest.dropFirst(operation.count)
      switch operation.kind {
      case .renewal(let until): finishRenewal(operation.entry, operation.generation, until, own)
      case .release: finishRelease(operation.entry, operation.generation, own)
      }
    }
  }

  private func finishRenewal(_ entry: Int, _ generation: UInt64, _ until: Instant?, _ results: ArraySlice<Int32>) {
    let vip = entries[entry].vip
    if let code = results.first(where: { $0 != 0 }) {
      return report(.failed(vip.id, generation, SystemError(call: "RTM_NEWADDR", code: code, subject: vip.interface)))
    }
    guard case .held(generation, _) = entries[entry].phase else { return }  // released in the same batch
    entries[entry].phase = .held(generation: generation, until: until)
    if record.holds(vip.id, generation: generation) { record.setLeaseEnd(vip.id, until) }
    report(.renewed(vip.id, generation, until: until))
  }

  private func finishRelease(_ entry: Int, _ generation: UInt64, _ results: ArraySlice<Int32>) {
    let vip = entries[entry].vip
    // Gone already is as good as removed.
    if let code = results.first(where: { !Self.isGone($0) }) {
      report(.failed(vip.id, generation, SystemError(call: "RTM_DELADDR", code: code, subject: vip.interface)))
      lookSoon(entry)
    } else {
      if record.owner(vip.id) == nil { record.setLeaseEnd(vip.id, nil) }
      confirmGone(entry)
      report(.removed(vip.id, generation))
    }
  }
}
