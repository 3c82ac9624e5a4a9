import Basis
import Wire

extension Configuration {
  /// Sixteen hexadecimal digits that two nodes have in common where their configurations mean the same, however they are
  /// written. For noticing a difference, not for trusting: it is FNV-1a, which anybody can forge.
  public var hash: String {
    var canonical = Canonical()
    canonical.add(cluster.secrets) { $0.add($1) }
    canonical.add(cluster.nodes) { canonical, node in
      canonical.add(node.name)
      canonical.add(node.addresses) { $0.add($1.description) }
    }
    canonical.add(vips) { $0.add($1) }
    canonical.add(services) { $0.add($1) }
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
    switch vip.interface {
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
    add(vip.prefer) { $0.add($1) }
    add(vip.lease.map { "\($0.nanoseconds)" })
    add(vip.drain.nanoseconds)
    switch vip.election {
    case .static: add("static")
    case .vrrp(let router):
      add("vrrp")
      add(router)
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

  private mutating func add(_ check: Configuration.Check) {
    switch check.probe {
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
    add(check.every.nanoseconds)
    add(check.timeout.nanoseconds)
    add(check.rise)
    add(check.fall)
    add(check.port ?? 0)
  }
}
