import Basis
import Node
import VRRP
import Wire

/// What could be read of a file, with where each part stands: complete where the file has no mistake, and where it has,
/// as much as later checks can still use, so that a person hears of everything at once.
struct Draft: Sendable {
  var secrets: [Located<String>] = []
  var port = Configuration.Cluster.defaultPort
  var portPlace: Place?
  var witnesses: [Located<IPAddress>] = []
  var realtime = true
  var nodes: [Part<Configuration.Member>] = []
  var vips: [Part<Configuration.VIP>] = []
  var services: [Part<Configuration.Service>] = []
  var trackers: [Part<Configuration.Tracker>] = []
  var groups: [Part<Configuration.Group>] = []
  var notifications: [Part<Configuration.Notification>] = []
  /// As they are written, also those that could not be read.
  var trackerEntries: [Element.Entry] = []
  var notificationEntries: [Element.Entry] = []

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
      let list = if case .mapping = element.content { element["addresses"]?.items ?? [] } else { element.items }
      return list.compactMap { item in item.text.flatMap(IPAddress.init).map { Located(value: $0, place: item.place) } }
    }
  }

  /// The value, where nothing is missing.
  var configuration: Configuration {
    Configuration(
      cluster: Configuration.Cluster(
        secrets: secrets.map(\.value), port: port, witnesses: witnesses.map(\.value), realtime: realtime,
        nodes: nodes.map(\.value)),
      vips: vips.map(\.value), services: services.map(\.value), trackers: trackers.map(\.value),
      groups: groups.map(\.value), notifications: notifications.map(\.value))
  }
}

extension Draft {
  /// Reads what has the right form, and leaves the rest at its default: `Shape.check` has reported it.
  init(_ root: Element) {
    let cluster = root["cluster"]
    secrets =
      cluster?["secret"]?.items.compactMap { item in item.text.map { Located(value: $0, place: item.place) } } ?? []
    cluster?.read("port", { portNumber($0) }, &port)
    portPlace = cluster?.entry("port")?.place
    cluster?.read("realtime", Bool.init, &realtime)
    witnesses =
      cluster?["witness"]?.items.compactMap { item in
        item.text.flatMap(IPAddress.init).map { Located(value: $0, place: item.place) }
      } ?? []
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
    trackerEntries = root["trackers"]?.entries ?? []
    trackers = trackerEntries.compactMap(Draft.tracker)
    groups =
      root["groups"]?.entries.map { entry in
        Part(
          value: Configuration.Group(name: entry.name, vips: entry.value.items.compactMap(\.text)), place: entry.place,
          element: entry.value)
      } ?? []
    notificationEntries = root["notify"]?.entries ?? []
    notifications = notificationEntries.compactMap(Draft.notification)
  }

  private static func vip(_ entry: Element.Entry, nodes: [String]) -> Part<Configuration.VIP> {
    let element = entry.value
    var part = Part(
      value: Configuration.VIP(name: entry.name, addresses: [], prefer: nodes, election: .static), place: entry.place,
      element: element)
    part.value.addresses = part.addresses.map(\.value)
    if let interface = element["interface"] { part.value.interface = self.interface(interface) }
    if let prefer = element["prefer"] { part.value.prefer = prefer.items.compactMap(\.text) }
    if let text = element["address-lease"]?.text {
      part.value.lease = text == "off" ? nil : DurationText.read(text) ?? part.value.lease
    }
    element.read("drain", DurationText.read, &part.value.drain)
    element.read("warm-up", DurationText.read, &part.value.warmUp)
    if let text = element["announce-every"]?.text {
      part.value.refresh = text == "off" ? nil : DurationText.read(text) ?? part.value.refresh
    }
    if let hook = element["before-announcing"], let command = hook["command"] {
      var value = Configuration.Hook(command: command.items.compactMap(\.text))
      hook.read("timeout", DurationText.read, &value.timeout)
      part.value.beforeAnnouncing = value
    }
    part.value.tracks =
      element["track"]?.entries.compactMap { entry in
        entry.value.text.flatMap(consequence).map { Configuration.Track(tracker: entry.name, consequence: $0) }
      } ?? []
    if element["election"]?.text ?? "vrrp" == "vrrp" {
      let hasIPv4 = part.value.addresses.contains { $0.family == .ipv4 }
      part.value.election = .vrrp(router(element["vrrp"], family: hasIPv4 ? .ipv4 : .ipv6))
    }
    return part
  }

  private static func interface(_ element: Element) -> Configuration.Interface {
    if let name = element.text { return .named(name) }
    guard !element.entries.isEmpty else { return .inferred }
    return .perNode(
      element.entries.map { Configuration.NodeInterface(node: $0.name, interface: $0.value.text ?? "") })
  }

