import Basis
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

/// The Ethernet header of a frame to VRRP's group, and an IPv4 header of 20 bytes with protocol 112.
private let advertFrame: [UInt8] =
  [0x01, 0, 0x5E, 0, 0, 0x12, 2, 0, 0, 0, 0, 7, 0x08, 0x00]
  + [0x45, 0, 0, 32, 0, 0, 0, 0, 255, 112, 0, 0, 10, 77, 0, 11, 224, 0, 0, 18]
  + [0x31, 51, 254, 1, 0, 10, 0, 0, 10, 77, 0, 100]

private let announcementFrame: [UInt8] =
  [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2, 0, 0, 0, 0, 7, 0x08, 0x06]
  + [0, 1, 8, 0, 6, 4, 0, 1] + [2, 0, 0, 0, 0, 7, 10, 77, 0, 100] + [0, 0, 0, 0, 0, 0, 10, 77, 0, 100]

@Test func `an advert and an announcement are known by their frames`() throws {
  let vip = try #require(IPAddress("10.77.0.100"))
  let at = Instant(nanoseconds: 5)
  #expect(
    Spoken(frame: advertFrame[...], at: at)
      == Spoken(time: at, source: 0x0200_0000_0007, what: .advert(id: 51, priority: 254)))
  #expect(Spoken(frame: announcementFrame[...], at: at)?.what == .announcement(vip))
  for frame in [advertFrame, announcementFrame] {
    for length in 0..<frame.count { #expect(Spoken(frame: frame[..<length], at: at) == nil || length >= 42) }
  }
}

@Test func `out of turn is what comes too soon, from another node, or in a burst`() throws {
  let vip = try #require(IPAddress("10.77.0.100"))
  func advert(_ ms: Int64, from source: UInt64 = 1, priority: UInt8 = 254, id: UInt8 = 51) -> Spoken {
    Spoken(time: Instant(nanoseconds: ms * 1_000_000), source: source, what: .advert(id: id, priority: priority))
  }
  func announcement(_ ms: Int64) -> Spoken {
    Spoken(time: Instant(nanoseconds: ms * 1_000_000), source: 1, what: .announcement(vip))
  }
  let judge = OutOfTurn(ids: [51], addresses: [vip], interval: .milliseconds(100))
  func moments(_ spoken: [Spoken]) -> [Int64] { judge.moments(in: spoken).map { $0.nanoseconds / 1_000_000 } }
  #expect(moments([advert(0), advert(100), advert(195), advert(290), announcement(300)]) == [])
  #expect(moments([advert(0), advert(30), advert(130)]) == [30])
  #expect(moments([advert(0), advert(100, priority: 0), advert(200, from: 2, priority: 253)]) == [100, 200])
  #expect(moments([announcement(0), announcement(20), announcement(120)]) == [20, 120])
  #expect(moments([advert(0, id: 52), advert(1, id: 52)]) == [])
}
