import Basis
import Crypto
import Linux
import VRRP

/// Signs farewells as the daemon signs its adverts (draft-cassen-vrrp-auth-hmac-00).
public enum FarewellSigner {
  /// With the time of now, and after the daemon's last advert even where the clock was put back since. Unsigned where there is no
  /// memory for a key, or the message is none: a peer that enforces signatures waits for its timer then.
  public static let sign: GuardianSigner = { farewell, key, last in
    let message = farewell.message
    guard message.count >= AdvertHeader.length, let version = Version(rawValue: message[0] >> 4),
      let authentication = try? HMACSHA256(key: SecretBytes(key.bytes))
    else { return message }
    let settings = AuthenticationSettings(
      mode: .enforce, keys: [AuthenticationKey(id: key.id, authentication: authentication)], freshness: .monotonic)
    // Of the router only its number, version and family are signed.
    let router = Settings(
      id: message[1], version: version, family: farewell.source.family, priority: 1, addresses: [])
    guard var signer = AdvertSigner(settings, for: router) else { return message }
    if last > 0 { signer.advance(past: AuthenticationSequence(rawValue: last)) }
    var signed: [UInt8] = []
    signer.sign(
      message.span.bytes, from: farewell.source, to: farewell.destination, wallNanoseconds: Clock.wall().nanoseconds,
      into: &signed)
    return signed
  }
}
