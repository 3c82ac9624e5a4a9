import Basis
import CLinux
import Glibc
import Wire

/// Adds, renews, removes, announces and guards the addresses of VIPs: what runs on the address thread.
///
/// It knows the interfaces by the kernel's notifications, which may come late. So before anything is put back, the kernel is asked.
final class AddressKeeper {
  private enum Phase {
    case idle
    /// The addresses are on the interface, until `until` where a lease limits them.
    case held(generation: UInt64, until: Instant?)
  }

  private struct Entry {
    let vip: AddressThread.VIP
    var phase = Phase.idle
    var putBacks = TokenBucket(burst: 5, perSecond: 5)
    /// Ends a fight that nobody wins.
    var patience = TokenBucket(burst: 50, perSecond: 1)
    var deletions = TokenBucket(burst: 20, perSecond: 20)
    /// When a bucket that was empty lets it go on.
    var lookAgain: Instant?
    var needsLook = false
  }

  /// One VIP's part of a batch.
  private enum Operation {
    case renew(entry: Int, generation: UInt64, until: Instant?)
    case release(entry: Int, generation: UInt64)
  }

  private let record: OwnershipRecord
  private let report: @Sendable (AddressThread.Report) -> Void
  private let requests: NetlinkSocket
  private let watch: InterfaceWatch
  private let announcer: Announcer
  private var entries: [Entry] = []
  private var addressesOfVIPs: Set<IPAddress>
  private var batch = NetlinkBatch()
  private var operations: [Operation] = []
  private var results: [Int32] = []
  private var single = NetlinkBatch()
  private var singleResults: [Int32] = []

  private var table: InterfaceTable { watch.table }

  init(
    _ vips: [AddressThread.VIP], watching: [String], _ record: OwnershipRecord,
    report: @escaping @Sendable (AddressThread.Report) -> Void
  ) throws(SystemError) {
    self.record = record
    self.report = report
    entries = vips.map { Entry(vip: $0) }
    addressesOfVIPs = Set(vips.flatMap(\.addresses))
    requests = try NetlinkSocket()
    announcer = try Announcer()
    watch = try InterfaceWatch(watching, excluding: addressesOfVIPs, requests: requests, report: report)
  }

  /// Readable when something changed.
  var monitorDescriptor: Int32 { watch.descriptor }

  /// Reads the state of all interfaces, removes what an earlier life left behind, and tells of the interfaces.
  func start() throws(SystemError) {
    try watch.read()
    sweep(Array(entries.indices))
    watch.tell()
  }

  /// When `actOnDeadline` has something to do.
  var deadline: Instant? {
    var next = watch.recoverAgain
    for entry in entries {
      if case .held(_, let until?) = entry.phase { next = earlier(next, until) }
      next = earlier(next, entry.lookAgain)
    }
    return next
  }

  // MARK: What the loop asks for

  func handle(_ command: AddressThread.Command) {
    switch command {
    case .take(let vip, let generation, let lease):
      flush()
      // An interface that was made a moment ago is known only after this.
      readChanges()
      if let entry = index(of: vip) { take(entry, generation, lease) }
    case .renew(let vip, let generation, let lease):
      if let entry = index(of: vip) { renew(entry, generation, lease) }
    case .release(let vip, let generation):
      if let entry = index(of: vip) { release(entry, generation) }
    case .announce(let vip, let generation):
      flush()
      if let entry = index(of: vip), record.holds(vip, generation: generation), let link = link(of: entry) {
        for address in entries[entry].vip.addresses { announce(address, entry, link) }
      }
    case .configure(let vips, let watching):
      flush()
      configure(vips, watching)
    case .stop: flush()
    }
  }

  private func take(_ entry: Int, _ generation: UInt64, _ lease: Duration?) {
    let vip = entries[entry].vip
    guard record.holds(vip.id, generation: generation) else { return }
    guard let link = link(of: entry) else {
      return report(.failed(vip.id, generation, SystemError(call: "RTM_NEWADDR", code: ENODEV, subject: vip.interface)))
    }
    let seconds = Self.wholeSeconds(lease)
    // Counted from before the request, so that it is never later than the kernel's own end.
    let until = seconds.map { Clock.now() + .seconds($0) }
    for address in vip.addresses {
      // The fence: nothing may come between this reading and the message but the kernel's own lock.
      guard record.holds(vip.id, generation: generation), isBefore(until) else { return remove(entry) }
      let code = perform(.set(leaseSeconds: seconds), address, on: link.index)
      guard code == 0 || code == EEXIST else {
        remove(entry)
        let subject = "\(address) on \(vip.interface)"
        return report(.failed(vip.id, generation, SystemError(call: "RTM_NEWADDR", code: code, subject: subject)))
      }
      announce(address, entry, link)
    }
    entries[entry].phase = .held(generation: generation, until: until)
    entries[entry].lookAgain = nil
    record.setLeaseEnd(vip.id, until)
    report(.added(vip.id, generation, until: until))
  }

