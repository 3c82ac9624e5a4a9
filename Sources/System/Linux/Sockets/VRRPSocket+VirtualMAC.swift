import CLinux
import Glibc
import Wire

/// Adverts with a virtual router's MAC as their source (RFC 9568 §7.2), from which switches learn where it is.
///
/// They are whole frames, sent through the interface itself. So they can leave before the device of the virtual MAC is up, as the
/// first advert of a new owner does, and after it is down, as the last one does.
final class VirtualMACSender {
  private let socket: Descriptor
  private let index: Int32
  /// Used again, so that sending allocates nothing.
  private var frame: [UInt8] = []

  init(index: Int32) throws(SystemError) {
    self.index = index
    // Protocol 0: it receives nothing.
    socket = try Descriptor.socket(AF_PACKET, SOCK_RAW, about: "packet")
    frame.reserveCapacity(14 + IPv6Header.length + 1500)
  }

  /// - Returns: false where this is no frame for it: not multicast, or longer than the interface takes.
  func send(
    _ message: [UInt8], to destination: IPAddress, from source: IPAddress, mac: MACAddress, service: UInt8
  ) throws(SystemError) -> Bool {
    frame.removeAll(keepingCapacity: true)
    switch (destination, source) {
    case (.v4(let destination), .v4(let source)) where destination.isMulticast:
      EthernetHeader(destination: MACAddress(multicast: destination), source: mac, type: .ipv4).append(to: &frame)
      var header = IPv4Header(source: source, destination: destination, protocol: 112, timeToLive: 255)
      header.service = service
      header.append(to: &frame, payloadLength: message.count)
    case (.v6(let destination), .v6(let source)) where destination.isMulticast:
      EthernetHeader(destination: MACAddress(multicast: destination), source: mac, type: .ipv6).append(to: &frame)
      var header = IPv6Header(source: source, destination: destination, nextHeader: 112, hopLimit: 255)
      header.trafficClass = service
      header.append(to: &frame, payloadLength: message.count)
    default: return false
    }
    frame += message
    let sent = frame.withUnsafeBytes { clinux_packet_send(socket.rawValue, $0.baseAddress, $0.count, index) }
    if sent >= 0 { return true }
    // The kernel cuts what it sends itself into fragments.
    if errno == EMSGSIZE { return false }
    throw .last("sendto", "VRRP from \(source) at \(mac)")
  }
}
