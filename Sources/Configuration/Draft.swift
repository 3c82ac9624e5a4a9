import Basis
import VRRP
import Wire

/// What could be read of a file, with where each part stands: complete where the file has no mistake, and where it has,
/// as much as later checks can still use, so that a person hears of everything at once.
struct Draft: Sendable {
  var secrets: [Located<String>] = []
  var nodes: [Part<Configuration.Member>] = []
  var vips: [Part<Configuration.VIP>] = []
  var services: [Part<Configuration.Service>] = []

  /// A value from the file and where it stands.
  struct Located<Value: Sendable>: Sendable {
    var value: Value
    var place: Place
  }

  /// A node, VIP or service, and what it was read from.
  struct Part<Value: Sendable>: Sendable {
    var value: Value
    /// The name's place.
    var place: Place
    var element: Element

    /// Where a key stands, or the key within that key; the name where it isn't there.
    func place(_ keys: String...) -> Place {
      var place = place
      var element: Element? = element
      for key in keys {
        guard let entry = element?.entry(key) else { return place }
        place = entry.place
        element = entry.value
      }
      return place
    }

    /// Where the value of a key stands.
    func value(_ keys: String...) -> Place? {
      keys.reduce(element as Element?) { $0?[$1] }?.place
    }

    /// The addresses that were understood, with their places.
    var addresses: [Located<IPAddress>] {
      let list = element.text == nil ? element["addresses"]?.items ?? [] : [element]
      return list.compactMap { item in item.text.flatMap(IPAddress.init).map { Located(value: $0, place: item.place) } }
    }
  }

  /// The value, where nothing is missing.
  var configuration: Configuration {
    Configuration(
      cluster: Configuration.Cluster(secrets: secrets.map(\.value), nodes: nodes.map(\.value)), vips: vips.map(\.value),
      services: services.map(\.value))
  }
}

extension Draft {
  /// Reads what has the right form, and leaves the rest at its default: `Shape.check` has reported it.
  init(_ root: Element) {
    let cluster = root["cluster"]
    secrets =
      cluster?["secret"]?.items.compactMap { item in item.text.map { Located(value: $0, place: item.place) } } ?? []
    nodes =
      cluster?["nodes"]?.entries.map { entry in
        var part = Part(
          value: Configuration.Member(name: entry.name, addresses: []), place: entry.place, element: entry.value)
        part.value.addresses = part.addresses.map(\.value)
        return part
      } ?? []
    let names = nodes.map(\.value.name)
    vips = root["vips"]?.entries.map { Draft.vip($0, nodes: names) } ?? []
    services = root["services"]?.entries.map(Draft.service) ?? []
  }

  private static func vip(_ entry: Element.Entry, nodes: [String]) -> Part<Configuration.VIP> {
    let element = entry.value
    var part = Part(
      value: Configuration.VIP(name: entry.name, addresses: [], prefer: nodes, election: .static), place: entry.place,
      element: element)
    part.value.addresses = part.addresses.map(\.value)
    if let name = element["interface"]?.text { part.value.interface = .named(name) }
    if let choices = element["interface"]?.entries, !choices.isEmpty {
      part.value.interface = .perNode(
        choices.map { Configuration.NodeInterface(node: $0.name, interface: $0.value.text ?? "") })
    }
    if let prefer = element["prefer"] { part.value.prefer = prefer.items.compactMap(\.text) }
    if let text = element["address-lease"]?.text {
      part.value.lease = text == "off" ? nil : DurationText.read(text) ?? part.value.lease
    }
    element.read("drain", DurationText.read, &part.value.drain)
    if element["election"]?.text ?? "vrrp" == "vrrp" {
      let hasIPv4 = part.value.addresses.contains { $0.family == .ipv4 }
      part.value.election = .vrrp(router(element["vrrp"], family: hasIPv4 ? .ipv4 : .ipv6))
    }
    return part
  }

  private static func router(_ element: Element?, family: AddressFamily) -> Configuration.Router {
    // 0 where the file gives none, or a wrong one, and so has a mistake.
    var router = Configuration.Router(id: 0, family: family)
    guard let element else { return router }
    element.read("id", { wholeNumber($0).flatMap { UInt8(exactly: $0) } }, &router.id)
    element.read("interval", DurationText.read, &router.interval)
    element.read(
      "version", { wholeNumber($0).flatMap { UInt8(exactly: $0) }.flatMap(VRRP.Version.init) }, &router.version)
    element.read("preempt", Bool.init, &router.preempt)
    element.read("preempt-delay", DurationText.read, &router.preemptDelay)
    element.read("peers", Configuration.Peers.init, &router.peers)
    element.read("family", { ["ipv4": .ipv4, "ipv6": .ipv6][$0] }, &router.family)
    element.read("accept", Bool.init, &router.accept)
    element.read("checksum", VRRP.ChecksumCoverage.init, &router.checksum)
    return router
  }

  private static func service(_ entry: Element.Entry) -> Part<Configuration.Service> {
    let element = entry.value
    var service = Configuration.Service(
      name: entry.name, vip: element["vip"]?.text ?? "",
      listen: element["listen"]?.items.compactMap { $0.text.flatMap(Configuration.Listen.init) } ?? [], backends: [])
    element.read("mode", Configuration.Mode.init, &service.mode)
    element.read("balance", Configuration.Balance.init, &service.balance)
    service.check = element["check"].flatMap(check)
    service.backends = element["backends"]?.entries.compactMap(backend) ?? []
    if let limits = element["limits"] {
      limits.read("maximum-connections", { wholeNumber($0) }, &service.limits.maximumConnections)
      limits.read("connect-timeout", DurationText.read, &service.limits.connectTimeout)
      limits.read("idle-timeout", DurationText.read, &service.limits.idleTimeout)
      limits.read("retries", { wholeNumber($0) }, &service.limits.retries)
    }
    return Part(value: service, place: entry.place, element: element)
  }

  private static func check(_ element: Element) -> Configuration.Check? {
    if element.text == "tcp" { return Configuration.Check(probe: .tcp) }
    var check = Configuration.Check(probe: .tcp)
    if let path = element["http"]?.text {
      var http = Configuration.HTTPProbe(path: path)
      http.host = element["host"]?.text
      http.contains = element["contains"]?.text
      if let status = element["status"] { http.status = status.items.compactMap { $0.text.flatMap(statusRange) } }
      check.probe = .http(http)
    }
    element.read("every", DurationText.read, &check.every)
    check.timeout = min(check.timeout, check.every)
    element.read("timeout", DurationText.read, &check.timeout)
    element.read("rise", { wholeNumber($0) }, &check.rise)
    element.read("fall", { wholeNumber($0) }, &check.fall)
    check.port = element["port"]?.text.flatMap { portNumber($0) }
    return check
  }

  private static func backend(_ entry: Element.Entry) -> Configuration.Backend? {
    let address = entry.value.text ?? entry.value["address"]?.text
    guard let endpoint = address.flatMap(Endpoint.init) else { return nil }
    var backend = Configuration.Backend(name: entry.name, address: endpoint.address, port: endpoint.port)
    entry.value.read("weight", { wholeNumber($0) }, &backend.weight)
    return backend
  }
}

extension Element {
  /// Sets a variable from the text of a key, where it is there and understood.
  fileprivate func read<Value>(_ key: String, _ parse: (String) -> Value?, _ value: inout Value) {
    if let parsed = self[key]?.text.flatMap(parse) { value = parsed }
  }
}
