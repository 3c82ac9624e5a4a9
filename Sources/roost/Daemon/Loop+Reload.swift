import Basis
import Health
import Linux
import Node
import PeerLink
import Proxy
import Wire

// Another plan put in place. The node decides what that means for each VIP; a place of the old plan is the old VIP's until the node says
// `configure`, because it may still have connections to end and a farewell to say.

extension Loop {
  /// A plan that is ready: whatever can fail has been done.
  struct Installation: Sendable {
    let plan: DaemonPlan
    let parts: Equipment.Parts
    let change: ProxyEngine.Change?
    /// Whoever asked may have given up.
    let proposal: Proposal
  }

  func install(_ new: Installation) {
    guard new.proposal.take() else { return }
    defer { new.proposal.done() }
    let now = Clock.now()
    let old = plan
    let changesChecks = old.probes != new.plan.probes || old.node.services != new.plan.node.services
    let origins = new.plan.probeOrigins(in: old)
    if changesChecks { endProbes(but: origins, replacedBy: new.plan, at: now) }
    plan = new.plan
    hash = plan.configuration.hash
    parts.equipment = new.parts
    settings = settings.following(plan.node)
    elections.configure(plan)

    if let change = new.change { new.parts.proxy?.apply(change) }
    retireServices(of: old)
    for vip in settings.vips.indices where isSame(vip) {
      proxyIndices[vip] = plan.proxyIndices(ofVIP: vip)
      // Secrets, authentication and virtual MACs are not among the node's settings, so it says nothing of them.
      elections.configure(vip, settings.vips[vip], plan)
      if plan.addresses(ofVIP: vip, settings.vips[vip]) != old.addresses(ofVIP: vip, settings.vips[vip]) {
        placesChanged = true
      }
    }
    if changesChecks { new.parts.prober?.replace(plan.probes.map(\.target), origins: origins) }
    new.parts.trackers?.replace(plan.trackerTargets)
    witnesses.addresses = plan.configuration.cluster.witnesses
    if let link = PeerLinkSettings(plan) { new.parts.link?.replace(link) }

    give(.settings(plan.node), at: now)
    flushPlaces()
    sendBackendStates(changedSince: old)
    for interface in interfaces.values.sorted(by: { $0.name < $1.name }) { follow(interface, at: now) }
    for vip in settings.vips.indices { fence.recharge(vip) }
  }

  /// Probes in flight of checks that are no more, or others. The node itself gives up those of a service whose settings differ, and asks
  /// again; of the others it hears that their end is unknown, which is no failure, in the order in which they were asked for.
  private func endProbes(but kept: [Int?], replacedBy new: DaemonPlan, at now: Instant) {
    let kept = Set(kept.compactMap(\.self))
    for number in outstanding.keys.sorted() {
      guard let asked = outstanding[number] else { continue }
      if let index = plan.probeIndex(service: asked.service, backend: asked.backend), kept.contains(index) { continue }
      outstanding[number] = nil
      let isSame =
        new.node.services.indices.contains(asked.service)
        && new.node.services[asked.service] == plan.node.services[asked.service]
      guard isSame else { continue }
      let result = CheckResult(.unknown, latency: .zero, message: "the check was changed meanwhile")
      give(.check(service: asked.service, backend: asked.backend, probe: asked.probe, result), at: now)
    }
  }

  /// The place holds the VIP that the plan has for it.
  private func isSame(_ vip: Int) -> Bool {
    plan.node.vips.indices.contains(vip) && settings.vips[vip].name == plan.node.vips[vip].name
  }

  /// `Effect.configure`: from now on the place is what these settings say.
  func configure(_ vip: Int, _ new: VIPSettings) {
    settings.place(new, at: vip)
    elections.configure(vip, new, plan)
    while proxyIndices.count <= vip { proxyIndices.append([]) }
    if let leaving = leavingServices.removeValue(forKey: vip) {
      for (place, service) in leaving { parts.equipment.proxy?.remove(place, ifStill: service) }
    }
    proxyIndices[vip] = isSame(vip) ? plan.proxyIndices(ofVIP: vip) : []
    placesChanged = true
    fence.recharge(vip)
  }

  /// Has the address thread know the places as they are, before anything is asked of it.
  func flushPlaces() {
    guard placesChanged else { return }
    placesChanged = false
    var vips: [AddressThread.VIP] = []
    for place in settings.vips.indices where !settings.vips[place].isVacant {
      vips.append(plan.addresses(ofVIP: place, settings.vips[place]))
    }
    let watched = Set(settings.vips.map(\.interface)).union(plan.watched).subtracting([""])
    parts.addresses.configure(vips, watching: watched.sorted())
  }

  /// Services that are no more. Those of a VIP that leaves are drained with it; others are drained now.
  private func retireServices(of old: DaemonPlan) {
    guard let proxy = parts.equipment.proxy else { return }
    for place in old.node.services.indices {
      for index in old.proxyIndices[place] {
        guard let service = old.proxied[index], !plan.proxied.indices.contains(index) || plan.proxied[index] == nil
        else {
          continue
        }
        let vip = old.node.services[place].vip
        if isSame(vip) {
          proxy.closeConnections([index], within: settings.vips[vip].drain) { proxy.remove(index, ifStill: service) }
        } else {
          leavingServices[vip, default: []].append((index, service))
        }
      }
    }
  }

  /// A service that changed begins with all its backends: what the node knows of them is said again.
  private func sendBackendStates(changedSince old: DaemonPlan) {
    for service in plan.proxyIndices.indices where plan.node.services.indices.contains(service) {
      let changed = plan.proxyIndices[service].contains { index in
        !old.proxied.indices.contains(index) || old.proxied[index] != plan.proxied[index]
      }
      guard changed, node.services.indices.contains(service) else { continue }
      for (backend, status) in node.services[service].backends.enumerated() {
        backendChanged(service: service, backend: backend, status.state)
      }
    }
  }
}

extension NodeSettings {
  /// Everything of the new settings but the VIPs, which follow one by one.
  fileprivate func following(_ new: NodeSettings) -> NodeSettings {
    var next = new
    next.vips = vips
    while next.vips.count < new.vips.count { next.vips.append(.vacant) }
    return next
  }

  fileprivate mutating func place(_ vip: VIPSettings, at place: Int) {
    while vips.count <= place { vips.append(.vacant) }
    vips[place] = vip
  }
}
