import Testing
import Wire

@testable import Lab

/// RTM_NEWADDR of 10.77.0.100/32 on interface 2, as a kernel sends it.
private let newAddress: [UInt8] = [
  0x30, 0, 0, 0,  // length 48
  20, 0,  // RTM_NEWADDR
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0,  // flags, sequence, port
  2, 32, 0x80, 253,  // AF_INET, /32, IFA_F_PERMANENT, scope link
  2, 0, 0, 0,  // interface 2
  8, 0, 1, 0, 10, 77, 0, 100,  // IFA_ADDRESS
  8, 0, 2, 0, 10, 77, 0, 100,  // IFA_LOCAL
  8, 0, 8, 0, 0x80, 0, 0, 0,  // IFA_FLAGS
]

/// RTM_DELADDR of 2001:db8::64.
private let deletedAddress: [UInt8] = [
  0x2C, 0, 0, 0,  // length 44
  21, 0,  // RTM_DELADDR
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  10, 128, 0, 0,  // AF_INET6
  2, 0, 0, 0,
  20, 0, 1, 0, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x64,  // IFA_ADDRESS
]

private let done: [UInt8] = [20, 0, 0, 0, 3, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]

@Test func `a datagram holds several messages`() throws {
  let messages = NetlinkReader.messages(in: newAddress + deletedAddress + done)
  #expect(
    messages == [
      .added(try #require(IPAddress("10.77.0.100"))), .removed(try #require(IPAddress("2001:db8::64"))), .endOfDump,
    ])
}

@Test func `the local end of a point-to-point address counts, not the peer's`() throws {
  var bytes = newAddress
  bytes[31] = 1  // IFA_ADDRESS: 10.77.0.1
  #expect(NetlinkReader.messages(in: bytes) == [.added(try #require(IPAddress("10.77.0.100")))])
}

@Test func `no cut and no flipped byte does harm`() {
  let whole = newAddress + deletedAddress + done
  for length in 0..<whole.count { #expect(NetlinkReader.messages(in: Array(whole[..<length])).count < 3) }
  for index in whole.indices {
    for value: UInt8 in [0, 1, 0x7F, 0x80, 0xFF] {
      var bytes = whole
      bytes[index] = value
      #expect(NetlinkReader.messages(in: bytes).count <= 3)
    }
  }
}

@Test func `an answer carries its errno`() {
  let refused: [UInt8] = [36, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0] + [0xFF, 0xFF, 0xFF, 0xFF]
  #expect(NetlinkReader.answer(in: refused) == 1)  // EPERM
  #expect(NetlinkReader.answer(in: newAddress) == nil)
  #expect(NetlinkReader.answer(in: []) == nil)
}

@Test func `requests say their own length`() {
  for request in [
    NetlinkRequest.allAddresses, NetlinkRequest.link(index: 3, isUp: true),
    NetlinkRequest.bridgePort(index: 3, isForwarding: false),
  ] {
    #expect(Int(request[0]) == request.count)
  }
}
