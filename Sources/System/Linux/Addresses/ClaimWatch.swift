import CLinux
import Glibc
import Wire

/// That somebody says of an address that it is at that MAC: an ARP message with it as the sender, an advertisement of it, a solicitation
/// from it, or a probe of somebody who is about to use it.
struct Claim: Sendable, Hashable {
  var address: IPAddress
  var mac: MACAddress

  /// What a frame claims; nil where it claims nothing, or makes no sense.
  init?(frame: UnsafeRawBufferPointer) {
    let bytes = frame.bytes
    guard let ethernet = try? EthernetHeader(parsing: bytes), ethernet.length <= frame.count else { return nil }
    let rest = UnsafeRawBufferPointer(rebasing: frame[ethernet.length...])
    switch ethernet.type {
    case .arp:
      guard let message = try? ARP(parsing: rest.bytes), message.senderAddress != .any else { return nil }
      self.init(address: .v4(message.senderAddress), mac: message.senderMAC)
    case .ipv6:
      guard let (header, payload) = try? IPv6Header.parse(rest.bytes), header.nextHeader == ICMPv6.ipProtocol else {
        return nil
      }
      self.init(UnsafeRawBufferPointer(rebasing: rest[payload]), header, from: ethernet.source)
    default: return nil
    }
  }

  private init?(_ message: UnsafeRawBufferPointer, _ header: IPv6Header, from sender: MACAddress) {
    if let advertisement = try? NeighborAdvertisement(parsing: message.bytes, in: header) {
      self.init(address: .v6(advertisement.target), mac: advertisement.targetLinkLayer ?? sender)
    } else if let solicitation = try? NeighborSolicitation(parsing: message.bytes, in: header) {
      let address = NeighborSolicitation.isProbe(header) ? solicitation.target : header.source
      self.init(address: .v6(address), mac: solicitation.sourceLinkLayer ?? sender)
    } else {
      return nil
    }
  }

  private init(address: IPAddress, mac: MACAddress) {
    self.address = address
    self.mac = mac
  }
}

/// Hears who else claims the VIPs: a packet socket an interface and protocol, each with a filter that only lets messages about them
/// through. It belongs to one thread.
final class ClaimWatch {
  private struct Key: Hashable {
    var index: Int32
    var family: AddressFamily
  }

  private let poller: Descriptor
  private var sockets: [Key: Socket] = [:]
  private var addresses: [IPAddress] = []
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 512, alignment: 8)

  /// Readable when somebody claims something.
  var descriptor: Int32 { poller.rawValue }

  init() throws(SystemError) {
    poller = Descriptor(owning: try SystemError.check("epoll_create1") { epoll_create1(Int32(EPOLL_CLOEXEC)) })
  }

  deinit { buffer.deallocate() }

  /// Listens for these addresses on these interfaces from now on.
  func follow(_ addresses: [IPAddress], on indices: Set<Int32>) throws(SystemError) {
    if addresses != self.addresses {
      // The filters hold the addresses.
      sockets = [:]
      self.addresses = addresses
    }
    var (v4, v6): ([IPv4Address], [IPv6Address]) = ([], [])
    for address in addresses {
      switch address {
      case .v4(let address): v4.append(address)
      case .v6(let address): v6.append(address)
      }
    }
    sockets = sockets.filter { indices.contains($0.key.index) }
    for index in indices {
      if !v4.isEmpty { try listen(Key(index: index, family: .ipv4), .arp) { ClaimFilter.arp(v4) } }
      if !v6.isEmpty { try listen(Key(index: index, family: .ipv6), .ipv6) { ClaimFilter.neighbourDiscovery(v6) } }
    }
  }

  private func listen(_ key: Key, _ type: EtherType, _ filter: () -> [sock_filter]) throws(SystemError) {
    guard sockets[key] == nil else { return }
    // Protocol 0 receives nothing until the filter is there.
    let socket = Socket(try Descriptor.socket(AF_PACKET, SOCK_RAW, about: "packet"))
    let number = socket.number
    socket.descriptor.setReceiveBuffer(bytes: 256 << 10)
    let program = filter()
    try SystemError.check("setsockopt SO_ATTACH_FILTER", "ARP and neighbour discovery") {
      clinux_packet_filter(number, program, UInt16(clamping: program.count))
    }
    let bound = clinux_packet_bind(number, key.index, type.rawValue)
    // An interface that is gone again is followed when it is back.
    if bound != 0, errno == ENODEV || errno == ENXIO { return }
    guard bound == 0 else { throw .last("bind", "packet socket") }
    let epoll = poller.rawValue
    try SystemError.check("epoll_ctl", "packet socket") {
      clinux_epoll_control(epoll, EPOLL_CTL_ADD, number, EPOLLIN.rawValue, UInt64(number))
    }
    sockets[key] = socket
  }

  /// So that no flood keeps the thread from renewing what is held.
  private static let mostAtOnce = 64

  /// Hands over what waits, but not more than so much; there may be more then.
  func read(_ body: (Claim, Int32) -> Void) {
    for (_, socket) in sockets {
      for _ in 0..<Self.mostAtOnce {
        var index: Int32 = 0
        var isOutgoing: Int32 = 0
        let count = clinux_packet_receive(socket.number, buffer.baseAddress, buffer.count, &index, &isOutgoing)
        // Nothing waits; or the interface went down, which is told elsewhere.
        if count < 0 { break }
        guard isOutgoing == 0 else { continue }
        let frame = UnsafeRawBufferPointer(rebasing: buffer[..<min(count, buffer.count)])
        if let claim = Claim(frame: frame) { body(claim, index) }
      }
    }
  }

  /// A place for a noncopyable value in a dictionary.
  private final class Socket {
    let descriptor: Descriptor
    var number: Int32 { descriptor.rawValue }
    init(_ descriptor: consuming Descriptor) { self.descriptor = descriptor }
  }
}
