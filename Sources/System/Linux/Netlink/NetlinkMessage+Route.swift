import CLinux
import Glibc
import Wire

/// A route as RTM_NEWROUTE tells of it: of interest here are only its gateways.
struct RouteRecord: Sendable, Hashable {
  struct Hop: Sendable, Hashable {
    var index: Int32
    var gateway: IPAddress
  }

  var hops: [Hop] = []

  // rtnetlink(7).
  private static let interface: UInt16 = 4  // RTA_OIF
  private static let gateway: UInt16 = 5  // RTA_GATEWAY
  private static let multipath: UInt16 = 9  // RTA_MULTIPATH

  init?(_ payload: NetlinkBytes) {
    // rtmsg: family, two lengths, tos, table, protocol, scope, type, flags.
    guard let family = payload.load(0, as: UInt8.self), payload.count >= 12 else { return nil }
    var index: Int32?
    var address: IPAddress?
    var hops: [Hop] = []
    payload.forEachAttribute(from: 12) { attribute, value in
      switch attribute {
      case Self.interface: index = value.load(0, as: Int32.self)
      case Self.gateway: address = value.address(family: family)
      case Self.multipath: hops += Self.hops(value, family)
      default: break
      }
    }
    if let index, let address { hops.append(Hop(index: index, gateway: address)) }
    self.hops = hops
  }

  /// rtnexthop: length, flags, hops, index, and attributes; one behind the other.
  private static func hops(_ value: NetlinkBytes, _ family: UInt8) -> [Hop] {
    var hops: [Hop] = []
    var offset = 0
    while let length = value.load(offset, as: UInt16.self).map(Int.init), length >= 8,
      let hop = value.slice(offset..<offset + length), let index = hop.load(4, as: Int32.self)
    {
      hop.forEachAttribute(from: 8) { attribute, value in
        if attribute == gateway, let address = value.address(family: family) {
          hops.append(Hop(index: index, gateway: address))
        }
      }
      offset += (length + 3) & ~3
    }
    return hops
  }
}

/// A router that an interface's packets go through.
struct Gateway: Sendable, Hashable {
  var address: IPAddress
  /// Nil where the kernel has not needed it yet.
  var macAddress: MACAddress?

  /// More than any interface has.
  static let most = 8
  /// A router with the Internet's whole table would have the address thread read for seconds.
  private static let mostDatagrams = 32

  /// The gateways of the main table's routes through an interface, each once, of both families.
  static func all(on index: Int32) throws(SystemError) -> [Gateway] {
    var addresses: [IPAddress] = []
    for family in [AF_INET, AF_INET6] {
      // A socket of its own: what is left of an answer that is not read to its end goes with it.
      let socket = try NetlinkSocket()
      try socket.checkStrictly()
      try socket.routes(family, on: index, datagrams: mostDatagrams) { route in
        for hop in route.hops where hop.index == index && addresses.count < most && !addresses.contains(hop.gateway) {
          addresses.append(hop.gateway)
        }
      }
    }
    guard !addresses.isEmpty else { return [] }
    let neighbours = try NetlinkSocket().neighbours()
    return addresses.map { address in
      let known = neighbours.first { $0.index == index && $0.address == address }
      return Gateway(address: address, macAddress: known?.macAddress)
    }
  }
}

extension NetlinkSocket {
  /// RTM_GETROUTE of the main table, through one interface.
  fileprivate func routes(
    _ family: Int32, on index: Int32, datagrams: Int, _ body: (RouteRecord) -> Void
  ) throws(SystemError) {
    var batch = NetlinkBatch()
    batch.begin(
      type: clinux_rtm_getroute, flags: clinux_nlm_f_request | clinux_nlm_f_dump, sequence: nextSequence())
    batch.append(UInt8(family))
    batch.append(UInt8(0))  // length of the destination, of the source, type of service
    batch.append(UInt16(0))
    batch.append(UInt8(254))  // RT_TABLE_MAIN
    batch.append(UInt8(0))  // protocol, scope, type: any
    batch.append(UInt16(0))
    batch.append(UInt32(0))
    batch.attribute(4) { $0.append(index) }  // RTA_OIF
    batch.end()
    try read(batch, datagrams: datagrams) { message in
      if case .route(let route) = message { body(route) }
    }
  }
}
