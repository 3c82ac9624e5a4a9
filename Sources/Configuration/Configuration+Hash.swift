import Basis
import Wire

extension Configuration {
  /// Sixteen hexadecimal digits that two nodes have in common where their configurations mean the same, however they are
  /// written. For noticing a difference, not for trusting: it is FNV-1a, which anybody can forge.
  public var hash: String {
    var canonical = Canonical()
    canonical.add(cluster.secrets) { $0.add($1) }
    canonical.add(cluster.port)
    canonical.add(cluster.witnesses) { $0.add($1.description) }
    canonical.add(cluster.realtime ? 1 : 0)
    canonical.add(cluster.nodes) { canonical, node in
      canonical.add(node.name)
      canonical.add(node.addresses) { $0.add($1.description) }
    }
    canonical.add(vips) { $0.add($1) }
    canonical.add(services) { $0.add($1) }
    canonical.add(trackers) { $0.add($1) }
    canonical.add(groups) { canonical, group in
      canonical.add(group.name)
      canonical.add(group.vips) { $0.add($1) }
    }
    canonical.add(notifications) { $0.add($1) }
    let digits = String(canonical.state, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}

/// Folds values into a number, so that different sequences of values give different sequences of bytes: each text is
/// preceded by its length, each list by its count.
private struct Canonical {
  /// FNV-1a, 64 bits: the offset basis and prime are those of draft-eastlake-fnv.
  private(set) var state: UInt64 = 0xCBF2_9CE4_8422_2325

  private mutating func fold(_ byte: UInt8) { state = (state ^ UInt64(byte)) &* 0x100_0000_01B3 }

  mutating func add(_ number: some BinaryInteger) {
    let bits = UInt64(truncatingIfNeeded: number)
    for shift in stride(from: 0, to: 64, by: 8) { fold(UInt8(truncatingIfNeeded: bits >> UInt64(shift))) }
  }

  mutating func add(_ text: String) {
    add(text.utf8.count)
    for byte in text.utf8 { fold(byte) }
  }

  mutating func add(_ text: String?) {
    add(text == nil ? 0 : 1)
    if let text { add(text) }
  }

  mutating func add<Value>(_ list: [Value], _ each: (inout Canonical, Value) -> Void) {
    add(list.count)
    for value in list { each(&self, value) }
  }

  mutating func add(_ vip: Configuration.VIP) {
    add(vip.name)
    add(vip.addresses) { $0.add($1.description) }
    add(vip.interface)
    add(vip.prefer) { $0.add($1) }
    add(vip.lease.map { "\($0.nanoseconds)" })
    add(vip.drain.nanoseconds)
    add(vip.warmUp.nanoseconds)
    add(vip.refresh.map { "\($0.nanoseconds)" })
    add(vip.beforeAnnouncing.map { [$0] } ?? []) { canonical, hook in
      canonical.add(hook.command) { $0.add($1) }
      canonical.add(hook.timeout.nanoseconds)
    }
    add(vip.tracks) { canonical, track in
      canonical.add(track.tracker)
      switch track.consequence {
      case .forbid: canonical.add(0)
      case .lower(let amount): canonical.add(amount)
      }
    }
    switch vip.election {
    case .static: add("static")
    case .vrrp(let router):
      add("vrrp")
      add(router)
    }
  }

  private mutating func add(_ interface: Configuration.Interface) {
    switch interface {
    case .inferred: add("inferred")
    case .named(let name):
      add("named")
      add(name)
    case .perNode(let choices):
      add("per node")
      add(choices) { canonical, choice in
        canonical.add(choice.node)
        canonical.add(choice.interface)
      }
    }
  }

  private mutating func add(_ router: Configuration.Router) {
    add(router.id)
    add(router.interval.nanoseconds)
    add(router.version.rawValue)
    add(router.preempt ? 1 : 0)
    add(router.preemptDelay.nanoseconds)
    add(router.peers.rawValue)
    add(router.family == .ipv4 ? 4 : 6)
    add(router.accept ? 1 : 0)
    add(router.checksum.rawValue)
    add(router.authentication.mode.rawValue)
    add(router.authentication.keys) { canonical, key in
      canonical.add(key.id)
      canonical.add(key.file)
    }
    add(router.virtualMAC ? 1 : 0)
  }

  mutating func add(_ service: Configuration.Service) {
    add(service.name)
    add(service.vip)
    add(service.listen) { $0.add($1.description) }
    add(service.mode.rawValue)
    add(service.balance.rawValue)
    add(service.check.map { [$0] } ?? []) { $0.add($1) }
    add(service.backends) { canonical, backend in
      canonical.add(backend.name)
      canonical.add(backend.address.description)
      canonical.add(backend.port ?? 0)
      canonical.add(backend.weight)
    }
    add(service.limits.maximumConnections)
    add(service.limits.connectTimeout.nanoseconds)
    add(service.limits.idleTimeout.nanoseconds)
    add(service.limits.retries)
  }

  mutating func add(_ tracker: Configuration.Tracker) {
    add(tracker.name)
    switch tracker.source {
    case .interface(let interface):
      add("interface")
      add(interface)
    case .route(let prefix, let table):
      add("route")
      add(prefix.address.description)
      add(prefix.length)
      add(table ?? 0)
    case .file(let path):
      add("file")
      add(path)
    case .process(let name):
      add("process")
      add(name)
    case .command(let command, let user):
      add("command")
      add(command) { $0.add($1) }
      add(user)
    case .vip(let name):
      add("vip")
      add(name)
    case .service(let name, let count):
      add("service")
      add(name)
      add(count)
    case .check(let probe, let address, let port):
      add("check")
      add(probe)
      add(address.description)
      add(port)
    }
    add(tracker.every.nanoseconds)
    add(tracker.timeout.nanoseconds)
    add(tracker.rise)
    add(tracker.fall)
  }

  mutating func add(_ notification: Configuration.Notification) {
    add(notification.name)
    switch notification.action {
    case .command(let command):
      add("command")
      add(command) { $0.add($1) }
    case .webhook(let url, let authorization):
      add("webhook")
      add(url.description)
      add(authorization)
    }
    add(notification.kinds) { $0.add($1.rawValue) }
    add(notification.timeout.nanoseconds)
  }

  private mutating func add(_ probe: Configuration.Probe) {
    switch probe {
    case .tcp: add("tcp")
    case .http(let http):
      add("http")
      add(http.path)
      add(http.host)
      add(http.status) { canonical, range in
        canonical.add(range.lowerBound)
        canonical.add(range.upperBound)
      }
      add(http.contains)
    }
  }

  private mutating func add(_ check: Configuration.Check) {
    add(check.probe)
    add(check.every.nanoseconds)
    add(check.timeout.nanoseconds)
    add(check.rise)
    add(check.fall)
    add(check.port ?? 0)
  }
}
