import Basis
import Wire

/// What daemon and guardian say to one another: each a datagram of a SOCK_SEQPACKET pair, at most `longest` bytes. Both are the same
/// binary, so numbers are in the host's byte order; what can't be read is an error all the same.
enum GuardianMessage: Sendable, Hashable {
  /// Begins anew what is known of a VIP. `farewell` follows for each of its farewells, then `commit`.
  case charge(vip: Int, Charge)
  case farewell(vip: Int, Charge.Farewell)
  case commit(vip: Int)
  case drop(vip: Int)
  /// A descriptor of the socket that adverts are sent with on that interface comes along.
  case socket(Route)
  case dropSocket(Route)
  /// The daemon ends in order.
  case goodbye
  /// The guardian watches.
  case ready
  case released(Release)
  /// The loop used that much processor time without a pause, and has lost its real-time priority.
  case demoted(Duration)
  case trouble(String)

  /// Which socket adverts go through.
  struct Route: Sendable, Hashable {
    var interface: Int32
    var family: AddressFamily
  }

  static let longest = 8192
}

/// How VIPs were given up in the daemon's place.
public struct Release: Sendable, Hashable {
  public enum Cause: UInt8, Sendable, Hashable {
    /// The daemon is dead.
    case death = 1
    /// Its loop was silent.
    case silence = 2
    /// The proxy's workers were.
    case workers = 3
  }

  public var cause: Cause
  /// How many VIPs were owned.
  public var vips: Int
  /// How many more were not owned any more, but perhaps still there: the loop had ended the ownership, and the addresses were not yet
  /// removed.
  public var leftovers: Int
  /// Since when nothing was heard.
  public var silence: Duration
  /// From the moment that was noticed until the last farewell was sent.
  public var farewell: Duration
  /// From that moment until the last address was gone; nil where that was not waited for.
  public var erased: Duration?
}

extension Release: CustomStringConvertible {
  public var description: String {
    let why =
      switch cause {
      case .death: "the daemon is dead"
      case .silence: "the loop was silent for \(silence.words)"
      case .workers: "the proxy's workers were silent for \(silence.words)"
      }
    let gone = erased.map { ", the addresses were gone after \($0.words)" } ?? ""
    func count(_ number: Int) -> String { "\(number) \(number == 1 ? "VIP" : "VIPs")" }
    if vips == 0 { return "removed what was left of \(count(leftovers)) because \(why)\(gone)" }
    let rest = leftovers == 0 ? "" : ", and what was left of \(leftovers) more"
    return "gave up \(count(vips))\(rest) because \(why): farewells after \(farewell.words)\(gone)"
  }
}

struct MalformedMessage: Error {}

extension GuardianMessage {
  private enum Kind: UInt8 {
    case charge = 1, farewell, commit, drop, socket, dropSocket, goodbye
    case ready = 128, released, demoted, trouble
  }

  var bytes: [UInt8] {
    var writer = Writer()
    switch self {
    case .charge(let vip, let charge):
      writer.begin(.charge, vip)
      writer.append(charge.interval?.nanoseconds ?? 0)
      writer.append(UInt8(charge.hasServices ? 1 : 0))
      writer.append(charge.interface)
      writer.append(charge.devices.ipv4)
      writer.append(charge.devices.ipv6)
      writer.append(UInt16(clamping: charge.addresses.count))
      for address in charge.addresses { writer.append(address) }
      writer.append(charge.key?.id ?? 0)
      writer.append(charge.key?.bytes ?? [])
    case .farewell(let vip, let farewell):
      writer.begin(.farewell, vip)
      writer.append(farewell.interface)
      writer.append(farewell.source)
      writer.append(farewell.destination)
      writer.append(farewell.message)
    case .commit(let vip): writer.begin(.commit, vip)
    case .drop(let vip): writer.begin(.drop, vip)
    case .socket(let route): writer.begin(.socket, route)
    case .dropSocket(let route): writer.begin(.dropSocket, route)
    case .goodbye: writer.begin(.goodbye, 0)
    case .ready: writer.begin(.ready, 0)
    case .released(let release):
      writer.begin(.released, release.vips)
      writer.append(release.cause.rawValue)
      writer.append(UInt32(clamping: release.leftovers))
      for duration in [release.silence, release.farewell, release.erased ?? .nanoseconds(-1)] {
        writer.append(duration.nanoseconds)
      }
    case .demoted(let burnt):
      writer.begin(.demoted, 0)
      writer.append(burnt.nanoseconds)
    case .trouble(let text):
      writer.begin(.trouble, 0)
      writer.append(Array(text.utf8.prefix(1024)))
    }
    return writer.bytes
  }

