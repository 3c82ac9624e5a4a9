// One VRRP message: checked, and what was read is written so that it reads the same.
//
// Input: a byte of choices, the VRID, then the message.
import Basis
import Fuzzing
import VRRP
import Wire

@_cdecl("LLVMFuzzerTestOneInput")
func feed(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  withInput(start, count) { bytes in
    var input = Input(bytes)
    let choices = input.byte()
    let id = input.byte()
    let version: Version = choices & 1 == 0 ? .v3 : .v2
    let source: IPAddress =
      choices & 2 == 0 ? .v4(IPv4Address(10, 0, 0, 11)) : .v6(IPv6Address(rawValue: 0xFE80 << 112 | 11))
    let destination = source.family.vrrpGroup
    var message = input.rest()
    let coverage: ChecksumCoverage = choices & 4 == 0 ? .pseudoHeader : .message
    if choices & 8 != 0 { mend(&message, version, source, destination, coverage) }
    check(message, version, id, source, destination)
  }
  return 0
}

/// No fuzzer guesses a checksum.
func mend(
  _ message: inout [UInt8], _ version: Version, _ source: IPAddress, _ destination: IPAddress,
  _ coverage: ChecksumCoverage
) {
  guard message.count >= 8 else { return }
  message[6] = 0
  message[7] = 0
  var sum = Checksum()
  sum.add(message)
  if version == .v3, source.family == .ipv6 || coverage == .pseudoHeader {
    sum.addPseudoHeader(from: source, to: destination, protocol: AdvertHeader.ipProtocol, length: message.count)
  }
  message[6] = UInt8(sum.value >> 8)
  message[7] = UInt8(sum.value & 255)
}

func check(_ message: [UInt8], _ version: Version, _ id: UInt8, _ source: IPAddress, _ destination: IPAddress) {
  func header(_ bytes: [UInt8]) -> AdvertHeader? {
    try? AdvertHeader(checking: bytes.span.bytes, version: version, id: id, from: source, to: destination)
  }
  func addresses(_ header: AdvertHeader, _ bytes: [UInt8]) -> [IPAddress] {
    (0..<header.count).map { header.address($0, in: bytes.span.bytes) }
  }
  guard let read = header(message) else { return }
  precondition(VirtualRouter.identify(message.span.bytes) == id)
  precondition(read.interval > .zero && read.count > 0)
  let advert = Advert(
    version: version, id: id, priority: read.priority, interval: read.interval, addresses: addresses(read, message))
  let written = advert.encoded(from: source, to: destination, coverage: read.coverage ?? .pseudoHeader)
  precondition(written.count == message.count)
  guard let again = header(written) else { preconditionFailure("not read again") }
  precondition(again.priority == read.priority && again.interval == read.interval)
  precondition(addresses(again, written) == advert.addresses)
}

runFuzzer(feed)
