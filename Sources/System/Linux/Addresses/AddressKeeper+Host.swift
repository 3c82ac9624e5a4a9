import Basis
import Glibc
import Wire

/// What this program does to the host beside addresses, how it is written down, and how it changes.
extension AddressKeeper {
  /// Goes on with what a process before this one handed over: owned by the record, and whole on its interface.
  func adopt() {
    for entry in entries.indices {
      let vip = entries[entry].vip
      guard let generation = record.owner(vip.id), let link = link(of: entry) else { continue }
      var home = Home(interface: link.index)
      for family in vip.families { home[family] = device(of: entry, family)?.index ?? 0 }
      guard vip.addresses.allSatisfy({ table.hasVIP($0, on: home[$0.family]) }) else { continue }
      entries[entry].home = home
      entries[entry].phase = .held(generation: generation, until: record.leaseEnd(vip.id))
      entries[entry].told = generation
      entries[entry].announced = generation
    }
  }

  private var heldAddresses: Set<IPAddress> {
    Set(
      entries.filter { if case .held = $0.phase { true } else { false } }.flatMap(\.vip.addresses))
  }

  /// Removes what the journal names, writes the new one, and only then prepares what has to be there before any address is.
  func prepareHost() throws(SystemError) {
    let kept = heldAddresses
    let reading = file?.read() ?? JournalFile.Reading()
    for trouble in reading.troubles { report(.journal(trouble)) }
    var isSwept = true
    if let old = reading.journal {
      let outcome = try Sweeper(requests: requests).sweep(old, keeping: kept)
      for removal in outcome.removed { report(.swept(removal)) }
      for trouble in outcome.troubles { report(.journal(trouble)) }
      isSwept = outcome.troubles.isEmpty
    }
    try watch.read()
    journal = plannedJournal(entries.map(\.vip))
    // What an adopted interface's settings are now, or those of one that could not be given its own back, is not what they were at first.
    if !kept.isEmpty || !isSwept, let old = reading.journal, old.boot == journal.boot,
      old.namespace == journal.namespace
    {
      let first = AddressJournal(boot: old.boot, namespace: old.namespace, settings: old.settings)
      journal.settings = first.merged(with: journal).settings
    }
    write(waiting: .seconds(3))
    try loadFirewall()
    try makeDevices()
  }

  /// Everything that may come to be on this host with these VIPs.
  func plannedJournal(_ vips: [AddressThread.VIP]) -> AddressJournal {
    var plan = AddressJournal.ofThisHost()
    plan.settings = journal.settings
    for vip in vips {
      for address in vip.addresses {
        let name = vip.device(address.family)
        plan.places.append(.init(address: address, interface: name, index: table.link(named: name)?.index ?? 0))
      }
      guard let virtualMAC = vip.virtualMAC else { continue }
      for family in vip.families { plan.devices.append(virtualMAC.deviceName(family)) }
      guard vip.families.contains(.ipv4) else { continue }
      for setting in VirtualDevice.parentSettings(vip.interface)
      where !plan.settings.contains(where: { $0.path == setting.path }) {
        plan.settings.append(setting)
      }
    }
    if vips.contains(where: { !$0.accepts }) { plan.tables = [AcceptTable.name] }
    return plan
  }

  private func write(waiting: Duration) {
    guard let file else { return }
    let trouble = file.write(journal, waiting: waiting)
    if journalRetry.learn(trouble, isFinal: waiting > .zero) { report(.journalState(trouble)) }
    journalRetry.begin(at: Clock.now())
  }

  /// What became of the last writing, which nobody waited for to its end; where it failed, another one.
  func lookAtJournal(_ now: Instant) {
    guard let file else { return }
    let state = file.state
    if journalRetry.learn(state.trouble, isFinal: state.isDone) { report(.journalState(state.trouble)) }
    guard !state.isDone || state.trouble != nil else { return journalRetry.end() }
    if state.isDone { _ = file.write(journal, waiting: .zero) }
    journalRetry.goOn(at: now)
  }

