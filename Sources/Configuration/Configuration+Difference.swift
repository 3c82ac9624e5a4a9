/// What a changed configuration changes, in words for people.
///
/// What is the same is not touched; so this is also what a reload does.
public struct ConfigurationDifference: Sendable, Hashable {
  /// One line each, such as "VIP web: interval, drain", in the order of the new file, what is removed last.
  public var lines: [String] = []
  /// What can't change while the daemon runs, in words; the new value holds from the next start.
  public var needRestart: [String] = []

  public var isEmpty: Bool { lines.isEmpty && needRestart.isEmpty }
}

extension Configuration {
  /// What is different in `other`, of which this is the past.
  public func difference(to other: Configuration) -> ConfigurationDifference {
    var difference = ConfigurationDifference()
    func compare<Part: Hashable>(
      _ what: String, _ old: [Part], _ new: [Part], name: KeyPath<Part, String>, changes: (Part, Part) -> [String]
    ) {
      let former = Dictionary(old.map { ($0[keyPath: name], $0) }, uniquingKeysWith: { first, _ in first })
      let current = Set(new.map { $0[keyPath: name] })
      for part in new {
        guard let before = former[part[keyPath: name]] else {
          difference.lines.append("\(what) \(part[keyPath: name]): new")
          continue
        }
        guard before != part else { continue }
        difference.lines.append("\(what) \(part[keyPath: name]): \(changes(before, part).joined(separator: ", "))")
      }
      for part in old where !current.contains(part[keyPath: name]) {
        difference.lines.append("\(what) \(part[keyPath: name]): removed")
      }
    }
    compare("node", cluster.nodes, other.cluster.nodes, name: \.name) { _, _ in ["addresses"] }
    var shared: [String] = []
    if cluster.secrets != other.cluster.secrets { shared.append("secret") }
    if cluster.port != other.cluster.port { shared.append("port") }
    if cluster.witnesses != other.cluster.witnesses { shared.append("witness") }
    if !shared.isEmpty { difference.lines.append("cluster: \(shared.joined(separator: ", "))") }
    if cluster.realtime != other.cluster.realtime { difference.needRestart.append("cluster: realtime") }
    compare("VIP", vips, other.vips, name: \.name, changes: Self.changes)
    compare("service", services, other.services, name: \.name, changes: Self.changes)
    compare("tracker", trackers, other.trackers, name: \.name) { _, _ in ["changed"] }
    compare("group", groups, other.groups, name: \.name) { _, _ in ["VIPs"] }
    compare("notification", notifications, other.notifications, name: \.name) { _, _ in ["changed"] }
    // What stands where in the file means nothing, except for nodes: without 'prefer' it is their order of preference.
    return difference
  }

  private static func changes(_ old: VIP, _ new: VIP) -> [String] {
    var words: [String] = []
    func note(_ word: String, _ isChanged: Bool) { if isChanged { words.append(word) } }
    note("addresses", old.addresses != new.addresses)
    note("interface", old.interface != new.interface)
    note("prefer", old.prefer != new.prefer)
    note("address-lease", old.lease != new.lease)
    note("drain", old.drain != new.drain)
    note("warm-up", old.warmUp != new.warmUp)
    note("announce-every", old.refresh != new.refresh)
    note("before-announcing", old.beforeAnnouncing != new.beforeAnnouncing)
    note("track", old.tracks != new.tracks)
    switch (old.election, new.election) {
    case (.vrrp(let before), .vrrp(let after)):
      note("id", before.id != after.id)
      note("interval", before.interval != after.interval)
      note("version", before.version != after.version)
      note("preempt", before.preempt != after.preempt)
      note("preempt-delay", before.preemptDelay != after.preemptDelay)
      note("peers", before.peers != after.peers)
      note("family", before.family != after.family)
      note("accept", before.accept != after.accept)
      note("checksum", before.checksum != after.checksum)
      note("auth", before.authentication != after.authentication)
      note("virtual-mac", before.virtualMAC != after.virtualMAC)
    case (.static, .static): break
    default: words.append("election")
    }
    return words
  }

  private static func changes(_ old: Service, _ new: Service) -> [String] {
    var words: [String] = []
    func note(_ word: String, _ isChanged: Bool) { if isChanged { words.append(word) } }
    note("vip", old.vip != new.vip)
    note("listen", old.listen != new.listen)
    note("mode", old.mode != new.mode)
    note("balance", old.balance != new.balance)
    note("check", old.check != new.check)
    note("limits", old.limits != new.limits)
    let former = Dictionary(old.backends.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    let current = Set(new.backends.map(\.name))
    for backend in new.backends {
      if let before = former[backend.name] {
        note("backend \(backend.name)", before != backend)
      } else {
        words.append("backend \(backend.name) new")
      }
    }
    for backend in old.backends where !current.contains(backend.name) {
      words.append("backend \(backend.name) removed")
    }
    // Indexes name backends, so their order is more than words.
    if words.isEmpty, old.backends != new.backends { words.append("order of backends") }
    return words
  }
}
