import Basis
import CLinux
import Glibc
import Wire

/// Tells the neighbours of an interface where addresses are: gratuitous ARP, request and reply, and unsolicited neighbour
/// advertisements, out of one packet socket. It belongs to one thread.
public final class Announcer {
  private let socket: Descriptor
  private var frame: [UInt8] = []

  /// Needs CAP_NET_RAW.
  public init() throws(SystemError) {
    // Protocol 0: it receives nothing.
    socket = try Descriptor.socket(AF_PACKET, SOCK_RAW, about: "packet")
    frame.reserveCapacity(128)
  }

  /// - Parameters:
  ///   - index: the interface's.
  ///   - mac: whom the neighbours shall send to: the interface's own address, or a virtual router's.
  public func announce(_ address: IPAddress, at mac: MACAddress, on index: Int32, isRouter: Bool = false) throws(SystemError) {
    switch address {
    case .v4(let v4):
      for isReply in [false, true] {
        Announcement.arp(for: v4, at: mac, isReply: isReply, into: &frame)
        try send(on: index, about: address)
      }
    case .v6(let v6):
      Announcement.neighborAdvertisement(for: v6, at: mac, isRouter: isRouter, into: &frame)
      try send(on: index, about: address)
    }
  }

  private func send(on index: Int32, about address: IPAddress) throws(SystemError) {
    let number = socket.rawValue
    try SystemError.check("sendto", "announcement of \(address)") {
      frame.withUnsafeBytes { clinux_packet_send(number, $0.baseAddress, $0.count, index) }
    }
  }
}