  // MARK: Firewall and devices

  /// - Throws: where it can't be loaded; no VIP that accepts nothing may be held then.
  func loadFirewall() throws(SystemError) {
    let addresses = Set(entries.filter { !$0.vip.accepts }.flatMap(\.vip.addresses))
    if !addresses.isEmpty { firewallWatch?.join() }
    defer { firewallWatch?.forget() }
    try firewall.load(addresses)
  }

  /// Somebody changed the firewall.
  func readFirewall() {
    guard firewallWatch?.tableIsGone(AcceptTable.name) == true, !firewall.addresses.isEmpty else { return }
    firewall.lost()
    reloadFirewall()
  }

  func reloadFirewall() {
    let now = Clock.now()
    guard reloads.take(at: now) else {
      reloadAgain = now + reloads.wait
      return
    }
    reloadAgain = nil
    do throws(SystemError) {
      try loadFirewall()
      report(.firewallRestored)
    } catch {
      // Packets that should be dropped would be accepted: these VIPs can't be had.
      report(.firewall(error))
      for entry in entries.indices where !entries[entry].vip.accepts { vanish(entry, .unprotected) }
      reloadAgain = Clock.now() + .seconds(10)
    }
  }

  /// The devices of all VIPs with a virtual MAC whose interface is there.
  private func makeDevices() throws(SystemError) {
    for entry in entries where entry.vip.virtualMAC != nil {
      guard let link = table.link(named: entry.vip.interface) else { continue }
      for family in entry.vip.families { _ = try makeDevice(of: entry.vip, family, on: link) }
    }
  }

  func makeDevice(
    of vip: AddressThread.VIP, _ family: AddressFamily, on link: LinkRecord
  ) throws(SystemError) -> LinkRecord {
    guard let virtualMAC = vip.virtualMAC else { return link }
    let device = try VirtualDevice.ensure(virtualMAC, family, on: link, requests)
    watch.take(in: device)
    let told = DeviceOfVIP(vip: vip.id, family: family)
    if toldDevices[told] != device.index {
      toldDevices[told] = device.index
      do throws(SystemError) {
        try DeviceSilence.impose(on: device.index, requests)
      } catch {
        report(.notSilenced(device.name, error))
      }
      report(.device(vip.id, family, index: device.index))
    }
    if family == .ipv4 {
      for setting in VirtualDevice.parentSettings(link.name) {
        if !journal.settings.contains(where: { $0.path == setting.path }) {
          journal.settings.append(setting)
          write(waiting: .zero)
        }
        try Sysctl.write(setting.after, to: setting.path)
      }
    }
    return device
  }

  /// The end: where nothing is held, nothing stays on this host.
  func dismantle() {
    guard heldAddresses.isEmpty else { return }
    try? groups.follow([])
    // That the table goes is no other program's doing: it is not put back, should this turn still hear of it.
    firewall = AcceptTable()
    do throws(SystemError) {
      let outcome = try Sweeper(requests: requests).sweep(journal)
      for trouble in outcome.troubles { report(.journal(trouble)) }
      if outcome.troubles.isEmpty {
        file?.remove()
        journalRetry.end()
      }
    } catch {
      report(.blind(error))
    }
  }

  // MARK: Other VIPs

