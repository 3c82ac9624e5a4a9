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

  /// Interfaces by index; 0 where there is none.
  struct Home {
    /// The VIP's interface.
    var interface: Int32 = 0
    /// What the addresses of either family are on: the interface itself, or the device of a virtual MAC.
    var ipv4: Int32 = 0
    var ipv6: Int32 = 0

    subscript(family: AddressFamily) -> Int32 {
      get { family == .ipv4 ? ipv4 : ipv6 }
      set { if family == .ipv4 { ipv4 = newValue } else { ipv6 = newValue } }
    }
  }

  struct Entry {
    var vip: AddressThread.VIP
    var phase = Phase.idle
    /// Where the addresses were put last; an interface that was renamed keeps them, and its index.
    var home = Home()
    /// The last generation that a command was about.
    var told: UInt64 = 0
    /// The neighbours may be told, in this generation.
    var announced: UInt64 = 0
    var putBacks = TokenBucket(burst: 5, perSecond: 5)
    /// Ends a fight that nobody wins.
    var patience = TokenBucket(burst: 50, perSecond: 1)
    var deletions = TokenBucket(burst: 20, perSecond: 20)
    var claims = TokenBucket(burst: 10, perSecond: 5)
    /// When a bucket that was empty lets it go on.
    var lookAgain: Instant?
    var needsLook = false

    init(_ vip: AddressThread.VIP) { self.vip = vip }

    func isHeld(_ generation: UInt64) -> Bool {
      if case .held(generation, _) = phase { true } else { false }
    }
  }

  struct DeviceOfVIP: Hashable {
    var vip: Int
    var family: AddressFamily
  }

  /// One VIP's part of a batch.
  struct Operation {
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
  let counting: CounterBox
  let requests: NetlinkSocket
  let watch: InterfaceWatch
  let announcer: Announcer
  let claims: ClaimWatch
  let groups = SolicitedNodeGroups()
  var entries: [Entry] = []
  /// Where the VIP of a number is in `entries`.
  private var positions: [Int: Int] = [:]
  private(set) var addressesOfVIPs: Set<IPAddress> = []

  var queue = AnnouncementQueue()
  var gateways = GatewayCache()
  /// Addresses with a wrong prefix length, or on a wrong interface, that were reported, and the interface's name.
  var foreign: [Foreign: String] = [:]
  var listening: Set<Int32> = []
  /// The devices of virtual MACs that were told.
  var toldDevices: [DeviceOfVIP: Int32] = [:]
  /// What this life may have put on this host.
  var journal = AddressJournal.ofThisHost()
  let file: JournalFile?
  var journalRetry = JournalRetry()
  var firewall = AcceptTable()
  let firewallWatch: FirewallWatch?
  /// Ends a fight with whoever removes the table.
  var reloads = TokenBucket(burst: 5, perSecond: 1)
  /// When the table is loaded again.
  var reloadAgain: Instant?

  var batch = NetlinkBatch()
  var operations: [Operation] = []
  var results: [Int32] = []
  private var single = NetlinkBatch()
  private var singleResults: [Int32] = []

  var table: InterfaceTable { watch.table }

  /// Removes what an earlier life left behind, and prepares the host for these VIPs.
  init(
    _ vips: [AddressThread.VIP], watching: [String], _ record: OwnershipRecord, journal: String? = nil,
    counting: CounterBox = CounterBox(), report: @escaping @Sendable (AddressThread.Report) -> Void
  ) throws(SystemError) {
    self.record = record
    self.report = report
    self.counting = counting
    file = journal.map { JournalFile(path: $0) }
    requests = try NetlinkSocket()
    announcer = try Announcer()
    claims = try ClaimWatch()
    // A kernel without nf_tables lacks this socket; it can't refuse packets then, and says so where a VIP wants it.
    firewallWatch = try? FirewallWatch()
    watch = try InterfaceWatch(
      watching, excluding: Set(vips.flatMap(\.addresses)), requests: requests, report: report)
    know(AddressThread.VIP.withDistinctDevices(vips).map { Entry($0) })
    try watch.read()
    adopt()
    try prepareHost()
  }

  /// From now on these are the VIPs.
  func know(_ entries: [Entry]) {
    self.entries = entries
    positions = Dictionary(zip(entries.map(\.vip.id), entries.indices), uniquingKeysWith: { first, _ in first })
    addressesOfVIPs = Set(entries.flatMap(\.vip.addresses))
  }

  /// Readable when something changed.
  var monitorDescriptor: Int32 { watch.descriptor }

  /// Reads the state of all interfaces anew, removes VIPs that nobody here owns, and tells of the interfaces.
  func start() throws(SystemError) {
    try watch.read()
    for entry in entries.indices { look(entry) }
    lookForForeign()
    followClaims()
    watch.tell()
  }

  /// When `actOnDeadline` has something to do.
  var deadline: Instant? {
    var next = earlier(watch.recoverAgain, earlier(watch.nextQuestion, earlier(queue.deadline, reloadAgain)))
    next = earlier(next, journalRetry.due)
    for entry in entries {
      if case .held(_, let until?) = entry.phase { next = earlier(next, until) }
      next = earlier(next, entry.lookAgain)
    }
    return next
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
    if let again = reloadAgain, now >= again { reloadFirewall() }
    if let due = journalRetry.due, now >= due { lookAtJournal(now) }
    announceWaiting()
    if let question = watch.nextQuestion, now >= question { watch.ask(at: now) }
  }

  func handle(_ command: AddressThread.Command) {
    switch command {
    case .take(let vip, let generation, let lease, let announcing):
      flush()
      // An interface that was made a moment ago is known only after this.
      readChanges()
      if let entry = index(of: vip) { take(entry, generation, lease, announcing: announcing) }
    case .renew(let vip, let generation, let lease):
      if let entry = index(of: vip) { renew(entry, generation, lease) }
    case .release(let vip, let generation):
      if let entry = index(of: vip) { release(entry, generation) }
    case .announce(let vip, let generation):
      flush()
      if let entry = index(of: vip) { announce(entry, generation) }
    case .configure(let vips, let watching):
      flush()
      readChanges()
      configure(AddressThread.VIP.withDistinctDevices(vips), watching: watching)
    case .pause: flush()
    case .stop:
      flush()
      dismantle()
    }
  }

  /// Nothing is left of the VIP: the kernel said so after the last message of this thread for it.
  func confirmGone(_ entry: Int) {
    guard case .idle = entries[entry].phase else { return }
    record.setGone(entries[entry].vip.id, upTo: entries[entry].told)
  }

  // MARK: Small things

  private func index(of vip: Int) -> Int? { positions[vip] }

  /// The VIP's interface.
  func link(of entry: Int) -> LinkRecord? { table.link(named: entries[entry].vip.interface) }

  /// What an address of that family is, or would be, on.
  func device(of entry: Int, _ family: AddressFamily) -> LinkRecord? {
    table.link(named: entries[entry].vip.device(family))
  }

  /// Where the address is, or would be, by index.
  func currentIndex(_ entry: Int, _ family: AddressFamily) -> Int32 {
    let known = entries[entry].home[family]
    return known != 0 ? known : device(of: entry, family)?.index ?? 0
  }

  /// Whether that answer to a removal means that the address is not there.
  static func isGone(_ code: Int32) -> Bool { code == 0 || code == EADDRNOTAVAIL || code == ENODEV }

  func isBefore(_ end: Instant?) -> Bool {
    guard let end else { return true }
    return Clock.now() < end
  }

  /// The kernel counts leases in whole seconds.
  static func wholeSeconds(_ lease: Duration?) -> UInt32? {
    lease.map { UInt32(clamping: max(1, $0.components.seconds)) }
  }

  func append(_ request: NetlinkBatch.AddressRequest, _ address: IPAddress, on index: Int32) {
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
}

extension AddressThread.VIP {
  /// The families that it has addresses of.
  var families: [AddressFamily] {
    [AddressFamily.ipv4, .ipv6].filter { family in addresses.contains { $0.family == family } }
  }
}
