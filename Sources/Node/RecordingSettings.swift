import Basis
import Health
import VRRP
import Wire

// The settings of a node as bytes, so that a recording is all that a replay needs. What is read is held against the same
// limits that a configuration is: a node must not be made of values that cannot be.

extension NodeSettings {
  func encode(into bytes: inout [UInt8]) {
    BytesOut.text(name, &bytes)
    BytesOut.number(vips.count, &bytes)
    for vip in vips { vip.encode(into: &bytes) }
    BytesOut.number(services.count, &bytes)
    for service in services { service.encode(into: &bytes) }
    BytesOut.number(trackers.count, &bytes)
    for tracker in trackers { tracker.encode(into: &bytes) }
    BytesOut.number(groups.count, &bytes)
    for group in groups {
      BytesOut.number(group.count, &bytes)
      for vip in group { BytesOut.number(vip, &bytes) }
    }
    BytesOut.number(peers.count, &bytes)
    for peer in peers { BytesOut.text(peer, &bytes) }
    BytesOut.flag(hasWitnesses, &bytes)
  }

  init(from bytes: inout BytesIn) throws(RecordingError) {
    let name = try bytes.text()
    var vips: [VIPSettings] = []
    for _ in 0..<(try bytes.count()) { vips.append(try VIPSettings(from: &bytes)) }
    var services: [ServiceSettings] = []
    for _ in 0..<(try bytes.count()) {
      let service = try ServiceSettings(from: &bytes)
      guard service.isVacant || vips.indices.contains(service.vip) else {
        throw bytes.malformed("a service of a VIP that doesn't exist")
      }
      services.append(service)
    }
    self.init(name: name, vips: vips, services: services)
    try readCoordination(from: &bytes)
  }

  /// Trackers, groups and peers: each index has to lead somewhere.
  private mutating func readCoordination(from bytes: inout BytesIn) throws(RecordingError) {
    for _ in 0..<(try bytes.count()) { trackers.append(try TrackerSettings(from: &bytes)) }
    for tracker in trackers {
      switch tracker.source {
      case .external: break
      case .vip(let vip): guard vips.indices.contains(vip) else { throw bytes.malformed("a tracker of no VIP") }
      case .service(let service, _):
        guard services.indices.contains(service) else { throw bytes.malformed("a tracker of no service") }
      }
    }
    for vip in vips {
      guard vip.tracks.allSatisfy({ trackers.indices.contains($0.tracker) }) else {
        throw bytes.malformed("a VIP that tracks what doesn't exist")
      }
    }
    var isGrouped = vips.map { _ in false }
    for _ in 0..<(try bytes.count()) {
      var group: [Int] = []
      for _ in 0..<(try bytes.count()) {
        let vip = try bytes.index()
        guard vips.indices.contains(vip), !isGrouped[vip] else { throw bytes.malformed("a group of what can't be one") }
        isGrouped[vip] = true
        group.append(vip)
      }
      groups.append(group)
    }
    for _ in 0..<(try bytes.count()) { peers.append(try bytes.text()) }
    hasWitnesses = try bytes.flag()
  }
}

extension TrackerSettings {
  func encode(into bytes: inout [UInt8]) {
    BytesOut.text(name, &bytes)
    switch source {
    case .external: bytes.append(0)
    case .vip(let vip):
      bytes.append(1)
      BytesOut.number(vip, &bytes)
    case .service(let service, let least):
      bytes.append(2)
      BytesOut.number(service, &bytes)
      BytesOut.number(least, &bytes)
    }
    BytesOut.number(rise, &bytes)
    BytesOut.number(fall, &bytes)
  }

  init(from bytes: inout BytesIn) throws(RecordingError) {
    let name = try bytes.text()
    let source: Source
    switch try bytes.byte() {
    case 0: source = .external
    case 1: source = .vip(try bytes.index())
    case 2:
      let service = try bytes.index()
      source = .service(service, atLeast: try bytes.index())
    default: throw bytes.malformed("no source of a tracker")
    }
    let rise = try bytes.index()
    let fall = try bytes.index()
    guard 1...1_000_000 ~= rise, 1...1_000_000 ~= fall else { throw bytes.malformed("a tracker that can't be") }
    self.init(name: name, source: source, rise: rise, fall: fall)
  }
}

