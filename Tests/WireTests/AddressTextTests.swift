import Basis
import Testing
import Wire

@Suite struct `IPv4 text` {
  @Test(arguments: [
    ("0.0.0.0", UInt32(0)), ("255.255.255.255", .max), ("10.0.0.100", 0x0A00_0064), ("1.2.3.4", 0x0102_0304),
  ])
  func `dotted decimal is read and written back`(text: String, value: UInt32) {
    #expect(IPv4Address(text) == IPv4Address(rawValue: value))
    #expect(IPv4Address(rawValue: value).description == text)
  }

  @Test(arguments: [
    "", ".", "1", "1.2.3", "1.2.3.4.", ".1.2.3.4", "1..3.4", "1.2.3.4.5", "256.1.1.1", "1.2.3.999", "1.2.3.1000",
    "01.2.3.4", "1.2.3.00", "0x1.2.3.4", "1.2.3.-4", "+1.2.3.4", "1.2.3.4 ", " 1.2.3.4", "1.2.3.4/24", "١.٢.٣.٤",
    "a.b.c.d",
    "1.2.3.4\0",
  ])
  func `anything else is refused`(text: String) { #expect(IPv4Address(text) == nil) }
}

@Suite struct `IPv6 text` {
  @Test(arguments: [
    // RFC 4291 §2.2, each form, and RFC 5952's own examples: what was typed, and how it is written.
    ("ABCD:EF01:2345:6789:ABCD:EF01:2345:6789", "abcd:ef01:2345:6789:abcd:ef01:2345:6789"),
    ("2001:DB8:0:0:8:800:200C:417A", "2001:db8::8:800:200c:417a"),
    ("FF01:0:0:0:0:0:0:101", "ff01::101"),
    ("0:0:0:0:0:0:0:1", "::1"),
    ("0:0:0:0:0:0:0:0", "::"),
    ("::", "::"),
    ("::1", "::1"),
    ("1::", "1::"),
    ("0:0:0:0:0:0:13.1.68.3", "::d01:4403"),
    ("0:0:0:0:0:FFFF:129.144.52.38", "::ffff:129.144.52.38"),
    ("::FFFF:129.144.52.38", "::ffff:129.144.52.38"),
    ("::ffff:0102:0304", "::ffff:1.2.3.4"),
    ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
    ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),  // the first of two equal runs (§4.2.3)
    ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),  // the longer of two runs
    ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),  // one zero group is not shortened (§4.2.2)
    ("2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
    ("2001:db8::0:1", "2001:db8::1"),
    ("2001:0db8::0001", "2001:db8::1"),  // no leading zeros (§4.1)
    ("2001:db8:aaaa:bbbb:cccc:dddd:eeee:0", "2001:db8:aaaa:bbbb:cccc:dddd:eeee:0"),
    ("0:1:2:3:4:5:6:7", "0:1:2:3:4:5:6:7"),
    ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"),
    ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
    ("0:0:1::", "0:0:1::"),
    ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"),
    ("1::1.2.3.4", "1::102:304"),
  ])
  func `every form is read, and one is written`(typed: String, written: String) throws {
    let address = try #require(IPv6Address(typed))
    #expect(address.description == written)
    #expect(IPv6Address(written) == address)
  }

  @Test(arguments: [
    "", ":", ":::", "1", "1:2", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8:", ":1:2:3:4:5:6:7:8",
    "::1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8::", "1:2:3:4::5:6:7:8", "1::2::3", "1:::2", "::1:", ":1", "1:", "12345::",
    "::g",
    "::1.2.3", "::1.2.3.4.5", "::256.1.1.1", "1.2.3.4", "1.2.3.4::", "::1.2.3.4:5", "1:2:3:4:5:6:7:1.2.3.4",
    "fe80::1%eth0", "fe80::1/64", "[::1]", " ::1", "::1 ", "::-1", "::+1", "::0x1", "::1\0", "::١",
  ])
  func `anything else is refused`(text: String) { #expect(IPv6Address(text) == nil) }

  @Test func `every address comes back from its text`() {
    var random = SplitMix64(seed: 4291)
    for _ in 0..<5_000 {
      var value: UInt128 = 0
      // Zero groups are likely, since they are what shortening is about.
      for _ in 0..<8 { value = value << 16 | (random.next(below: 2) == 0 ? 0 : UInt128(random.next(below: 65_536))) }
      let address = IPv6Address(rawValue: value)
      #expect(IPv6Address(address.description) == address)
    }
  }

  @Test func `random text never crashes, and what is read is written so that it reads the same`() {
    var random = SplitMix64(seed: 5952)
    let alphabet = Array("0123456789abcdefABCDEF::::..%/ g")
    for _ in 0..<20_000 {
      let text = String(
        (0..<random.next(below: 24)).map { _ in alphabet[Int(random.next(below: UInt64(alphabet.count)))] })
      if let address = IPAddress(text) { #expect(IPAddress(address.description) == address) }
      _ = MACAddress(text)
    }
  }
}

@Suite struct `Other addresses` {
  @Test func `the family is found by the form`() {
    #expect(IPAddress("10.0.0.1") == .v4(IPv4Address(10, 0, 0, 1)))
    #expect(IPAddress("::1") == .v6(.loopback))
    #expect(IPAddress("localhost") == nil)
  }

  @Test func `addresses sort as unsigned numbers, IPv4 first`() throws {
    let sorted = ["10.0.0.11", "127.255.255.255", "128.0.0.0", "255.0.0.0", "::", "7fff::", "8000::", "ffff::"]
    let addresses = try sorted.map { try #require(IPAddress($0)) }
    #expect(addresses.reversed().sorted() == addresses)
  }

  @Test func `MAC addresses are read and written`() {
    #expect(MACAddress("00:00:5E:00:01:33")?.description == "00:00:5e:00:01:33")
    #expect(MACAddress("ff:ff:ff:ff:ff:ff") == .broadcast)
    for wrong in [
      "", "00:00:5e:00:01", "00:00:5e:00:01:33:44", "0:0:5e:0:1:33", "00-00-5e-00-01-33", "00:00:5e:00:01:3g", "::::::",
    ] {
      #expect(MACAddress(wrong) == nil)
    }
  }

  @Test func `a prefix contains what shares its bits`() throws {
    let prefix = try #require(Prefix(.v4(IPv4Address(10, 1, 2, 3)), length: 8))
    #expect(prefix.description == "10.0.0.0/8")
    #expect(prefix.contains(.v4(IPv4Address(10, 255, 0, 1))))
    #expect(!prefix.contains(.v4(IPv4Address(11, 0, 0, 1))))
    #expect(!prefix.contains(.v6(.loopback)))
    let all = try #require(Prefix(.v6(.any), length: 0))
    #expect(all.contains(.v6(IPv6Address(rawValue: .max))))
    let one = try #require(Prefix(.v6(.loopback), length: 128))
    #expect(one.contains(.v6(.loopback)) && !one.contains(.v6(.any)))
    #expect(Prefix(.v4(.any), length: 33) == nil)
    #expect(Prefix(.v4(.any), length: -1) == nil)
  }

  @Test func `derived addresses are the ones of the standards`() throws {
    // RFC 4291 §2.7.1's example, and a kernel's own link-local address.
    #expect(IPv6Address("4037::01:800:200e:8c6c")?.solicitedNode == IPv6Address("ff02::1:ff0e:8c6c"))
    #expect(IPv6Address(linkLocalOf: try #require(MACAddress("02:00:00:00:00:0a"))) == IPv6Address("fe80::ff:fe00:a"))
    #expect(MACAddress(multicast: IPv6Address.allNodes).description == "33:33:00:00:00:01")
    #expect(MACAddress(multicast: IPv4Address.vrrpGroup).description == "01:00:5e:00:00:12")
    #expect(IPv6Address("fe80::1")?.isLinkLocal == true)
    #expect(IPv6Address("febf::1")?.isLinkLocal == true)
    #expect(IPv6Address("fec0::1")?.isLinkLocal == false)
    #expect(IPv6Address.vrrpGroup.description == "ff02::12")
  }
}
