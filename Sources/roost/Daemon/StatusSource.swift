import Basis
import Configuration
import Control
import Guardian
import Linux
import Node
import PeerLink
import Proxy
import Synchronization
import Telemetry
import VRRP
import Wire

/// What the control socket serves: a copy of the node's state, made into a report on the log's thread.
struct StatusSource: Sendable {
  private let equipment: Equipment
  private let mailbox: Mailbox<Loop.Message>
  private let log: Log
  /// What waits to be confirmed, if anything does.
  private let confirmation: @Sendable () -> ReloadCoordinator.Waiting?
  private let started = Clock.now()

  init(
    equipment: Equipment, mailbox: Mailbox<Loop.Message>, log: Log,
    confirmation: @escaping @Sendable () -> ReloadCoordinator.Waiting? = { nil }
  ) {
    self.confirmation = confirmation
    self.equipment = equipment
    self.mailbox = mailbox
    self.log = log
  }

  func add(to routes: inout ControlRoutes) {
    routes.on("GET", "/status") { _, answer in
      mailbox.send(
        .snapshot { snapshot in
          // On the loop's thread: hand it on and be gone.
          let accepted = log.perform { answer(ControlResponse(body: report(snapshot).json() + [0x0A])) }
          if !accepted { answer(.error(503, "too much waits to be written already; try again")) }
        })
    }
  }

  private func report(_ snapshot: Loop.Snapshot) -> StatusReport {
    let parts = equipment.current
    let maker = StatusMaker(plan: snapshot.plan, link: parts.link, traffic: parts.proxy?.snapshot() ?? [])
    var report = maker.report(snapshot, started: started)
    let waiting = confirmation()
    report.unconfirmed_ms = waiting.map { max(0, ($0.deadline - snapshot.now).milliseconds) }
    report.unconfirmed_trouble = waiting?.trouble
    return report
  }
}

/// One report.
private struct StatusMaker {
  let plan: DaemonPlan
  let link: PeerLink?
  let traffic: [ServiceSnapshot]

  func report(_ snapshot: Loop.Snapshot, started: Instant) -> StatusReport {
    let clock = Times(snapshot)
    var report = StatusReport(
      node: plan.name, version: Roost.version, uptime_ms: (snapshot.now - started).milliseconds,
      config_hash: plan.configuration.hash,
      loop: loop(snapshot.statistics, snapshot.guardian),
      vips: snapshot.node.vips.indices.filter { !snapshot.node.vips[$0].settings.isVacant }.map {
        vip($0, snapshot, clock)
      },
      services: snapshot.node.services.indices.compactMap { service($0, snapshot.node, clock) },
      peers: peers(snapshot))
    let split = snapshot.node.vips.indices.compactMap { splitBrain($0, snapshot.node, clock) }
    if !split.isEmpty { report.split_brains = split }
    report.guardian = guardian(snapshot.guardian)
    report.journal_trouble = snapshot.journalTrouble
    report.clock_window_ms = plan.secrets.clockWindow?.milliseconds
    return report
  }

  private func splitBrain(_ vip: Int, _ node: Node, _ clock: Times) -> StatusReport.SplitBrain? {
    guard let split = node.splitBrain(of: vip) else { return nil }
    return StatusReport.SplitBrain(
      vip: node.vips[vip].settings.name,
      owners: split.owners.map { owner in
        if case .address(let address) = owner { nodeName(address, vip, node) } else { "\(owner)" }
      }, since: clock.text(split.since), heard_from: split.heard?.description)
  }

  private func guardian(_ condition: GuardianKeeper.Condition) -> StatusReport.Guardian {
    switch condition {
    case .watching(let pid): .init(state: "watching", pid: pid)
    case .starting: .init(state: "starting")
    case .hung: .init(state: "hung")
    case .none(let again): .init(state: "none", again_ms: again.milliseconds)
    }
  }

