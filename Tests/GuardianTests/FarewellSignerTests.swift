import Basis
import Crypto
import Linux
import Testing
import VRRP
import Wire

@testable import Guardian

struct FarewellSignerTests {
  private static let key = Charge.Key(id: 9, bytes: Array(0..<48))

  private static func gate(_ family: AddressFamily, key: [UInt8]) throws -> AdvertGate {
    let settings = AuthenticationSettings(
      mode: .enforce,
      keys: [AuthenticationKey(id: 9, authentication: try HMACSHA256(key: SecretBytes(key)))],
      freshness: .window(.seconds(5)))
    return AdvertGate(settings, for: Settings(id: 51, family: family, priority: 100, addresses: []))
  }

  @Test(arguments: [("10.9.0.1", "224.0.0.18"), ("fe80::1", "ff02::12")])
  func `a peer that enforces signatures takes it, once, and after what the daemon sent`(from: String, to: String) throws
  {
    let (source, destination) = (IPAddress(from)!, IPAddress(to)!)
    let addresses = [IPAddress(source.family == .ipv4 ? "10.9.0.100" : "fe80::100")!]
    let advert = Advert(version: .v3, id: 51, priority: 0, interval: .seconds(1), addresses: addresses)
    let farewell = Charge.Farewell(
      interface: 1, source: source, destination: destination,
      message: advert.encoded(from: source, to: destination, coverage: .pseudoHeader))
    let envelope = Envelope(interface: "eth0", source: source, destination: destination, hopLimit: 255)
    let now = Clock.wall().nanoseconds
    // The daemon's clock was ahead when it sent its last advert.
    let last = AuthenticationSequence(wallNanoseconds: now + 1_000_000_000)
    let signed = FarewellSigner.sign(farewell, Self.key, last.rawValue)

    var gate = try Self.gate(source.family, key: Self.key.bytes)
    let admission = try gate.admit(signed.span.bytes, in: envelope, wallNanoseconds: now)
    #expect(admission.isAuthentic && admission.length == farewell.message.count)
    #expect(throws: AuthenticationDiscard.replay) {
      try gate.admit(signed.span.bytes, in: envelope, wallNanoseconds: now)
    }
    let next = FarewellSigner.sign(farewell, Self.key, last.rawValue + 1)
    #expect(try gate.admit(next.span.bytes, in: envelope, wallNanoseconds: now).isAuthentic)

    var other = try Self.gate(source.family, key: Array(1..<49))
    #expect(throws: AuthenticationDiscard.badTag) {
      try other.admit(signed.span.bytes, in: envelope, wallNanoseconds: now)
    }
  }

  @Test func `what is no message is sent as it is`() {
    let farewell = Charge.Farewell(
      interface: 1, source: IPAddress("10.9.0.1")!, destination: IPAddress("224.0.0.18")!, message: [1, 2])
    #expect(FarewellSigner.sign(farewell, Self.key, 0) == [1, 2])
  }
}