extension VIPSettings {
  func encode(into bytes: inout [UInt8]) {
    BytesOut.text(name, &bytes)
    BytesOut.text(interface, &bytes)
    addresses.encode(into: &bytes)
    switch election {
    case .vrrp(let settings):
      bytes.append(0)
      settings.encode(into: &bytes)
    case .fixed(let owner): bytes.append(owner ? 2 : 1)
    }
    BytesOut.flag(lease != nil, &bytes)
    if let lease { BytesOut.duration(lease, &bytes) }
    BytesOut.duration(drain, &bytes)
    BytesOut.duration(warmUp, &bytes)
    for time in [refresh, preparation] {
      BytesOut.flag(time != nil, &bytes)
      if let time { BytesOut.duration(time, &bytes) }
    }
    BytesOut.number(tracks.count, &bytes)
    for track in tracks {
      BytesOut.number(track.tracker, &bytes)
      if case .lower(let by) = track.consequence { bytes += [1, by] } else { bytes.append(0) }
    }
  }

  init(from bytes: inout BytesIn) throws(RecordingError) {
    let name = try bytes.text()
    let interface = try bytes.text()
    let addresses = try [IPAddress](from: &bytes)
    let election: Election
    switch try bytes.byte() {
    case 0: election = .vrrp(try VRRP.Settings(from: &bytes))
    case 1: election = .fixed(owner: false)
    case 2: election = .fixed(owner: true)
    default: throw bytes.malformed("no kind of election")
    }
    let lease = try bytes.flag() ? try bytes.duration(in: .seconds(1) ... .seconds(1 << 32)) : nil
    let drain = try bytes.duration(in: .zero ... .seconds(1 << 32))
    self.init(name: name, interface: interface, addresses: addresses, election: election, lease: lease, drain: drain)
    let longest = Duration.seconds(1 << 32)
    warmUp = try bytes.duration(in: .zero...longest)
    refresh = try bytes.flag() ? try bytes.duration(in: .zero...longest) : nil
    preparation = try bytes.flag() ? try bytes.duration(in: .zero...longest) : nil
    for _ in 0..<(try bytes.count()) {
      let tracker = try bytes.index()
      switch try bytes.byte() {
      case 0: tracks.append(Track(tracker: tracker, consequence: .forbid))
      case 1: tracks.append(Track(tracker: tracker, consequence: .lower(try bytes.byte())))
      default: throw bytes.malformed("no consequence of a tracker")
      }
    }
  }
}

extension VRRP.Settings {
  func encode(into bytes: inout [UInt8]) {
    bytes += [id, version.rawValue, family == .ipv4 ? 4 : 6, priority]
    BytesOut.duration(interval, &bytes)
    BytesOut.flag(preempt, &bytes)
    BytesOut.duration(preemptDelay, &bytes)
    BytesOut.flag(acceptMode, &bytes)
    addresses.encode(into: &bytes)
    switch peers {
    case .multicast: bytes.append(0)
    case .unicast(let addresses):
      bytes.append(1)
      addresses.encode(into: &bytes)
    }
    BytesOut.text(checksum.rawValue, &bytes)
  }

  init(from bytes: inout BytesIn) throws(RecordingError) {
    let id = try bytes.byte()
    guard let version = Version(rawValue: try bytes.byte()) else { throw bytes.malformed("no version of VRRP") }
    let family: AddressFamily
    switch try bytes.byte() {
    case 4: family = .ipv4
    case 6: family = .ipv6
    default: throw bytes.malformed("no family of addresses")
    }
    let priority = try bytes.byte()
    guard id > 0, priority > 0 else { throw bytes.malformed("a virtual router or a priority that is 0") }
    let interval = try bytes.duration(
      in: version == .v3 ? .milliseconds(10) ... .milliseconds(40950) : .seconds(1) ... .seconds(255))
    let preempt = try bytes.flag()
    let preemptDelay = try bytes.duration(in: .zero ... .seconds(1 << 32))
    let acceptMode = try bytes.flag()
    let addresses = try [IPAddress](from: &bytes)
    guard addresses.count <= 255, addresses.allSatisfy({ $0.family == family }) else {
      throw bytes.malformed("addresses that an advert can't list")
    }
    let peers: Peers
    switch try bytes.byte() {
    case 0: peers = .multicast
    case 1: peers = .unicast(try [IPAddress](from: &bytes))
    default: throw bytes.malformed("no kind of peers")
    }
    guard let checksum = ChecksumCoverage(rawValue: try bytes.text()) else {
      throw bytes.malformed("no kind of checksum")
    }
    self.init(
      id: id, version: version, family: family, priority: priority, interval: interval, preempt: preempt,
      preemptDelay: preemptDelay, acceptMode: acceptMode, addresses: addresses, peers: peers, checksum: checksum)
  }
}

