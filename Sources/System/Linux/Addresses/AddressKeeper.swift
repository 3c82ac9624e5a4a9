import Basis
import CLinux
import Glibc
import Wire

/// Adds, renews, removes, announces and guards the addresses of VIPs: what runs on the address thread.
///
/// It knows the interfaces by the kernel's notifications, which may come late. So before anything is put back, the kernel is asked.
final class AddressKeeper {
  enum Phase {
    case idle
    /// The addresses are on the interface, until `until` where a lease limits them.
    case held(generation: UInt64, until: Instant?)
  }

  struct Entry {
    let vip: AddressThread.VIP
    var phase = Phase.idle
    /// The interface that the addresses were put on, by index; 0 before the first time.
    var index: Int32 = 0
    var putBacks = TokenBucket(burst: 5, perSecond: 5)
    /// Ends a fight that nobody wins.
    var patience = TokenBucket(burst: 50, perSecond: 1)
    var deletions = TokenBucket(burst: 20, perSecond: 20)
    /// When a bucket that was empty lets it go on.
    var lookAgain: Instant?
    var needsLook = false
  }

  /// One VIP's part of a batch.
  private struct Operation {
    enum Kind {
      case renewal(until: Instant?)
      case release
    }
    var kind: Kind
    var entry: Int
    var generation: UInt64
    /// How many messages it is.
    var count: Int
  }

  let record: OwnershipRecord
  let report: @Sendable (AddressThread.Report) -> Void
  private let requests: NetlinkSocket
  let watch: InterfaceWatch
  private let announcer: Announcer
  var entries: [Entry] = []
  private let addressesOfVIPs: Set<IPAddress>
  private var batch = NetlinkBatch()
  private var operations: [Operation] = []
  private var results: [Int32] = []
  private var single = NetlinkBatch()
  private var singleResults: [Int32] = []

  var table: InterfaceTable { watch.table }

  init(
    _ vips: [AddressThread.VIP], watching: [String], _ record: OwnershipRecord, journal: String? = nil,
    counting: CounterBox = CounterBox(),
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
    sweep()
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
    case .take(let vip, let generation, let lease, _):
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
      // An address whose lease is over may be another node's by now.
      if let entry = index(of: vip), isHeld(entry, generation), record.holds(vip, generation: generation),
        let link = link(of: entry)
      {
        for address in entries[entry].vip.addresses { announce(address, entry, link) }
      }
    case .configure: flush()
    case .stop: flush()
    }
  }

  private func isHeld(_ entry: Int, _ generation: UInt64) -> Bool {
    guard case .held(generation, let until) = entries[entry].phase else { return false }
    return isBefore(until)
  }

  private func take(_ entry: Int, _ generation: UInt64, _ lease: Duration?) {
    let vip = entries[entry].vip
    guard record.holds(vip.id, generation: generation) else { return }
    guard let link = link(of: entry) else {
      return report(.failed(vip.id, generation, SystemError(call: "RTM_NEWADDR", code: ENODEV, subject: vip.interface)))
    }
    entries[entry].index = link.index
    let seconds = Self.wholeSeconds(lease)
    // Counted from before the request, so that it is never later than the kernel's own end.
    let until = seconds.map { Clock.now() + .seconds($0) }
    for address in vip.addresses {
      // The fence: nothing may come between this reading and the message but the kernel's own lock.
      guard record.holds(vip.id, generation: generation) else { return remove(entry) }
      guard isBefore(until) else {
        remove(entry)
        // The kernel's lock was held by others for longer than the lease.
        return report(
          .failed(vip.id, generation, SystemError(call: "RTM_NEWADDR", code: ETIME, subject: vip.interface)))
      }
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
    guard let link = link(of: entry), link.index == entries[entry].index else { return vanish(entry, .interfaceLost) }
    let seconds = Self.wholeSeconds(lease)
    let next = seconds.map { Clock.now() + .seconds($0) }
    for address in vip.addresses { append(.set(leaseSeconds: seconds), address, on: link.index) }
    gather(.init(kind: .renewal(until: next), entry: entry, generation: generation, count: vip.addresses.count))
  }

  private func release(_ entry: Int, _ generation: UInt64) {
    let vip = entries[entry].vip
    if case .held(let held, _) = entries[entry].phase, held > generation { return }
    entries[entry].phase = .idle
    entries[entry].lookAgain = nil
    let index = currentIndex(entry)
    if index != 0 {
      for address in vip.addresses { append(.remove, address, on: index) }
    }
    gather(.init(kind: .release, entry: entry, generation: generation, count: index == 0 ? 0 : vip.addresses.count))
  }

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
      report(.removed(vip.id, generation))
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
        case .held(let generation, _)
        where !removed && self.record.holds(entries[entry].vip.id, generation: generation): break
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

  /// Removes addresses of VIPs that are on some interface though nobody here took them. The loopback interface is left
  /// alone: there a backend holds the VIP whose packets it answers itself.
  private func sweep() {
    for entry in entries {
      for address in entry.vip.addresses {
        for link in table.links where !link.isLoopback && table.hasVIP(address, on: link.index) {
          if perform(.remove, address, on: link.index) == 0 {
            report(.swept(.address(address, interface: link.name)))
          }
        }
      }
    }
  }

  // MARK: Small things

  private func index(of vip: Int) -> Int? { entries.firstIndex { $0.vip.id == vip } }

  func link(of entry: Int) -> LinkRecord? { table.link(named: entries[entry].vip.interface) }

  /// Where the addresses are, or would be: an interface that was renamed keeps them, and its index.
  func currentIndex(_ entry: Int) -> Int32 {
    entries[entry].index != 0 ? entries[entry].index : link(of: entry)?.index ?? 0
  }

  /// Whether that answer to a removal means that the address is not there.
  static func isGone(_ code: Int32) -> Bool { code == 0 || code == EADDRNOTAVAIL || code == ENODEV }

  func isBefore(_ end: Instant?) -> Bool {
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
  func perform(_ request: NetlinkBatch.AddressRequest, _ address: IPAddress, on index: Int32) -> Int32 {
    // What was gathered before must be sent before.
    flush()
    single.removeAll()
    single.append(request, address, on: index, sequence: requests.nextSequence())
    do throws(SystemError) {
      try requests.perform(single, &singleResults)
      return singleResults.first ?? EIO
    } catch {
      return error.code
    }
  }

  func announce(_ address: IPAddress, _ entry: Int, _ link: LinkRecord) {
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
