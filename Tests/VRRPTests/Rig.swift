import Basis
import VRRP
import Wire

let node11 = IPAddress.v4(IPv4Address(10, 0, 0, 11))
let node12 = IPAddress.v4(IPv4Address(10, 0, 0, 12))
let node13 = IPAddress.v4(IPv4Address(10, 0, 0, 13))
let vip = IPAddress.v4(IPv4Address(10, 0, 0, 100))
let group = IPAddress.v4(.vrrpGroup)

func v6(_ text: String) -> IPAddress { .v6(IPv6Address(text)!) }

/// A router with its clock, and a peer's voice.
///
/// The router is 10.0.0.12 with priority 200 and adverts every 100 ms, unless a test says otherwise.
/// It waits 3 × 100 ms + 56/256 × 100 ms = 321.875 ms for an owner.
struct Rig {
  var router: VirtualRouter
  var now = Instant(nanoseconds: 1_000_000_000_000)
  let local: IPAddress

  init(
    priority: UInt8 = 200, interval: Duration = .milliseconds(100), version: Version = .v3, preempt: Bool = true,
    preemptDelay: Duration = .zero, addresses: [IPAddress] = [vip], peers: Peers = .multicast,
    checksum: ChecksumCoverage = .pseudoHeader, local: IPAddress = node12
  ) {
    self.local = local
    router = VirtualRouter(
      Settings(
        id: 51, version: version, family: local.family, priority: priority, interval: interval, preempt: preempt,
        preemptDelay: preemptDelay, addresses: addresses, peers: peers, checksum: checksum))
  }

  /// Started, and backup.
  static func backup(
    priority: UInt8 = 200, preempt: Bool = true, preemptDelay: Duration = .zero, version: Version = .v3,
    interval: Duration = .milliseconds(100), checksum: ChecksumCoverage = .pseudoHeader
  ) -> Rig {
    var rig = Rig(
      priority: priority, interval: interval, version: version, preempt: preempt, preemptDelay: preemptDelay,
      checksum: checksum)
    _ = rig.handle(.startup(local: rig.local))
    return rig
  }

  /// Started, heard nobody, and became active. The time is that moment.
  static func active(priority: UInt8 = 200, preempt: Bool = true, preemptDelay: Duration = .zero) -> Rig {
    var rig = backup(priority: priority, preempt: preempt, preemptDelay: preemptDelay)
    _ = rig.runToDeadline()
    return rig
  }

  mutating func handle(_ input: VirtualRouter.Input) -> [VirtualRouter.Output] {
    var outputs: [VirtualRouter.Output] = []
    router.handle(input, at: now) { outputs.append($0) }
    return outputs
  }

  mutating func pass(_ duration: Duration) { now = now + duration }

  /// Moves the clock to the deadline, and fires it.
  mutating func runToDeadline() -> [VirtualRouter.Output] {
    now = router.deadline ?? now
    return handle(.timer)
  }

  mutating func receive(_ message: [UInt8], _ envelope: Envelope) -> [VirtualRouter.Output] {
    var outputs: [VirtualRouter.Output] = []
    router.receive(message.span.bytes, in: envelope, at: now) { outputs.append($0) }
    return outputs
  }

  /// An advert of a peer, over the group of its family.
  mutating func hear(
    _ priority: UInt8, from source: IPAddress = node11, interval: Duration? = nil, addresses: [IPAddress]? = nil,
    coverage: ChecksumCoverage = .pseudoHeader
  ) -> [VirtualRouter.Output] {
    let settings = router.settings
    let advert = Advert(
      version: settings.version, id: settings.id, priority: priority, interval: interval ?? settings.interval,
      addresses: addresses ?? settings.advertisedAddresses)
    let destination = settings.family.vrrpGroup
    return receive(
      advert.encoded(from: source, to: destination, coverage: coverage),
      Envelope(interface: "eth0", source: source, destination: destination, hopLimit: 255))
  }

  /// How long until the deadline.
  var left: Duration? { router.deadline.map { $0 - now } }
}

extension VirtualRouter.Output {
  /// The priority of a sent advert.
  var sentPriority: UInt8? {
    if case .transmit(let bytes, _) = self { bytes[2] } else { nil }
  }
}
