import COpenSSL
import VRRP

/// A key of HMAC-SHA256 (RFC 2104, FIPS 198-1), ready for any number of messages: about half a microsecond for an advert, and
/// nothing is allocated. It doesn't change, so threads may share it.
public final class HMACSHA256: Sendable {
  /// In bytes.
  public static let length = 32

  // Immutable in C, too.
  nonisolated(unsafe) private let key: OpaquePointer

  /// Of any length; longer than 64 bytes brings no more security (RFC 2104 §3).
  public init(key: SecretBytes) throws(CryptoError) {
    guard let made = key.withBytes({ copenssl_hmac_key_new($0.baseAddress, $0.count) }) else {
      throw CryptoError(what: "no memory for a key")
    }
    self.key = made
  }

  deinit { copenssl_hmac_key_free(key) }

  /// - Parameter tag: 32 bytes or more; the first 32 are written.
  public func authenticate(_ message: UnsafeRawBufferPointer, into tag: UnsafeMutableRawBufferPointer) {
    precondition(tag.count >= Self.length)
    copenssl_hmac(key, message.baseAddress, message.count, tag.baseAddress)
  }

  public func tag(of message: [UInt8]) -> [UInt8] {
    var tag = [UInt8](repeating: 0, count: Self.length)
    message.withUnsafeBytes { message in tag.withUnsafeMutableBytes { authenticate(message, into: $0) } }
    return tag
  }
}

extension HMACSHA256: MessageAuthentication {
  /// The first 16 bytes, as draft-cassen-vrrp-auth-hmac-00 cuts it.
  public func tag(of message: RawSpan) -> UInt128 {
    var tag = InlineArray<4, UInt64>(repeating: 0)
    message.withUnsafeBytes { message in
      withUnsafeMutableBytes(of: &tag) { authenticate(message, into: $0) }
    }
    return UInt128(UInt64(bigEndian: tag[0])) << 64 | UInt128(UInt64(bigEndian: tag[1]))
  }
}

/// HKDF with SHA-256 (RFC 5869): keys for different ends from one secret, of which none tells anything about another.
public enum HKDF {
  /// - Parameters:
  ///   - info: what the key is for. Different ends must have different texts.
  ///   - count: in bytes, 1 to 8160.
  public static func deriveKey(
    from secret: SecretBytes, salt: [UInt8] = [], info: [UInt8], count: Int
  ) throws(CryptoError) -> SecretBytes {
    guard 1...(255 * HMACSHA256.length) ~= count else {
      throw CryptoError(what: "a derived key can't have \(count) bytes")
    }
    let extractor = try HMACSHA256(
      key: SecretBytes(salt.isEmpty ? [UInt8](repeating: 0, count: HMACSHA256.length) : salt))
    var pseudorandom = [UInt8](repeating: 0, count: HMACSHA256.length)
    secret.withBytes { secret in
      pseudorandom.withUnsafeMutableBytes { extractor.authenticate(secret, into: $0) }
    }
    let expander = try HMACSHA256(key: SecretBytes(wiping: &pseudorandom))
    var derived: [UInt8] = []
    // Never grown, so no copy of it is left behind.
    derived.reserveCapacity((count + HMACSHA256.length - 1) / HMACSHA256.length * HMACSHA256.length)
    var block: [UInt8] = []
    var number: UInt8 = 1
    while derived.count < count {
      block = expander.tag(of: block + info + [number])
      derived += block
      number &+= 1
    }
    block.withUnsafeMutableBytes { copenssl_wipe($0.baseAddress, $0.count) }
    derived.removeLast(derived.count - count)
    return SecretBytes(wiping: &derived)
  }
}
