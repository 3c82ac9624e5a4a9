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
  }

  init(from bytes: inout BytesIn) throws(RecordingError) {
    let name = try bytes.text()
    var vips: [VIPSettings] = []
    for _ in 0..<(try bytes.count()) { vips.append(try VIPSettings(from: &bytes)) }
    var services: [ServiceSettings] = []
    for _ in 0..<(try bytes.count()) {
      let service = try ServiceSettings(from: &bytes)
      guard vips.indices.contains(service.vip) else { throw bytes.malformed("a service of a VIP that doesn't exist") }
      services.append(service)
    }
    self.init(name: name, vips: vips, services: services)
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