  init(_ bytes: UnsafeRawBufferPointer) throws(MalformedMessage) {
    var reader = Reader(rest: bytes[...])
    guard let kind = Kind(rawValue: try reader.number()) else { throw MalformedMessage() }
    let number = Int(try reader.number() as UInt32)
    switch kind {
    case .charge:
      let nanoseconds: Int64 = try reader.number()
      let hasServices: UInt8 = try reader.number()
      let interface: Int32 = try reader.number()
      let devices = Charge.Devices(ipv4: try reader.number(), ipv6: try reader.number())
      let count: UInt16 = try reader.number()
      var addresses: [IPAddress] = []
      for _ in 0..<count { addresses.append(try reader.address()) }
      let id: UInt8 = try reader.number()
      let key = try reader.list()
      self = .charge(
        vip: number,
        Charge(
          interval: nanoseconds > 0 ? .nanoseconds(nanoseconds) : nil, hasServices: hasServices != 0,
          addresses: addresses, interface: interface, devices: devices, farewells: [],
          key: key.isEmpty ? nil : .init(id: id, bytes: key))
      )
    case .farewell:
      let interface: Int32 = try reader.number()
      let (source, destination) = (try reader.address(), try reader.address())
      let message = try reader.list()
      self = .farewell(
        vip: number, .init(interface: interface, source: source, destination: destination, message: message))
    case .commit: self = .commit(vip: number)
    case .drop: self = .drop(vip: number)
    case .socket: self = .socket(try reader.route(Int32(truncatingIfNeeded: number)))
    case .dropSocket: self = .dropSocket(try reader.route(Int32(truncatingIfNeeded: number)))
    case .goodbye: self = .goodbye
    case .ready: self = .ready
    case .released:
      guard let cause = Release.Cause(rawValue: try reader.number()) else { throw MalformedMessage() }
      let leftovers: UInt32 = try reader.number()
      let (silence, farewell, erased) = (try reader.duration(), try reader.duration(), try reader.duration())
      self = .released(
        Release(
          cause: cause, vips: number, leftovers: Int(leftovers), silence: silence, farewell: farewell,
          erased: erased < .zero ? nil : erased))
    case .demoted: self = .demoted(try reader.duration())
    case .trouble: self = .trouble(String(decoding: try reader.list(), as: UTF8.self))
    }
  }

  private struct Writer {
    var bytes: [UInt8] = []

    mutating func begin(_ kind: Kind, _ number: Int) {
      append(kind.rawValue)
      append(UInt32(clamping: number))
    }

    mutating func begin(_ kind: Kind, _ route: Route) {
      append(kind.rawValue)
      append(UInt32(bitPattern: route.interface))
      append(UInt8(route.family == .ipv4 ? 4 : 6))
    }

    mutating func append(_ number: some FixedWidthInteger & BitwiseCopyable) {
      withUnsafeBytes(of: number) { bytes.append(contentsOf: $0) }
    }

    mutating func append(_ list: [UInt8]) {
      append(UInt16(clamping: list.count))
      bytes += list.prefix(Int(UInt16.max))
    }

    mutating func append(_ address: IPAddress) {
      switch address {
      case .v4(let v4):
        append(4 as UInt8)
        append(v4.rawValue)
      case .v6(let v6):
        append(6 as UInt8)
        append(v6.rawValue)
      }
    }
  }

  private struct Reader {
    var rest: Slice<UnsafeRawBufferPointer>

    mutating func take(_ count: Int) throws(MalformedMessage) -> UnsafeRawBufferPointer {
      guard count <= rest.count else { throw MalformedMessage() }
      defer { rest = rest.dropFirst(count) }
      return UnsafeRawBufferPointer(rebasing: rest.prefix(count))
    }

    mutating func number<Number: FixedWidthInteger & BitwiseCopyable>() throws(MalformedMessage) -> Number {
      try take(MemoryLayout<Number>.size).loadUnaligned(as: Number.self)
    }

    mutating func duration() throws(MalformedMessage) -> Duration { .nanoseconds(try number() as Int64) }

    mutating func list() throws(MalformedMessage) -> [UInt8] {
      let count: UInt16 = try number()
      return Array(try take(Int(count)))
    }

    mutating func family() throws(MalformedMessage) -> AddressFamily {
      switch try number() as UInt8 {
      case 4: .ipv4
      case 6: .ipv6
      default: throw MalformedMessage()
      }
    }

    mutating func route(_ interface: Int32) throws(MalformedMessage) -> Route {
      Route(interface: interface, family: try family())
    }

    mutating func address() throws(MalformedMessage) -> IPAddress {
      switch try family() {
      case .ipv4: .v4(IPv4Address(rawValue: try number()))
      case .ipv6: .v6(IPv6Address(rawValue: try number()))
      }
    }
  }
}
