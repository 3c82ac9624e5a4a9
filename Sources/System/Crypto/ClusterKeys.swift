import VRRP

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
  public static func advertKey(from secret: SecretBytes) throws(CryptoError) -> AuthenticationKey {
    let key = try derive(from: secret, for: "advert authentication", count: 32)
    let number = try derive(from: secret, for: "advert key id", count: 8)
    let id = number.withBytes { $0.reduce(into: UInt64(0)) { $0 = $0 << 8 | UInt64($1) } } % 255 + 1
    return AuthenticationKey(id: UInt8(id), authentication: try HMACSHA256(key: key))
  }

  private static func derive(
    from secret: SecretBytes, for end: String, count: Int
  ) throws(CryptoError) -> SecretBytes {
    try HKDF.deriveKey(from: secret, salt: Array("roost".utf8), info: Array("roost 1 \(end)".utf8), count: count)
  }
}
