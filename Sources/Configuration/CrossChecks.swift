import Basis
import VRRP
import Wire

/// What is wrong although every value is right by itself.
enum CrossChecks {
  static func check(_ draft: Draft, _ mistakes: inout Mistakes) {
    checkNodes(draft, &mistakes)
    checkVIPs(draft, &mistakes)
    checkAddresses(draft, &mistakes)
    checkRouterIDs(draft, &mistakes)
    checkServices(draft, &mistakes)
    checkTrackers(draft, &mistakes)
    checkGroups(draft, &mistakes)
    checkNotifications(draft, &mistakes)
  }

  private static func checkNodes(_ draft: Draft, _ mistakes: inout Mistakes) {
    var holders: [IPAddress: String] = [:]
    for node in draft.nodes {
      for address in node.addresses {
        if let holder = holders[address.value] {
          mistakes.error(
            holder == node.value.name
              ? "\(address.value) is there twice" : "\(address.value) is an address of node '\(holder)' already",
            at: address.place, suggestion: holder == node.value.name ? "leave one" : "each node has its own")
        } else {
          holders[address.value] = node.value.name
        }
      }
    }
    var files: Set<String> = []
    for secret in draft.secrets where !files.insert(secret.value).inserted {
      mistakes.error("\(quoted(secret.value)) is there twice", at: secret.place, suggestion: "leave one")
    }
    if draft.secrets.isEmpty, let place = draft.portPlace {
      mistakes.warning(
        "'port' has no effect: without a secret there is no peer link", at: place,
        suggestion: "add secret: FILE, or remove it")
    }
    var witnesses: Set<IPAddress> = []
    for witness in draft.witnesses {
      if let node = holders[witness.value] {
        mistakes.error(
          "\(witness.value) is node '\(node)': a witness is somebody else", at: witness.place,
          suggestion: "name the gateway, or another host on the nodes' network")
      } else if !witnesses.insert(witness.value).inserted {
        mistakes.error("\(witness.value) is there twice", at: witness.place, suggestion: "leave one")
      }
    }
  }

  // MARK: - VIPs

  private static func checkVIPs(_ draft: Draft, _ mistakes: inout Mistakes) {
    let names = draft.nodes.map(\.value.name)
    let known = Set(names)
    for vip in draft.vips {
      checkPreference(vip, names, known, &mistakes)
      for choice in vip.element["interface"]?.entries ?? [] where !known.contains(choice.name) {
        unknown("node", choice.name, at: choice.place, among: names, &mistakes)
      }
      checkElection(vip, names, &mistakes)
      if case .vrrp(let router) = vip.value.election, vip.element["vrrp"] != nil {
        checkVersion(vip, router, &mistakes)
        checkPeers(vip, router, draft, &mistakes)
        checkAuthentication(vip, router, draft, &mistakes)
        checkAcceptance(vip, router, draft, &mistakes)
      }
    }
  }

  private static func checkPreference(
    _ vip: Draft.Part<Configuration.VIP>, _ names: [String], _ known: Set<String>, _ mistakes: inout Mistakes
  ) {
    guard let items = vip.element["prefer"]?.items else { return }
    var seen: Set<String> = []
    for item in items {
      guard let name = item.text else { continue }
      if !known.contains(name) {
        unknown("node", name, at: item.place, among: names, &mistakes)
      } else if !seen.insert(name).inserted {
        mistakes.error("node \(quoted(name)) is preferred twice", at: item.place, suggestion: "leave one")
      }
    }
  }

  private static func checkElection(
    _ vip: Draft.Part<Configuration.VIP>, _ names: [String], _ mistakes: inout Mistakes
  ) {
    let name = vip.value.name
    switch vip.value.election {
    case .vrrp:
      // A word that no version knows, or a later one: that was said.
      guard vip.element["election"]?.text ?? "vrrp" == "vrrp", case .mapping = vip.element.content else { return }
      if vip.element.entry("vrrp") == nil,
        !vip.element.entries.contains(where: { nearest($0.name, among: ["vrrp"]) != nil })
      {
        mistakes.error(
          "missing key 'vrrp' of VIP '\(name)'", at: vip.place,
          suggestion: "add vrrp: { id: N }, N from 1 to 255 and unlike any other virtual router's on the link")
      }
      if vip.element["prefer"] != nil, vip.value.prefer.count == 1, names.count > 1 {
        mistakes.warning(
          "only '\(vip.value.prefer[0])' may own '\(name)': when it fails, nobody takes over", at: vip.place("prefer"),
          suggestion: "name another node too, or say election: static")
      }
    case .static:
      guard vip.element["election"]?.text == "static" else { return }
      if let entry = vip.element.entry("warm-up") {
        mistakes.warning(
          "'warm-up' has no effect where election is static: there is nobody to listen to", at: entry.place,
          suggestion: "remove it")
      }
      if vip.element.entry("vrrp") != nil {
        mistakes.error(
          "'vrrp' has no meaning where election is static", at: vip.place("vrrp"),
          suggestion: "leave one of the two out")
      }
      if vip.element["prefer"] == nil, names.count > 1 {
        mistakes.error(
          "a static VIP needs its one node", at: vip.place("election"),
          suggestion: "add prefer: [\(names[0])], or the node that is to have it")
      } else if vip.value.prefer.count > 1 {
        mistakes.error(
          "a static VIP has one node, found \(vip.value.prefer.count)", at: vip.place("prefer"),
          suggestion: "leave one, or say election: vrrp")
      }
    }
  }

