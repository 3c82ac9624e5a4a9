import Basis
import CLinux
import Glibc
import Wire

/// Tells the neighbours of an interface where addresses are: gratuitous ARP, request and reply, and unsolicited neighbour
/// advertisements, out of one packet socket. It belongs to one thread.
public final class Announcer {
  private let socket: Descriptor

  /// Needs CAP_NET_RAW.
  public init() throws(SystemError) {
    // Protocol 0: it receives nothing.
    socket = try Descriptor.socket(AF_PACKET, SOCK_RAW, about: "packet")
  }

  /// - Parameters:
  ///   - index: the interface's.
  ///   - mac: whom the neighbours shall send to: the interface's own address, or a virtual router's.
  public func announce(_ address: IPAddress, at mac: MACAddress, on index: Int32, isRouter: Bool = false)
    throws(SystemError)
  {
    switch address {
    case .v4(let v4):
      // Some neighbours heed only the one, some only the other.
      try send(ARP.announcement(.request, mac: mac, address: v4), on: index, about: address)
      try send(ARP.announcement(.reply, mac: mac, address: v4), on: index, about: address)
    case .v6(let v6):
      try send(NeighborAdvertisement.announcement(mac: mac, address: v6, isRouter: isRouter), on: index, about: address)
    }
  }

  /// Asks a gateway for its own address, from the VIP: whoever answers notes where the asker is. Some routers heed no announcement
  /// of an address that they know already, but all answer a request.
  /// - Parameter gatewayMAC: nil where it is not known: everybody is asked then, as by any host that looks for its gateway.
  public func nudge(
    _ gateway: IPAddress, at gatewayMAC: MACAddress?, from vip: IPAddress, at mac: MACAddress, on index: Int32
  ) throws(SystemError) {
    switch (gateway, vip) {
    case (.v4(let gateway), .v4(let vip)):
      var frame: [UInt8] = []
      EthernetHeader(destination: gatewayMAC ?? .broadcast, source: mac, type: .arp).append(to: &frame)
      ARP(
        .request, senderMAC: mac, senderAddress: vip, targetMAC: MACAddress(rawValue: 0), targetAddress: gateway
      ).append(to: &frame)
      try send(frame, on: index, about: .v4(vip))
    case (.v6(let gateway), .v6(let vip)):
      let destination = gatewayMAC == nil ? gateway.solicitedNode : gateway
      var message: [UInt8] = []
      NeighborSolicitation(target: gateway, sourceLinkLayer: mac).append(to: &message, from: vip, to: destination)
      var frame: [UInt8] = []
      EthernetHeader(destination: gatewayMAC ?? MACAddress(multicast: destination), source: mac, type: .ipv6)
        .append(to: &frame)
      IPv6Header(source: vip, destination: destination, nextHeader: ICMPv6.ipProtocol, hopLimit: 255)
        .append(to: &frame, payloadLength: message.count)
      try send(frame + message, on: index, about: .v6(vip))
    default: break  // of another family
    }
  }

  func send(_ frame: [UInt8], on index: Int32, about address: IPAddress) throws(SystemError) {
    let number = socket.rawValue
    try SystemError.check("sendto", "announcement of \(address)") {
      frame.withUnsafeBytes { clinux_packet_send(number, $0.baseAddress, $0.count, index) }
    }
  }
}