  private func renew(_ entry: Int, _ generation: UInt64, _ lease: Duration?) {
    let vip = entries[entry].vip
    guard case .held(generation, let until) = entries[entry].phase else { return }
    guard record.holds(vip.id, generation: generation) else { return lookSoon(entry) }
    // A lease that ran out is over even where the kernel has not noticed: others may count on it.
    guard isBefore(until) else { return vanish(entry, .expired) }
    guard let link = table.link(named: vip.interface) else { return vanish(entry, .interfaceLost) }
    let seconds = Self.wholeSeconds(lease)
    operations.append(.renew(entry: entry, generation: generation, until: seconds.map { Clock.now() + .seconds($0) }))
    for address in vip.addresses { append(.set(leaseSeconds: seconds), address, on: link.index) }
    if batch.count >= Self.batchLimit { flush() }
  }

  private func release(_ entry: Int, _ generation: UInt64) {
    let vip = entries[entry].vip
    if case .held(let held, _) = entries[entry].phase, held > generation { return }
    entries[entry].phase = .idle
    entries[entry].lookAgain = nil
    operations.append(.release(entry: entry, generation: generation))
    guard let link = table.link(named: vip.interface) else { return }
    for address in vip.addresses { append(.remove, address, on: link.index) }
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
      for operation in operations { fail(operation, error) }
      return
    }
    var next = 0
    for operation in operations {
      let count = results.count - next
      switch operation {
      case .renew(let entry, let generation, let until):
        let end = next + min(count, entries[entry].vip.addresses.count)
        finishRenewal(entry, generation, until, results[next..<end])
        next = end
      case .release(let entry, let generation):
        let isThere = table.link(named: entries[entry].vip.interface) != nil
        let end = next + (isThere ? min(count, entries[entry].vip.addresses.count) : 0)
        finishRelease(entry, generation, results[next..<end])
        next = end
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
    if let code = results.first(where: { $0 != 0 && $0 != EADDRNOTAVAIL && $0 != ENODEV }) {
      report(.failed(vip.id, generation, SystemError(call: "RTM_DELADDR", code: code, subject: vip.interface)))
    } else {
      if record.owner(vip.id) == nil { record.setLeaseEnd(vip.id, nil) }
      report(.removed(vip.id, generation))
    }
  }

  private func fail(_ operation: Operation, _ error: SystemError) {
    switch operation {
    case .renew(let entry, let generation, _), .release(let entry, let generation):
      report(.failed(entries[entry].vip.id, generation, error))
    }
  }

  // MARK: What the kernel tells

  /// Reads all changes that wait, and acts on those that concern a VIP.
  func readChanges() {
    if watch.follow({ note($0) }) {
      for entry in entries.indices { entries[entry].needsLook = true }
    }
    watch.tell()
    for entry in entries.indices where entries[entry].needsLook { look(entry) }
  }

  private func note(_ message: NetlinkMessage) {
    switch message {
    case .address(let address, let removed) where addressesOfVIPs.contains(address.address):
      for entry in entries.indices where entries[entry].vip.addresses.contains(address.address) {
        // Gone though it is held, there though it is not, or over; all else is this thread's own doing.
        switch entries[entry].phase {
        case .idle where removed: break
        case .held(let generation, _) where !removed && self.record.holds(entries[entry].vip.id, generation: generation): break
        case .idle, .held: entries[entry].needsLook = true
        }
      }
    case .link(let link, _):
      for entry in entries.indices where entries[entry].vip.interface == link.name { entries[entry].needsLook = true }
    default: break
    }
  }

  func actOnDeadline(_ now: Instant) {
    if let again = watch.recoverAgain, now >= again { readChanges() }
    for entry in entries.indices {
      if case .held(_, let until?) = entries[entry].phase, now >= until {
        vanish(entry, .expired)
      } else if let again = entries[entry].lookAgain, now >= again {
        look(entry, isSecond: true)
      }
    }
  }

  // MARK: Guarding

  /// Compares what is on the interface with what should be.
  /// - Parameter isSecond: it was put off once already, and what the loop sent meanwhile is done.
  private func look(_ entry: Int, isSecond: Bool = false) {
    entries[entry].needsLook = false
    entries[entry].lookAgain = nil
    let vip = entries[entry].vip
    switch entries[entry].phase {
    case .held(let generation, let until) where record.holds(vip.id, generation: generation):
      if isWhole(vip) { return }
      do throws(SystemError) {
        try watch.read()
      } catch {
        entries[entry].lookAgain = Clock.now() + .milliseconds(100)
        return report(.blind(error))
      }
      guard let link = table.link(named: vip.interface) else { return vanish(entry, .interfaceLost) }
      for address in vip.addresses where !table.hasVIP(address, on: link.index) {
        guard putBack(address, entry, generation, until, link) else { return }
      }
    case .held:
      // Revoked. If it was the loop, its release is on the way; else it was another process.
      if isSecond { vanish(entry, .revoked) } else { lookSoon(entry) }
    case .idle:
      // Somebody added it again, or a renewal came behind the removal: two nodes would answer for it.
      guard let link = table.link(named: vip.interface) else { return }
      for address in vip.addresses where table.hasVIP(address, on: link.index) {
        let now = Clock.now()
        guard entries[entry].deletions.take(at: now) else {
          entries[entry].lookAgain = now + entries[entry].deletions.wait
          return
        }
        let code = perform(.remove, address, on: link.index)
        if code == 0 { report(.strayRemoved(vip.id, address)) }
      }
    }
  }

  private func lookSoon(_ entry: Int) { entries[entry].lookAgain = Clock.now() + .milliseconds(10) }

  private func isWhole(_ vip: AddressThread.VIP) -> Bool {
    guard let link = table.link(named: vip.interface) else { return false }
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
      report(.failed(vip.id, generation, SystemError(call: "RTM_NEWADDR", code: code, subject: "\(address) on \(vip.interface)")))
      return false
    }
    announce(address, entry, link)
    report(.putBack(vip.id, generation, address))
    return true
  }