  /// See `AddressThread.configure`.
  func configure(_ vips: [AddressThread.VIP], watching: [String]) {
    let wanted = Dictionary(vips.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
    // What goes, and what is to be somewhere else, leaves first: its interface or MAC may be wanted by another.
    for entry in entries.indices {
      let old = entries[entry].vip
      let new = wanted[old.id]
      if new == nil, let generation = record.owner(old.id) { record.revoke(old.id, generation: generation) }
      if new.map({ $0.interface != old.interface }) ?? true { vanish(entry, .reconfigured) }
    }
    let before = entries
    journal = plannedJournal(vips).merged(with: journal)
    write(waiting: .milliseconds(500))
    know(
      vips.map { vip in
        guard var entry = before.first(where: { $0.vip.id == vip.id }) else { return Entry(vip) }
        if entry.vip.interface != vip.interface {
          let told = entry.told
          entry = Entry(vip)
          entry.told = told
        }
        entry.vip = vip
        return entry
      })
    do throws(SystemError) {
      try loadFirewall()
      reloadAgain = nil
    } catch {
      report(.firewall(error))
      reloadAgain = Clock.now() + .seconds(10)
    }
    for entry in entries.indices {
      guard let old = before.first(where: { $0.vip.id == entries[entry].vip.id }) else { continue }
      if old.vip.interface == entries[entry].vip.interface, old.vip.virtualMAC != entries[entry].vip.virtualMAC {
        changeDevice(entry, from: old)
      } else {
        change(entry, from: old.vip.addresses)
      }
    }
    removeDevices(of: before)
    queue.removeAll { item in !vips.contains { $0.id == item.vip && $0.addresses.contains(item.address) } }
    journal = plannedJournal(vips)
    write(waiting: .zero)
    watch.follow(watching, excluding: addressesOfVIPs)
    followClaims(again: true)
    // What was moved and removed here is told by now; unread, it would be another program's.
    readChanges()
    lookForForeign()
  }

  /// A VIP that gets a virtual MAC, another one or none stays where it is owned: its addresses are on the new device, and announced there,
  /// before they leave the old one. Two devices with the same MAC on one interface can't both be up, so one goes first there.
  private func changeDevice(_ entry: Int, from old: Entry) {
    let vip = entries[entry].vip
    guard case .held(let generation, let until) = old.phase, record.holds(vip.id, generation: generation),
      let link = link(of: entry), link.index == old.home.interface
    else {
      vanish(entry, .reconfigured)
      leave(old, keeping: Home())
      entries[entry].home = Home()
      return
    }
    if old.vip.virtualMAC?.id == vip.virtualMAC?.id { leave(old, keeping: Home()) }
    do throws(SystemError) {
      try makeReady(entry, on: link)
      for address in vip.addresses {
        guard record.holds(vip.id, generation: generation), isBefore(until) else {
          throw SystemError(call: "RTM_NEWADDR", code: ETIME, subject: vip.interface)
        }
        let seconds = remainingSeconds(until, at: Clock.now())
        let code = perform(.set(leaseSeconds: seconds), address, on: entries[entry].home[address.family])
        guard code == 0 || code == EEXIST else {
          throw SystemError(call: "RTM_NEWADDR", code: code, subject: "\(address) on \(vip.device(address.family))")
        }
        if entries[entry].announced == generation { announceAgain(address, entry, generation) }
      }
      leave(old, keeping: entries[entry].home)
    } catch {
      leave(old, keeping: Home())
      remove(entry)
      report(.failed(vip.id, generation, error))
    }
  }

  /// Takes away what an entry had where it is no longer.
  private func leave(_ old: Entry, keeping home: Home) {
    for address in old.vip.addresses {
      let index = old.home[address.family]
      if index != 0, index != home[address.family] { _ = perform(.remove, address, on: index) }
    }
    for family in old.vip.families where old.vip.virtualMAC != nil {
      let index = old.home[family]
      guard index != 0, index != old.home.interface, index != home[family] else { continue }
      // It is removed as soon as no VIP has it.
      _ = try? VirtualDevice.set(up: false, index, requests)
    }
  }

  /// The addresses of a VIP that is held have changed: what is new comes first, so that it never has none.
  private func change(_ entry: Int, from old: [IPAddress]) {
    let vip = entries[entry].vip
    let gone = old.filter { !vip.addresses.contains($0) }
    if case .held(let generation, let until) = entries[entry].phase {
      for address in vip.addresses where !old.contains(address) {
        guard add(address, entry, generation, until) else { break }
      }
    }
    // Also where it is not held: a removal may have failed before.
    for address in gone where !addressesOfVIPs.contains(address) {
      let index = currentIndex(entry, address.family)
      if index != 0, table.hasVIP(address, on: index) || entries[entry].home.interface != 0 {
        _ = perform(.remove, address, on: index)
      }
    }
  }

  private func add(_ address: IPAddress, _ entry: Int, _ generation: UInt64, _ until: Instant?) -> Bool {
    let vip = entries[entry].vip
    do throws(SystemError) {
      if !vip.accepts, !firewall.covers(address) { throw SystemError(call: "nft", code: ENOENT, subject: "\(address)") }
      if vip.virtualMAC != nil,
        entries[entry].home[address.family] == entries[entry].home.interface
          || entries[entry].home[address.family] == 0, let link = link(of: entry)
      {
        let device = try makeDevice(of: vip, address.family, on: link)
        entries[entry].home[address.family] = device.index
        _ = try VirtualDevice.set(up: true, device.index, requests)
      }
      guard record.holds(vip.id, generation: generation), isBefore(until) else { return false }
      let index = entries[entry].home[address.family]
      let code = perform(.set(leaseSeconds: remainingSeconds(until, at: Clock.now())), address, on: index)
      guard code == 0 || code == EEXIST else {
        throw SystemError(call: "RTM_NEWADDR", code: code, subject: "\(address) on \(vip.device(address.family))")
      }
    } catch {
      report(.failed(vip.id, generation, error))
      return false
    }
    if entries[entry].announced == generation { announceAgain(address, entry, generation) }
    return true
  }

  /// The devices that no VIP has any more.
  private func removeDevices(of before: [Entry]) {
    func names(_ entries: [Entry]) -> [String] {
      entries.flatMap { entry in entry.vip.families.compactMap { entry.vip.virtualMAC?.deviceName($0) } }
    }
    let wanted = Set(names(entries))
    for name in names(before) where !wanted.contains(name) {
      guard let link = table.link(named: name), link.isVirtualRouter else { continue }
      do throws(SystemError) {
        _ = try requests.perform { $0.appendRemoval(ofLink: link.index, sequence: $1) }
      } catch {
        report(.journal("\(error)"))
      }
    }
    do throws(SystemError) {
      for entry in entries where entry.vip.virtualMAC != nil {
        guard let link = table.link(named: entry.vip.interface) else { continue }
        for family in entry.vip.families { _ = try makeDevice(of: entry.vip, family, on: link) }
      }
    } catch {
      report(.journal("\(error)"))
    }
    giveBackSettings()
  }

  /// Those of interfaces that carry no virtual MAC any more.
  private func giveBackSettings() {
    let carriers = entries.filter { $0.vip.virtualMAC != nil && $0.vip.families.contains(.ipv4) }.map(\.vip.interface)
    journal.settings.removeAll { setting in
      guard !carriers.contains(where: { setting.path.hasPrefix("net/ipv4/conf/\($0)/") }),
        Sysctl.read(setting.path) == setting.after
      else { return false }
      return (try? Sysctl.write(setting.before, to: setting.path)) != nil
    }
  }
}

/// When the journal is looked at again, and what was told of it.
///
/// A disk that was full at the start may have room later, and what is on the host has to be written down then. A look costs a lock and no
/// disk: writing is another thread's.
struct JournalRetry {
  private static let firstPause = Duration.seconds(1)
  private static let longestPause = Duration.seconds(30)

  private(set) var due: Instant?
  private var pause = JournalRetry.firstPause
  private var told: String?

  /// - Parameter isFinal: nothing is being written any more; without that, no trouble is not yet good news.
  /// - Returns: whether that is news.
  mutating func learn(_ trouble: String?, isFinal: Bool) -> Bool {
    guard trouble != told, trouble != nil || isFinal else { return false }
    told = trouble
    return true
  }

  /// Something is being written.
  mutating func begin(at now: Instant) {
    pause = Self.firstPause
    due = now + pause
  }

  mutating func goOn(at now: Instant) {
    pause = min(pause * 2, Self.longestPause)
    due = now + pause
  }

  mutating func end() { due = nil }
}
