// One packet: read, and what was read is written so that it reads the same.
//
// Input: which codec, whether to mend the checksum (which no fuzzer guesses), then the packet.
import Fuzzing
import Wire

@_cdecl("LLVMFuzzerTestOneInput")
func feed(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  withInput(start, count) { bytes in
    var input = Input(bytes)
    let codec = input.byte() % 8
    let mends = input.bool()
    var packet = input.rest()
    switch codec {
    case 0: ethernet(packet)
    case 1: arp(packet)
    case 2:
      if mends, packet.count >= 20 {
        mend(&packet, at: 10, counting: min(packet.count, Int(packet[0] & 15) * 4), with: Checksum())
      }
      ipv4(packet)
    case 3: ipv6(packet)
    case 4: udp(&packet, mends: mends, from: .v4(.any), to: .v4(.broadcast))
    case 5: udp(&packet, mends: mends, from: .v6(.loopback), to: .v6(.allNodes))
    case 6: neighborDiscovery(&packet, mends: mends)
    default: text(packet)
    }
  }
  return 0
}

func mend(_ packet: inout [UInt8], at offset: Int, counting count: Int, with start: Checksum) {
  guard offset + 2 <= count else { return }
  packet[offset] = 0
  packet[offset + 1] = 0
  var sum = start
  sum.add(Array(packet[..<count]))
  let value = sum.value == 0 ? 0xFFFF : sum.value
  packet[offset] = UInt8(value >> 8)
  packet[offset + 1] = UInt8(value & 255)
}

func ethernet(_ packet: [UInt8]) {
  guard let header = try? EthernetHeader(parsing: packet.span.bytes) else { return }
  precondition(header.length <= packet.count)
  var written: [UInt8] = []
  header.append(to: &written)
  precondition(written.count == header.length)
  precondition((try? EthernetHeader(parsing: written.span.bytes)) == header)
}

func arp(_ packet: [UInt8]) {
  guard let message = try? ARP(parsing: packet.span.bytes) else { return }
  var written: [UInt8] = []
  message.append(to: &written)
  precondition(written == Array(packet.prefix(ARP.length)))
}

func ipv4(_ packet: [UInt8]) {
  guard let (header, payload) = try? IPv4Header.parse(packet.span.bytes) else { return }
  precondition(payload.lowerBound >= 20 && payload.upperBound <= packet.count)
  var written: [UInt8] = []
  header.append(to: &written, payloadLength: payload.count)
  written += packet[payload]
  guard let again = try? IPv4Header.parse(written.span.bytes) else { preconditionFailure("not read again") }
  precondition(again.header == header && Array(written[again.payload]) == Array(packet[payload]))
}

func ipv6(_ packet: [UInt8]) {
  guard let (header, payload) = try? IPv6Header.parse(packet.span.bytes) else { return }
  var written: [UInt8] = []
  header.append(to: &written, payloadLength: payload.count)
  precondition(written == Array(packet[..<40]))
  guard let found = try? IPv6Header.transport(of: header, in: packet.span.bytes, payload: payload) else { return }
  precondition(found.payload.lowerBound >= payload.lowerBound && found.payload.upperBound == payload.upperBound)
}

func udp(_ packet: inout [UInt8], mends: Bool, from source: IPAddress, to destination: IPAddress) {
  if mends, packet.count >= 8 {
    let length = min(packet.count, Int(packet[4]) << 8 | Int(packet[5]))
    var sum = Checksum()
    sum.addPseudoHeader(from: source, to: destination, protocol: UDPHeader.ipProtocol, length: length)
    mend(&packet, at: 6, counting: length, with: sum)
  }
  guard let (header, payload) = try? UDPHeader.parse(packet.span.bytes, from: source, to: destination) else { return }
  precondition(payload.upperBound <= packet.count)
  var written: [UInt8] = []
  header.append(to: &written, data: packet[payload], from: source, to: destination)
  guard let again = try? UDPHeader.parse(written.span.bytes, from: source, to: destination) else {
    preconditionFailure("not read again")
  }
  precondition(again.header == header && again.payload == payload)
}

func neighborDiscovery(_ packet: inout [UInt8], mends: Bool) {
  let header = IPv6Header(
    source: IPv6Address(rawValue: 0xFE80 << 112 | 1), destination: .allNodes, nextHeader: ICMPv6.ipProtocol,
    hopLimit: 255)
  if mends {
    var sum = Checksum()
    sum.addPseudoHeader(
      from: header.source, to: header.destination, nextHeader: ICMPv6.ipProtocol, length: UInt32(packet.count))
    mend(&packet, at: 2, counting: packet.count, with: sum)
  }
  var written: [UInt8] = []
  if let message = try? NeighborSolicitation(parsing: packet.span.bytes, in: header) {
    message.append(to: &written, from: header.source, to: header.destination)
    precondition((try? NeighborSolicitation(parsing: written.span.bytes, in: header)) == message)
  }
  if let message = try? NeighborAdvertisement(parsing: packet.span.bytes, in: header) {
    message.append(to: &written, from: header.source, to: header.destination)
    precondition((try? NeighborAdvertisement(parsing: written.span.bytes, in: header)) == message)
  }
}

func text(_ bytes: [UInt8]) {
  let text = String(decoding: bytes, as: UTF8.self)
  if let address = IPAddress(text) { precondition(IPAddress(address.description) == address) }
  if let mac = MACAddress(text) { precondition(MACAddress(mac.description) == mac) }
}

runFuzzer(feed)
