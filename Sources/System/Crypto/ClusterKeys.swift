import VRRP
import Wire

/// What is derived from a cluster's secret. Each end has its own key, so that none of them tells anything of another or of the secret.
public enum ClusterKeys {
  /// In bytes.
  public static let minimumSecret = 32

  /// The private key, Ed25519, of the authority that certifies the nodes.
  static func authoritySeed(from secret: SecretBytes) throws(CryptoError) -> SecretBytes {
    try derive(from: secret, for: "peer link authority", count: 32)
  }

  /// The key that signs adverts. Its number comes out of the secret too, so that it is the same on each node wherever the secret stands
  /// in that node's list: while secrets are changed the lists differ.
  public static func advertKey(from secret: SecretBytes) throws(CryptoError) -> AdvertKey {
    let key = try derive(from: secret, for: "advert authentication", count: 32)
    let number = try derive(from: secret, for: "advert key id", count: 8)
    let id = number.withBytes { $0.reduce(into: UInt64(0)) { $0 = $0 << 8 | UInt64($1) } } % 255 + 1
    return AdvertKey(id: UInt8(id), bytes: key)
  }

  private static func derive(
    from secret: SecretBytes, for end: String, count: Int
  ) throws(CryptoError) -> SecretBytes {
    try HKDF.deriveKey(from: secret, salt: Array("roost".utf8), info: Array("roost 1 \(end)".utf8), count: count)
  }
}

/// A key for adverts, with which another process can be trusted: the guardian signs when the daemon is dead.
public struct AdvertKey: Sendable, Equatable {
  /// 1-255.
  public var id: UInt8
  /// 32 to 64.
  public var bytes: SecretBytes

  public init(id: UInt8, bytes: SecretBytes) {
    self.id = id
    self.bytes = bytes
  }

  /// Ready for use.
  public func prepared() throws(CryptoError) -> AuthenticationKey {
    AuthenticationKey(id: id, authentication: try HMACSHA256(key: bytes))
  }

  /// A signed copy of one VRRP message, from a process that signs no others.
  ///
  /// Its sequence is the time, so it comes after whatever the daemon signed before. Only while the time of day is being put back is
  /// that not so: then `past`, the last sequence that the daemon wrote down (`AdvertSigner.last`), makes it certain.
  /// - Parameter wallNanoseconds: the time of day, in nanoseconds since 1970.
  public func sign(
    _ message: [UInt8], from source: IPAddress, to destination: IPAddress, wallNanoseconds: Int64, past: UInt64? = nil
  ) throws(CryptoError) -> [UInt8] {
    let settings = AuthenticationSettings(mode: .enforce, keys: [try prepared()], freshness: .monotonic)
    guard message.count >= AdvertHeader.length, let version = Version(rawValue: message[0] >> 4),
      var signer = AdvertSigner(
        settings,
        for: Settings(
          id: message[1], version: version, family: source.family, priority: message[2], addresses: []))
    else { throw CryptoError(what: "no VRRP message to sign") }
    if let past { signer.advance(past: AuthenticationSequence(rawValue: past)) }
    var signed: [UInt8] = []
    signer.sign(message.span.bytes, from: source, to: destination, wallNanoseconds: wallNanoseconds, into: &signed)
    return signed
  }
}