  private func loop(_ statistics: ReactorStatistics, _ guardian: GuardianKeeper.Condition) -> StatusReport.Loop {
    var watching: Int32?
    if case .watching(let pid) = guardian { watching = pid }
    return StatusReport.Loop(
      turns: statistics.turns, late_max_ms: statistics.latenessMaximum.milliseconds,
      late_p50_ms: statistics.lateness(ofShare: 0.5).milliseconds,
      late_p99_ms: statistics.lateness(ofShare: 0.99).milliseconds,
      late_buckets: statistics.latenessBuckets.indices.map { statistics.latenessBuckets[$0] }, guardian_pid: watching)
  }

  // MARK: VIPs

  private func vip(_ place: Int, _ snapshot: Loop.Snapshot, _ clock: Times) -> StatusReport.VIP {
    let vip = snapshot.node.vips[place]
    let (unsent, authentication) = (snapshot.unsent[place], snapshot.authentication[place])
    var owner: String?
    var address: String?
    if vip.state == .active {
      owner = plan.name
    } else if vip.state == .backup, let heard = vip.router?.owner {
      owner = nodeName(heard.address, place, snapshot.node)
      if configuredName(heard.address) == nil { address = heard.address.description }
    }
    var report = StatusReport.VIP(
      name: vip.settings.name, addresses: vip.settings.addresses.map(\.description), interface: vip.settings.interface,
      state: vip.state.rawValue, owner: owner, priority: vip.router.map { Int($0.settings.priority) },
      since: vip.since.map(clock.text), reason: vip.reason, announcements: vip.announcements,
      interval_ms: vip.router.map { $0.interval.milliseconds }, adverts: adverts(vip.router, unsent, authentication))
    report.owner_address = address
    let warnings = snapshot.strays.filter { vip.settings.addresses.contains($0.address) }
      .map { StatusReport.Warning(text: $0.words, advice: $0.advice) }.sorted { $0.text < $1.text }
    if !warnings.isEmpty { report.warnings = warnings }
    return report
  }

  private func adverts(
    _ router: VirtualRouter?, _ unsent: UInt64, _ authentication: AuthenticationCounters?
  ) -> [String: UInt64] {
    guard let counters = router?.counters else { return [:] }
    var adverts = ["sent": counters.sent, "accepted": counters.accepted]
    if unsent > 0 { adverts["not sent"] = unsent }
    if let authentication {
      adverts["authenticated"] = authentication.verified
      if authentication.unauthenticated > 0 { adverts["not authenticated"] = authentication.unauthenticated }
      for reason in AuthenticationDiscard.allCases where authentication[reason] > 0 {
        adverts["discarded: \(reason)"] = authentication[reason]
      }
    }
    for reason in Discard.allCases where counters[reason] > 0 { adverts["discarded: \(reason)"] = counters[reason] }
    return adverts
  }

  /// A node of the cluster by an address of its, or by what it says over the peer link: an IPv6 link-local address, from which IPv6
  /// adverts come, is in nobody's configuration. Else the address, for a stranger's advert is worth seeing.
  private func nodeName(_ address: IPAddress, _ vip: Int, _ node: Node) -> String {
    configuredName(address) ?? node.peer(advertisingFrom: address, ofVIP: vip) ?? address.description
  }

  private func configuredName(_ address: IPAddress) -> String? {
    plan.configuration.cluster.nodes.first { $0.addresses.contains(address) }?.name
  }

  // MARK: Services

  private func service(
    _ index: Int, _ node: Node, _ clock: Times
  ) -> StatusReport.Service? {
    guard plan.node.services.indices.contains(index), let configured = plan.service(index) else { return nil }
    let state = node.services[index]
    // The node takes a change at the same moment as the plan, the proxy a little earlier or later.
    guard state.backends.count == configured.backends.count else { return nil }
    let carried = plan.proxyIndices[index].filter(traffic.indices.contains).map { traffic[$0] }
    return StatusReport.Service(
      name: configured.name, vip: configured.vip,
      listen: configured.listen.map(\.description).joined(separator: ", "), mode: configured.mode.rawValue,
      balance: configured.balance.rawValue, state: state.isDown ? "down" : "up",
      refused_at_limit: carried.reduce(0) { $0 + $1.refusedAtLimit },
      refused_no_backend: carried.reduce(0) { $0 + $1.noBackend },
      backends: configured.backends.indices.map { backend in
        let name = configured.backends[backend].name
        let parts = carried.compactMap { $0.backends.first { $0.name == name } }
        return StatusReport.Backend(
          name: name, address: address(configured.backends[backend], of: configured),
          state: state.backends[backend].state.rawValue, weight: configured.backends[backend].weight,
          connections: Int(parts.reduce(0) { $0 + $1.connections }),
          connections_total: parts.reduce(0) { $0 + $1.total },
          connect_failures: parts.reduce(0) { $0 + $1.failedConnects },
          bytes_in: parts.reduce(0) { $0 + $1.bytesToBackend }, bytes_out: parts.reduce(0) { $0 + $1.bytesToClient },
          check: check(state.backends[backend], clock))
      })
  }