  /// What one version of VRRP can do and the other can't.
  private static func checkVersion(
    _ vip: Draft.Part<Configuration.VIP>, _ router: Configuration.Router, _ mistakes: inout Mistakes
  ) {
    let families = Set(vip.value.addresses.map(\.family))
    let familyName = router.family == .ipv4 ? "IPv4" : "IPv6"
    if !families.isEmpty, !families.contains(router.family) {
      mistakes.error(
        "the VIP has no \(familyName) address", at: vip.value("vrrp", "family") ?? vip.place,
        suggestion: "leave 'family' out, or add an address")
    }
    let interval = vip.value("vrrp", "interval")
    switch router.version {
    case .v2:
      if router.family == .ipv6 {
        mistakes.error(
          "VRRP version 2 knows no IPv6", at: vip.value("vrrp", "version") ?? vip.place, suggestion: "use version 3")
      }
      if router.interval.nanoseconds % 1_000_000_000 != 0 {
        mistakes.error(
          "VRRP version 2 counts its interval in whole seconds", at: interval ?? vip.place,
          suggestion: "write \(router.interval.nanoseconds / 1_000_000_000 + 1)s, or use version 3")
      }
    case .v3:
      if router.interval > .milliseconds(40_950) {
        mistakes.error(
          "VRRP version 3 can't say an interval above 40.95s", at: interval ?? vip.place,
          suggestion: "write 40s or less")
      } else if router.interval.nanoseconds % 10_000_000 != 0 {
        mistakes.error(
          "VRRP version 3 counts its interval in steps of 10ms", at: interval ?? vip.place,
          suggestion: "write \(DurationText.write(.nanoseconds(router.interval.nanoseconds / 10_000_000 * 10_000_000)))"
        )
      }
    }
    if vip.value("vrrp", "checksum") != nil, router.version == .v2 || router.family == .ipv6 {
      mistakes.warning(
        "'checksum' has no effect: only version 3 over IPv4 leaves a choice", at: vip.place("vrrp", "checksum"),
        suggestion: "remove it")
    }
    if !router.preempt, vip.value("vrrp", "preempt-delay") != nil {
      mistakes.warning(
        "'preempt-delay' has no effect where preempt is false", at: vip.place("vrrp", "preempt-delay"),
        suggestion: "remove it")
    }
  }

  private static func checkPeers(
    _ vip: Draft.Part<Configuration.VIP>, _ router: Configuration.Router, _ draft: Draft, _ mistakes: inout Mistakes
  ) {
    guard router.peers == .unicast, let place = vip.value("vrrp", "peers") else { return }
    let familyName = router.family == .ipv4 ? "IPv4" : "IPv6"
    let able = Set(vip.value.prefer)
    let nodes = draft.nodes.filter { able.contains($0.value.name) }
    if nodes.count < 2 {
      mistakes.error(
        "unicast adverts need two nodes or more, this VIP has \(nodes.count)", at: place,
        suggestion: "name another node, or use multicast")
    }
    // A node whose address was refused has its own mistake.
    for node in nodes where !node.value.addresses.isEmpty && node.value.address(router.family) == nil {
      mistakes.error(
        "unicast adverts over \(familyName) need an \(familyName) address of each node: '\(node.value.name)' has none",
        at: place, suggestion: "add one to cluster.nodes.\(node.value.name), or use multicast")
    }
  }

  private static func checkAuthentication(
    _ vip: Draft.Part<Configuration.VIP>, _ router: Configuration.Router, _ draft: Draft, _ mistakes: inout Mistakes
  ) {
    guard vip.element["vrrp"]?.entry("auth") != nil else { return }
    let mode = vip.value("vrrp", "auth", "mode") ?? vip.place("vrrp", "auth")
    let hasKeys = !(vip.element["vrrp"]?["auth"]?["keys"]?.entries ?? []).isEmpty
    guard router.authentication.mode != .off else {
      if hasKeys, vip.element["vrrp"]?["auth"]?["mode"]?.text == "off" {
        mistakes.warning(
          "'keys' has no effect where mode is off", at: vip.place("vrrp", "auth", "keys"),
          suggestion: "remove it, or say mode: receive")
      }
      return
    }
    if router.version == .v2 {
      mistakes.error(
        "adverts of VRRP version 2 can't be signed", at: mode, suggestion: "use version 3, or mode: off")
    }
    if !hasKeys, draft.secrets.isEmpty {
      mistakes.error(
        "there is nothing to sign adverts with: neither 'keys' nor a cluster secret", at: mode,
        suggestion: "add secret: FILE to the cluster, or keys: { 1: FILE } here")
    }
  }