extension ServiceSettings {
  func encode(into bytes: inout [UInt8]) {
    BytesOut.text(name, &bytes)
    BytesOut.number(vip, &bytes)
    BytesOut.number(backends.count, &bytes)
    for backend in backends { BytesOut.text(backend, &bytes) }
    BytesOut.flag(check != nil, &bytes)
    guard let check else { return }
    for duration in [check.interval, check.timeout, check.recheck] { BytesOut.duration(duration, &bytes) }
    BytesOut.number(check.rise, &bytes)
    BytesOut.number(check.fall, &bytes)
    BytesOut.fixed(check.jitter.bitPattern, 8, &bytes)
  }

  init(from bytes: inout BytesIn) throws(RecordingError) {
    let name = try bytes.text()
    let vip = try bytes.index()
    var backends: [String] = []
    for _ in 0..<(try bytes.count()) { backends.append(try bytes.text()) }
    self.init(name: name, vip: vip, backends: backends, check: nil)
    guard try bytes.flag() else { return }
    let range = Duration.milliseconds(1) ... .seconds(1 << 32)
    let interval = try bytes.duration(in: range)
    let timeout = try bytes.duration(in: range)
    let recheck = try bytes.duration(in: range)
    let rise = try bytes.index()
    let fall = try bytes.index()
    let jitter = Double(bitPattern: try bytes.fixed(8))
    guard 1...1_000_000 ~= rise, 1...1_000_000 ~= fall, 0...0.5 ~= jitter else {
      throw bytes.malformed("a check that can't be")
    }
    check = Health.Settings(
      interval: interval, timeout: timeout, rise: rise, fall: fall, recheck: recheck, jitter: jitter)
  }
}

extension [IPAddress] {
  func encode(into bytes: inout [UInt8]) {
    BytesOut.number(count, &bytes)
    for address in self { address.encode(into: &bytes) }
  }

  init(from bytes: inout BytesIn) throws(RecordingError) {
    self = []
    for _ in 0..<(try bytes.count()) { append(try IPAddress(from: &bytes)) }
  }
}

extension IPAddress {
  func encode(into bytes: inout [UInt8]) {
    switch self {
    case .v4(let address):
      bytes.append(4)
      BytesOut.fixed(UInt64(address.rawValue), 4, &bytes)
    case .v6(let address): address.encode(into: &bytes)
    }
  }

  init(from bytes: inout BytesIn) throws(RecordingError) {
    switch try bytes.byte() {
    case 4: self = .v4(IPv4Address(rawValue: UInt32(truncatingIfNeeded: try bytes.fixed(4))))
    case 6: self = .v6(try IPv6Address(behindFamily: &bytes))
    default: throw bytes.malformed("no family of addresses")
    }
  }
}

extension IPv6Address {
  func encode(into bytes: inout [UInt8]) {
    bytes.append(6)
    BytesOut.fixed(UInt64(truncatingIfNeeded: rawValue), 8, &bytes)
    BytesOut.fixed(UInt64(truncatingIfNeeded: rawValue >> 64), 8, &bytes)
  }

  init(from bytes: inout BytesIn) throws(RecordingError) {
    guard try bytes.byte() == 6 else { throw bytes.malformed("no IPv6 address") }
    try self.init(behindFamily: &bytes)
  }

  init(behindFamily bytes: inout BytesIn) throws(RecordingError) {
    let low = try bytes.fixed(8)
    let high = try bytes.fixed(8)
    self.init(rawValue: UInt128(high) << 64 | UInt128(low))
  }
}

extension BytesIn {
  mutating func duration(in range: ClosedRange<Duration>) throws(RecordingError) -> Duration {
    let value = try duration()
    guard range.contains(value) else { throw malformed("a length of time that can't be") }
    return value
  }
}