  private func check(_ backend: ServiceState.BackendStatus, _ clock: Times) -> StatusReport.Check? {
    guard let monitor = backend.monitor else { return nil }
    return StatusReport.Check(
      last_ms: monitor.last?.latency.milliseconds, since: monitor.since.map(clock.text), message: monitor.last?.message)
  }

  private func address(_ backend: Configuration.Backend, of service: Configuration.Service) -> String {
    guard let port = backend.port ?? service.listen.first?.ports.lowerBound else { return backend.address.description }
    return switch backend.address {
    case .v4: "\(backend.address):\(port)"
    case .v6: "[\(backend.address)]:\(port)"
    }
  }

  // MARK: Peers

  /// By the peer link where there is one; else by VRRP, which hears owners only, so a peer that is a backup of everything is not known
  /// to be there.
  private func peers(_ snapshot: Loop.Snapshot) -> [StatusReport.Peer] {
    let linked = link?.snapshot() ?? []
    return plan.configuration.cluster.nodes.filter { $0.name != plan.name }.map { peer in
      let heard = snapshot.node.vips.indices
        .compactMap { vip in snapshot.node.vips[vip].router?.owner.map { (vip, $0) } }
        .filter { nodeName($1.address, $0, snapshot.node) == peer.name }
        .map(\.1.heard).max()
      let longest = snapshot.node.vips.compactMap { $0.router?.interval }.max() ?? .seconds(1)
      let isHeard = heard.map { snapshot.now - $0 < longest * 3 } ?? false
      var report = StatusReport.Peer(
        name: peer.name, address: peer.addresses.first?.description ?? "", state: isHeard ? "up" : "unknown",
        last_seen_ms: heard.map { (snapshot.now - $0).milliseconds })
      if let told = snapshot.node.coordination.peers.first(where: { $0.name == peer.name }), told.isUp {
        report.vips = Dictionary(
          told.vips.compactMap { $0 }.map { ($0.name, "\($0.state)") }, uniquingKeysWith: { first, _ in first })
      }
      if let status = linked.first(where: { $0.name == peer.name }) { report.add(status, at: snapshot.now, plan) }
      return report
    }
  }
}

extension StatusReport.Peer {
  /// What the peer link knows.
  fileprivate mutating func add(_ status: PeerLinkStatus, at now: Instant, _ plan: DaemonPlan) {
    state = status.state == .up ? "up" : state == "up" ? "adverts only" : "down"
    if let seen = status.lastSeen { last_seen_ms = min(last_seen_ms ?? .infinity, max(0, (now - seen).milliseconds)) }
    round_trip_ms = status.roundTrip?.milliseconds
    clock_ahead_ms = status.clock?.offset.milliseconds
    clock_error_ms = status.clock?.error.milliseconds
    bytes_in = status.bytesIn
    bytes_out = status.bytesOut
    dropped = status.dropped
    version = status.hello?.software
    config_hash = status.hello?.configuration
    if status.state != .up, !status.reason.isEmpty {
      warning = status.reason
    } else if let hash = config_hash, hash != plan.configuration.hash {
      warning = "its configuration differs from this node's"
    } else if let version, version != Roost.version {
      warning = "it runs version \(version), this node \(Roost.version)"
    }
  }
}

/// Instants since boot as times of day.
private struct Times {
  private let now: Instant
  private let wall: WallTime

  init(_ snapshot: Loop.Snapshot) {
    now = snapshot.now
    wall = snapshot.wall
  }

  func text(_ instant: Instant) -> String { (wall - (now - instant)).description }
}