  /// An owner that answers no packets to the VIP can't serve there.
  private static func checkAcceptance(
    _ vip: Draft.Part<Configuration.VIP>, _ router: Configuration.Router, _ draft: Draft, _ mistakes: inout Mistakes
  ) {
    guard !router.accept, let service = draft.services.first(where: { $0.value.vip == vip.value.name }) else { return }
    mistakes.error(
      "service '\(service.value.name)' listens on this VIP, which drops packets to itself",
      at: vip.value("vrrp", "accept") ?? vip.place, suggestion: "remove 'accept', or give the service another VIP")
  }

  // MARK: - Who has which address

  private static func checkAddresses(_ draft: Draft, _ mistakes: inout Mistakes) {
    var vips: [IPAddress: String] = [:]
    let nodes = Dictionary(
      draft.nodes.flatMap { node in node.addresses.map { ($0.value, node.value.name) } },
      uniquingKeysWith: { first, _ in first })
    for vip in draft.vips {
      for address in vip.addresses {
        if let holder = vips[address.value] {
          mistakes.error(
            holder == vip.value.name
              ? "\(address.value) is there twice" : "\(address.value) belongs to VIP '\(holder)' already",
            at: address.place, suggestion: holder == vip.value.name ? "leave one" : "an address belongs to one VIP")
        } else {
          vips[address.value] = vip.value.name
        }
        if let node = nodes[address.value] {
          mistakes.error(
            "\(address.value) is node '\(node)''s own address: it can't move", at: address.place,
            suggestion: "choose an address that no machine has")
        }
      }
    }
    for witness in draft.witnesses {
      guard let vip = vips[witness.value] else { continue }
      mistakes.error(
        "\(witness.value) is VIP '\(vip)': a witness is somebody else", at: witness.place,
        suggestion: "name the gateway, or another host on the nodes' network")
    }
    for service in draft.services {
      for entry in service.element["backends"]?.entries ?? [] {
        let element = entry.value.text == nil ? entry.value["address"] : entry.value
        guard let element, let endpoint = element.text.flatMap(Endpoint.init), let vip = vips[endpoint.address] else {
          continue
        }
        mistakes.error(
          "\(endpoint.address) is VIP '\(vip)': a backend has an address of its own", at: element.place,
          suggestion: "write the real server's address")
      }
    }
  }

  /// Two virtual routers of one family with one VRID disturb each other where they share a link.
  private static func checkRouterIDs(_ draft: Draft, _ mistakes: inout Mistakes) {
    struct Router: Hashable {
      var id: UInt8
      var family: AddressFamily
    }
    var links: [Router: Links] = [:]
    let nodes = draft.nodes.map(\.value.name)
    let used = Set(draft.vips.compactMap { if case .vrrp(let router) = $0.value.election { router.id } else { nil } })
    for vip in draft.vips {
      guard case .vrrp(let router) = vip.value.election, router.id > 0, let place = vip.value("vrrp", "id") else {
        continue
      }
      let key = Router(id: router.id, family: router.family)
      if let other = links[key, default: Links()].add(vip.value, on: nodes) {
        let free = (1...255).first { !used.contains($0) && $0 > router.id } ?? (1...255).first { !used.contains($0) }
        mistakes.error(
          "id \(router.id) is virtual router '\(other)' already, and both may be on one link", at: place,
          suggestion: free.map { "choose another id, such as \($0)" } ?? "name their interfaces, if they differ")
      }
    }
  }

  /// On which interface of which node the VIPs with one VRID are. What is inferred can be any.
  private struct Links {
    private struct Node {
      var any: String?
      var inferred: String?
      var named: [String: String] = [:]

      /// In place, so that nothing is copied however many there are.
      mutating func add(_ vip: String, on interface: String?) -> String? {
        defer { any = vip }
        guard let interface else {
          defer { inferred = vip }
          return any
        }
        return inferred ?? named.updateValue(vip, forKey: interface)
      }
    }
    private var nodes: [String: Node] = [:]

    /// The name of a VIP that may be where this one is.
    mutating func add(_ vip: Configuration.VIP, on names: [String]) -> String? {
      var choices: [String: String] = [:]
      if case .perNode(let list) = vip.interface {
        choices = Dictionary(list.map { ($0.node, $0.interface) }, uniquingKeysWith: { first, _ in first })
      }
      var other: String?
      for name in names {
        var interface = choices[name]
        if case .named(let everywhere) = vip.interface { interface = everywhere }
        let met = nodes[name, default: Node()].add(vip.name, on: interface)
        other = other ?? met
      }
      return other
    }
  }

  static func unknown(
    _ what: String, _ name: String, at place: Place, among names: [String], _ mistakes: inout Mistakes
  ) {
    // None was understood: that is the mistake.
    guard !names.isEmpty else { return }
    guard !mistakes.isFull else { return mistakes.error("", at: place) }
    let list = names.prefix(8).joined(separator: ", ") + (names.count > 8 ? ", …" : "")
    mistakes.error(
      "there is no \(what) \(quoted(name))", at: place,
      suggestion: didYouMean(name, among: names.prefix(512)) ?? "known are \(list)")
  }
}