  /// The kernel's check of lifetimes runs on ticks and may be a fiftieth of a second early (`ADDRCONF_TIMER_FUZZ_MINUS`).
  private static let expiryTolerance = Duration.milliseconds(50)

  /// The VIP is lost: removes what may be left of it, so that it never is here in part.
  private func vanish(_ entry: Int, _ cause: AddressThread.Report.Cause) {
    guard case .held(let generation, _) = entries[entry].phase else { return }
    remove(entry)
    report(.vanished(entries[entry].vip.id, generation, cause))
  }

  private func remove(_ entry: Int) {
    let vip = entries[entry].vip
    entries[entry].phase = .idle
    entries[entry].lookAgain = nil
    record.setLeaseEnd(vip.id, nil)
    guard let link = table.link(named: vip.interface) else { return }
    for address in vip.addresses { _ = perform(.remove, address, on: link.index) }
  }

  // MARK: Configuration

  /// What did not change is not touched; a VIP that is gone or changed is released, a new one's leftovers are swept.
  private func configure(_ vips: [AddressThread.VIP], _ watching: [String]) {
    for entry in entries.indices where !vips.contains(entries[entry].vip) {
      if case .held(let generation, _) = entries[entry].phase {
        record.revoke(entries[entry].vip.id, generation: generation)
        remove(entry)
        report(.removed(entries[entry].vip.id, generation))
      }
    }
    let kept = entries
    entries = vips.map { Entry(vip: $0) }
    addressesOfVIPs = Set(vips.flatMap(\.addresses))
    var fresh: [Int] = []
    for index in entries.indices {
      if let same = kept.first(where: { $0.vip == entries[index].vip }) { entries[index] = same } else { fresh.append(index) }
    }
    watch.configure(watching, excluding: addressesOfVIPs)
    readChanges()
    sweep(fresh)
  }

  /// Removes addresses of VIPs that are on some interface though nobody here took them. The loopback interface is left
  /// alone: there a backend holds the VIP whose packets it answers itself.
  private func sweep(_ indices: [Int]) {
    for entry in indices {
      guard case .idle = entries[entry].phase else { continue }
      for address in entries[entry].vip.addresses {
        for link in table.links where !link.isLoopback && table.hasVIP(address, on: link.index) {
          if perform(.remove, address, on: link.index) == 0 { report(.swept(entries[entry].vip.id, address, link.name)) }
        }
      }
    }
  }

  // MARK: Small things

  private func index(of vip: Int) -> Int? { entries.firstIndex { $0.vip.id == vip } }

  private func link(of entry: Int) -> LinkRecord? { table.link(named: entries[entry].vip.interface) }

  private func isBefore(_ end: Instant?) -> Bool {
    guard let end else { return true }
    return Clock.now() < end
  }

  /// The kernel counts leases in whole seconds.
  private static func wholeSeconds(_ lease: Duration?) -> UInt32? {
    lease.map { UInt32(clamping: max(1, $0.components.seconds)) }
  }

  private func append(_ request: NetlinkBatch.AddressRequest, _ address: IPAddress, on index: Int32) {
    batch.append(request, address, on: index, sequence: requests.nextSequence())
  }

  /// One request by itself: 0 or an errno.
  private func perform(_ request: NetlinkBatch.AddressRequest, _ address: IPAddress, on index: Int32) -> Int32 {
    single.removeAll()
    single.append(request, address, on: index, sequence: requests.nextSequence())
    do throws(SystemError) {
      try requests.perform(single, &singleResults)
      return singleResults.first ?? EIO
    } catch {
      return error.code
    }
  }

  private func announce(_ address: IPAddress, _ entry: Int, _ link: LinkRecord) {
    guard let mac = link.macAddress else { return }  // no Ethernet, no neighbours to tell
    do throws(SystemError) {
      try announcer.announce(address, at: mac, on: link.index, isRouter: isRouter(link.name, address))
    } catch {
      report(.announcementFailed(entries[entry].vip.id, error))
    }
  }

  private func isRouter(_ interface: String, _ address: IPAddress) -> Bool {
    guard case .v6 = address else { return false }
    let file = open("/proc/sys/net/ipv6/conf/\(interface)/forwarding", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return false }
    defer { close(file) }
    var digit: UInt8 = 0
    return read(file, &digit, 1) == 1 && digit != UInt8(ascii: "0")
  }
}
