import Basis
import Health
import VRRP
import Wire

// Events as bytes.

extension Event {
  enum Kind: UInt8 {
    case start = 1, stop, timer, advert, link, address, check, workers, connectionsClosed
    case track, witness, peer, command, settings, prepared, resume
  }

  var kind: Kind {
    switch self {
    case .start: .start
    case .stop: .stop
    case .timer: .timer
    case .advert: .advert
    case .link: .link
    case .address: .address
    case .check: .check
    case .workers: .workers
    case .connectionsClosed: .connectionsClosed
    case .track: .track
    case .witness: .witness
    case .peer: .peer
    case .command: .command
    case .settings: .settings
    case .prepared: .prepared
    case .resume: .resume
    }
  }

  /// At most this long as bytes, with what stands before it: texts, and numbers of ten bytes at most. Nil: any length.
  var mostBytes: Int? {
    switch self {
    case .settings, .resume: nil
    case .track(_, .bad(let text)), .track(_, .unknown(let text)): 128 + text.utf8.count
    case .peer(_, .said(let message)): 128 + message.mostBytes
    case .link(let interface, _): 128 + interface.utf8.count
    case .check(_, _, _, let result): 128 + result.message.utf8.count
    default: 128
    }
  }

  /// All but the kind. Adverts are written by `RecordingWriter` without a copy.
  func encode(into bytes: inout [UInt8]) {
    switch self {
    case .start, .stop, .timer, .advert: break
    case .track(let tracker, let report):
      BytesOut.number(tracker, &bytes)
      report.encode(into: &bytes)
    case .witness(let vip, let round):
      BytesOut.number(vip, &bytes)
      BytesOut.number(round, &bytes)
    case .peer(let peer, let report):
      BytesOut.number(peer, &bytes)
      report.encode(into: &bytes)
    case .command(let command, let ticket):
      command.encode(into: &bytes)
      BytesOut.number(ticket, &bytes)
    case .settings(let settings): settings.encode(into: &bytes)
    case .resume(let resumption): resumption.encode(into: &bytes)
    case .prepared(let vip, let generation, let succeeded):
      BytesOut.number(vip, &bytes)
      BytesOut.number(generation, &bytes)
      BytesOut.flag(succeeded, &bytes)
    case .link(let interface, let state):
      BytesOut.text(interface, &bytes)
      bytes.append(
        (state.isUp ? 1 : 0) | (state.ipv4 != nil ? 2 : 0) | (state.linkLocal != nil ? 4 : 0)
          | (state.unicastIPv4 != nil ? 8 : 0) | (state.unicastIPv6 != nil ? 16 : 0) | (state.canAdvertise ? 0 : 32)
          | (state.hasReceived ? 0 : 64))
      if let address = state.ipv4 { BytesOut.fixed(UInt64(address.rawValue), 4, &bytes) }
      if let address = state.linkLocal { address.encode(into: &bytes) }
      if let address = state.unicastIPv4 { BytesOut.fixed(UInt64(address.rawValue), 4, &bytes) }
      if let address = state.unicastIPv6 { address.encode(into: &bytes) }
    case .address(let vip, let report):
      BytesOut.number(vip, &bytes)
      report.encode(into: &bytes)
    case .check(let service, let backend, let probe, let result):
      BytesOut.number(service, &bytes)
      BytesOut.number(backend, &bytes)
      BytesOut.number(probe, &bytes)
      bytes.append(result.verdict == .passed ? 0 : result.verdict == .failed ? 1 : 2)
      BytesOut.duration(result.latency, &bytes)
      BytesOut.text(result.message, &bytes)
    case .workers(let healthy): BytesOut.flag(healthy, &bytes)
    case .connectionsClosed(let vip, let generation):
      BytesOut.number(vip, &bytes)
      BytesOut.number(generation, &bytes)
    }
  }