  private static func consequence(_ text: String) -> VIPSettings.Track.Consequence? {
    if text == "forbid" { return .forbid }
    return wholeNumber(text).flatMap { UInt8(exactly: $0) }.map { .lower($0) }
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
    element.read("virtual-mac", Bool.init, &router.virtualMAC)
    if let auth = element["auth"] {
      auth.read("mode", Configuration.Authentication.Mode.init, &router.authentication.mode)
      router.authentication.keys =
        auth["keys"]?.entries.compactMap { entry in
          guard let id = wholeNumber(entry.name).flatMap({ UInt8(exactly: $0) }), let file = entry.value.text else {
            return nil
          }
          return Configuration.Authentication.Key(id: id, file: file)
        } ?? []
    }
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
    var check = Configuration.Check(probe: probe(element))
    element.read("every", DurationText.read, &check.every)
    check.timeout = min(check.timeout, check.every)
    element.read("timeout", DurationText.read, &check.timeout)
    element.read("rise", { wholeNumber($0) }, &check.rise)
    element.read("fall", { wholeNumber($0) }, &check.fall)
    check.port = element["port"]?.text.flatMap { portNumber($0) }
    return check
  }

  private static func probe(_ element: Element) -> Configuration.Probe {
    guard let path = element["http"]?.text else { return .tcp }
    var http = Configuration.HTTPProbe(path: path)
    http.host = element["host"]?.text
    http.contains = element["contains"]?.text
    if let status = element["status"] { http.status = status.items.compactMap { $0.text.flatMap(statusRange) } }
    return .http(http)
  }

  private static func backend(_ entry: Element.Entry) -> Configuration.Backend? {
    let address = entry.value.text ?? entry.value["address"]?.text
    guard let endpoint = address.flatMap(Endpoint.init) else { return nil }
    var backend = Configuration.Backend(name: entry.name, address: endpoint.address, port: endpoint.port)
    entry.value.read("weight", { wholeNumber($0) }, &backend.weight)
    return backend
  }
}

extension Draft {
  /// Nil where it doesn't say what is watched, or in no way that is understood.
  private static func tracker(_ entry: Element.Entry) -> Part<Configuration.Tracker>? {
    let element = entry.value
    guard let source = trackerSource(element) else { return nil }
    let isCertain = Configuration.Tracker.isCertain(source)
    var tracker = Configuration.Tracker(
      name: entry.name, source: source, rise: isCertain ? 1 : 2, fall: isCertain ? 1 : 3)
    element.read("every", DurationText.read, &tracker.every)
    tracker.timeout = min(tracker.timeout, tracker.every)
    element.read("timeout", DurationText.read, &tracker.timeout)
    element.read("rise", { wholeNumber($0) }, &tracker.rise)
    element.read("fall", { wholeNumber($0) }, &tracker.fall)
    return Part(value: tracker, place: entry.place, element: element)
  }

  private static func trackerSource(_ element: Element) -> Configuration.Tracker.Source? {
    if let interface = element["interface"] { return .interface(self.interface(interface)) }
    if let prefix = element["route"]?.text.flatMap(readPrefix) {
      return .route(prefix, table: element["table"]?.text.flatMap { wholeNumber($0) }.flatMap { UInt32(exactly: $0) })
    }
    if let path = element["file"]?.text { return .file(path) }
    if let name = element["process"]?.text { return .process(name) }
    if let command = element["command"] {
      return .command(command.items.compactMap(\.text), user: element["user"]?.text)
    }
    if let vip = element["vip"]?.text { return .vip(vip) }
    if let service = element["service"]?.text {
      return .service(service, atLeast: element["at-least"]?.text.flatMap { wholeNumber($0) } ?? 1)
    }
    if let check = element["check"], let endpoint = element["address"]?.text.flatMap(Endpoint.init) {
      // 0 where the file gives no port, and so has a mistake.
      return .check(probe(check), address: endpoint.address, port: endpoint.port ?? 0)
    }
    return nil
  }

  private static func notification(_ entry: Element.Entry) -> Part<Configuration.Notification>? {
    let element = entry.value
    var action: Configuration.Notification.Action
    if let command = element["command"] {
      action = .command(command.items.compactMap(\.text))
    } else if let url = element["webhook"]?.text.flatMap(Configuration.WebAddress.init) {
      action = .webhook(url, authorization: element["authorization"]?.text)
    } else {
      return nil
    }
    var notification = Configuration.Notification(name: entry.name, action: action)
    notification.kinds = element["events"]?.items.compactMap { $0.text.flatMap(Occurrence.Kind.init) } ?? []
    element.read("timeout", DurationText.read, &notification.timeout)
    return Part(value: notification, place: entry.place, element: element)
  }
}

extension Element {
  /// Sets a variable from the text of a key, where it is there and understood.
  fileprivate func read<Value>(_ key: String, _ parse: (String) -> Value?, _ value: inout Value) {
    if let parsed = self[key]?.text.flatMap(parse) { value = parsed }
  }
}
