import Basis
import Wire

/// Ethernet frames that tell the neighbours which MAC address a VIP has now.
enum Announcement {
  /// Gratuitous ARP (RFC 5944 §4.6): who already knows the address learns the MAC from a request as from a reply. The reply's
  /// target MAC is the sender's own: Linux ignores a broadcast reply with another one for a second after it learned an entry.
  static func arp(for address: IPv4Address, at mac: MACAddress, isReply: Bool, into frame: inout [UInt8]) {
    frame.removeAll(keepingCapacity: true)
    append(.broadcast, to: &frame)
    append(mac, to: &frame)
    append(0x0806 as UInt16, to: &frame)  // ARP
    append(1 as UInt16, to: &frame)  // Ethernet
    append(0x0800 as UInt16, to: &frame)  // IPv4
    frame += [6, 4]  // lengths of both
    append((isReply ? 2 : 1) as UInt16, to: &frame)
    append(mac, to: &frame)
    append(address.rawValue, to: &frame)
    append(isReply ? mac : MACAddress(rawValue: 0), to: &frame)
    append(address.rawValue, to: &frame)
  }

  /// An unsolicited neighbour advertisement to all nodes, that overrides what they have cached (RFC 4861 §7.2.6).
  /// - Parameter isRouter: whether the node forwards: a neighbour that uses it as a router stops when this is not said.
  static func neighborAdvertisement(
    for address: IPv6Address, at mac: MACAddress, isRouter: Bool, into frame: inout [UInt8]
  ) {
    let allNodes = IPv6Address(rawValue: 0xFF02 << 112 | 1)
    frame.removeAll(keepingCapacity: true)
    append(MACAddress(rawValue: 0x3333_0000_0001), to: &frame)
    append(mac, to: &frame)
    append(0x86DD as UInt16, to: &frame)  // IPv6
    append(0x6000_0000 as UInt32, to: &frame)  // version, traffic class, flow label
    append(32 as UInt16, to: &frame)  // payload
    frame += [58, 255]  // ICMPv6; hop limit (RFC 4861 §7.1.2)
    append(address.rawValue, to: &frame)
    append(allNodes.rawValue, to: &frame)
    let start = frame.count
    frame += [136, 0]  // neighbour advertisement
    append(0 as UInt16, to: &frame)  // checksum
    append((isRouter ? 0xA000_0000 : 0x2000_0000) as UInt32, to: &frame)  // (router,) override
    append(address.rawValue, to: &frame)
    frame += [2, 1]  // option: target link-layer address, of 8 bytes
    append(mac, to: &frame)

    var checksum = Checksum()
    checksum.addPseudoHeader(from: address, to: allNodes, nextHeader: 58, length: 32)
    checksum.add(frame.span.bytes.extracting(start..<frame.count))
    frame[start + 2] = UInt8(checksum.value >> 8)
    frame[start + 3] = UInt8(checksum.value & 0xFF)
  }

  private static func append(_ number: some FixedWidthInteger & BitwiseCopyable, to frame: inout [UInt8]) {
    withUnsafeBytes(of: number.bigEndian) { frame.append(contentsOf: $0) }
  }

  private static func append(_ mac: MACAddress, to frame: inout [UInt8]) {
    withUnsafeBytes(of: mac.rawValue.bigEndian) { frame.append(contentsOf: $0.dropFirst(2)) }
  }
}