  init(_ kind: Kind, from bytes: inout BytesIn) throws(RecordingError) {
    switch kind {
    case .start: self = .start
    case .stop: self = .stop
    case .timer: self = .timer
    case .advert:
      let envelope = try Envelope(from: &bytes)
      let count = try bytes.count()
      self = .advert(envelope, Array(try bytes.take(count)))
    case .link:
      let interface = try bytes.text()
      let flags = try bytes.byte()
      guard flags < 128 else { throw bytes.malformed("no state of a link") }
      var state = LinkState(isUp: flags & 1 != 0, ipv4: nil, linkLocal: nil)
      if flags & 2 != 0 { state.ipv4 = IPv4Address(rawValue: UInt32(truncatingIfNeeded: try bytes.fixed(4))) }
      if flags & 4 != 0 { state.linkLocal = try IPv6Address(from: &bytes) }
      if flags & 8 != 0 { state.unicastIPv4 = IPv4Address(rawValue: UInt32(truncatingIfNeeded: try bytes.fixed(4))) }
      if flags & 16 != 0 { state.unicastIPv6 = try IPv6Address(from: &bytes) }
      state.canAdvertise = flags & 32 == 0
      state.hasReceived = flags & 64 == 0
      self = .link(interface: interface, state)
    case .address:
      let vip = try bytes.index()
      self = .address(vip: vip, try AddressReport(from: &bytes))
    case .check:
      let service = try bytes.index()
      let backend = try bytes.index()
      let probe = try bytes.number()
      let verdict: CheckResult.Verdict
      switch try bytes.byte() {
      case 0: verdict = .passed
      case 1: verdict = .failed
      case 2: verdict = .unknown
      default: throw bytes.malformed("no verdict")
      }
      let latency = try bytes.duration()
      self = .check(
        service: service, backend: backend, probe: probe,
        CheckResult(verdict, latency: latency, message: try bytes.text()))
    case .workers: self = .workers(healthy: try bytes.flag())
    case .connectionsClosed:
      let vip = try bytes.index()
      self = .connectionsClosed(vip: vip, generation: try bytes.number())
    case .track:
      let tracker = try bytes.index()
      self = .track(tracker: tracker, try TrackReport(from: &bytes))
    case .witness:
      let vip = try bytes.index()
      self = .witness(vip: vip, round: try bytes.number())
    case .peer:
      let peer = try bytes.index()
      self = .peer(peer, try PeerReport(from: &bytes))
    case .command:
      let command = try Command(from: &bytes)
      self = .command(command, ticket: try bytes.number())
    case .settings: self = .settings(try NodeSettings(from: &bytes))
    case .resume: self = .resume(try Resumption(from: &bytes))
    case .prepared:
      let vip = try bytes.index()
      let generation = try bytes.number()
      self = .prepared(vip: vip, generation: generation, succeeded: try bytes.flag())
    }
  }
}

extension Envelope {
  func encode(into bytes: inout [UInt8]) {
    BytesOut.text(interface, &bytes)
    source.encode(into: &bytes)
    destination.encode(into: &bytes)
    bytes.append(hopLimit)
  }

  init(from bytes: inout BytesIn) throws(RecordingError) {
    let interface = try bytes.text()
    let source = try IPAddress(from: &bytes)
    let destination = try IPAddress(from: &bytes)
    self.init(interface: interface, source: source, destination: destination, hopLimit: try bytes.byte())
  }
}

extension AddressReport {
  func encode(into bytes: inout [UInt8]) {
    func head(_ kind: UInt8, _ generation: UInt64) {
      bytes.append(kind)
      BytesOut.number(generation, &bytes)
    }
    func until(_ until: Instant?) {
      BytesOut.flag(until != nil, &bytes)
      if let until { BytesOut.signed(until.nanoseconds, &bytes) }
    }
    switch self {
    case .added(let generation, let time):
      head(0, generation)
      until(time)
    case .renewed(let generation, let time):
      head(1, generation)
      until(time)
    case .removed(let generation): head(2, generation)
    case .failed(let generation, let code):
      head(3, generation)
      BytesOut.signed(Int64(code), &bytes)
    case .vanished(let generation): head(4, generation)
    case .putBack(let generation): head(5, generation)
    case .revoked(let generation): head(6, generation)
    case .claimed(let address, let mac):
      bytes.append(7)
      address.encode(into: &bytes)
      BytesOut.fixed(mac.rawValue, 6, &bytes)
    case .duplicate(let address):
      bytes.append(8)
      address.encode(into: &bytes)
    }
  }

  init(from bytes: inout BytesIn) throws(RecordingError) {
    let kind = try bytes.byte()
    let generation = kind < 7 ? try bytes.number() : 0
    switch kind {
    case 0: self = .added(generation: generation, until: try bytes.instant())
    case 1: self = .renewed(generation: generation, until: try bytes.instant())
    case 2: self = .removed(generation: generation)
    case 3:
      guard let code = Int32(exactly: try bytes.signed()) else { throw bytes.malformed("no error number") }
      self = .failed(generation: generation, code: code)
    case 4: self = .vanished(generation: generation)
    case 5: self = .putBack(generation: generation)
    case 6: self = .revoked(generation: generation)
    case 7:
      let address = try IPAddress(from: &bytes)
      self = .claimed(address, by: MACAddress(rawValue: try bytes.fixed(6)))
    case 8: self = .duplicate(try IPAddress(from: &bytes))
    default: throw bytes.malformed("no report about an address")
    }
  }
}

extension BytesIn {
  mutating func instant() throws(RecordingError) -> Instant? {
    guard try flag() else { return nil }
    let time = try signed()
    guard Recording.times.contains(time) else { throw malformed("a time out of all range") }
    return Instant(nanoseconds: time)
  }
}
