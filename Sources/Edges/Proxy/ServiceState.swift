import Balancing
import Basis
import CLinux
import Wire

/// What a worker is given to begin with.
struct WorkerPlan {
  /// The services to begin with, by slot.
  var editions: [Edition]
  var listeners: [Listener]
  var options: ProxyOptions
  /// Connections that it has places for.
  var capacity: Int
  /// Which of the workers it is.
  var number: Int
}

/// A listening socket of one worker.
struct Listener: Sendable {
  /// -1: an empty place.
  var descriptor: Int32
  /// The slot of the service.
  var service: Int
  var place: ProxyService.Listen
  /// Not reported by the poller until then, because the kernel was short of something.
  var pausedUntil: UInt32?
  /// The poller knows it.
  var isWatched = true
}

/// One edition of a service as one worker knows it.
struct ServiceState {
  enum Intake {
    case open
    /// SYNs are dropped; what was on its way is still served.
    case sealed
    /// Whatever still comes is reset.
    case closed
  }

  let edition: Edition
  let counters: UnsafeMutablePointer<ServiceCounters>
  let backendCounters: UnsafeMutablePointer<BackendCounters>
  var balancer: Balancer
  let backends: [clinux_endpoint]
  let needsSource: Bool
  let retries: UInt8
  /// In ticks.
  let connectTimeout: UInt32
  let idleTimeout: UInt32
  let halfClosedTimeout: UInt32
  var intake = Intake.open
  /// Connections of this worker.
  var open = 0
  /// Its listening sockets went to a later edition, or were closed.
  var hasLeft = false

  init(_ edition: Edition, slot: Int, worker: Int) {
    self.edition = edition
    let service = edition.service
    counters = edition.counters[worker].service
    backendCounters = edition.counters[worker].backends
    balancer = Balancer(
      service.policy,
      backends: service.backends.map { .init(key: stableDigest(of: $0.name), weight: $0.weight, usable: $0.usable) },
      seed: UInt64(worker + slot))
    backends = service.backends.map { clinux_endpoint($0.address, port: $0.port) }
    needsSource = service.policy == .sourceHash
    retries = UInt8(clamping: service.retries)
    connectTimeout = ServiceState.ticks(service.timeouts.connect)
    idleTimeout = ServiceState.ticks(service.timeouts.idle)
    halfClosedTimeout = ServiceState.ticks(service.timeouts.halfClosed)
  }

  /// Milliseconds, at least 1 and at most 12 days: differences of ticks have to fit 31 bits.
  static func ticks(_ duration: Duration) -> UInt32 {
    UInt32(min(max(duration.nanoseconds / 1_000_000, 1), 1 << 30))
  }
}

extension clinux_endpoint {
  init(_ address: IPAddress, port: UInt16) {
    self.init()
    switch address {
    case .v4(let v4): clinux_endpoint_v4(&self, v4.rawValue, port)
    case .v6(let v6):
      clinux_endpoint_v6(
        &self, UInt64(truncatingIfNeeded: v6.rawValue >> 64), UInt64(truncatingIfNeeded: v6.rawValue), port)
    }
  }

  var address: IPAddress {
    withUnsafePointer(to: self) { pointer in
      if clinux_endpoint_family(pointer) == AF_INET6 {
        let (high, low) = (clinux_endpoint_address_v6(pointer, 0), clinux_endpoint_address_v6(pointer, 1))
        return .v6(IPv6Address(rawValue: UInt128(high) << 64 | UInt128(low)))
      }
      return .v4(IPv4Address(rawValue: clinux_endpoint_address_v4(pointer)))
    }
  }

  var family: Int32 { withUnsafePointer(to: self) { clinux_endpoint_family($0) } }
}
