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

  private func send(_ frame: [UInt8], on index: Int32, about address: IPAddress) throws(SystemError) {
    let number = socket.rawValue
    try SystemError.check("sendto", "announcement of \(address)") {
      frame.withUnsafeBytes { clinux_packet_send(number, $0.baseAddress, $0.count, index) }
    }
  }
}
