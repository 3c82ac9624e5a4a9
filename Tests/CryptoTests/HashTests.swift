import Crypto
import Testing

/// The bytes that hexadecimal digits say; spaces and line ends are left out.
func bytes(_ text: String) -> [UInt8] {
  let digits = text.compactMap(\.hexDigitValue)
  return stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}

struct HashTests {
  struct Vector: Sendable {
    let key: [UInt8]
    let data: [UInt8]
    let tag: String
  }

  /// RFC 4231 §4.2 to §4.8, without §4.6, which is cut.
  static let hmac = [
    Vector(
      key: Array(repeating: 0x0B, count: 20), data: Array("Hi There".utf8),
      tag: "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    Vector(
      key: Array("Jefe".utf8), data: Array("what do ya want for nothing?".utf8),
      tag: "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    Vector(
      key: Array(repeating: 0xAA, count: 20), data: Array(repeating: 0xDD, count: 50),
      tag: "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    Vector(
      key: Array(1...25), data: Array(repeating: 0xCD, count: 50),
      tag: "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
    Vector(
      key: Array(repeating: 0xAA, count: 131),
      data: Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8),
      tag: "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
    Vector(
      key: Array(repeating: 0xAA, count: 131),
      data: Array(
        "This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm."
          .utf8),
      tag: "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"),
  ]

  @Test(arguments: hmac)
  func `HMAC-SHA256 gives what RFC 4231 says`(_ vector: Vector) throws {
    let key = try HMACSHA256(key: SecretBytes(vector.key))
    #expect(key.tag(of: vector.data) == bytes(vector.tag))
    #expect(key.tag(of: vector.data) == bytes(vector.tag), "a key is used again and again")
    let cut = bytes(vector.tag).prefix(16).reduce(UInt128(0)) { $0 << 8 | UInt128($1) }
    #expect(key.tag(of: vector.data.span.bytes) == cut)
  }

  @Test func `HKDF gives what RFC 5869 says`() throws {
    // Appendix A.1 to A.3.
    let first = try HKDF.deriveKey(
      from: SecretBytes(Array(repeating: 0x0B, count: 22)), salt: Array(0...0x0C), info: Array(0xF0...0xF9), count: 42)
    #expect(
      first
        == SecretBytes(
          bytes("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")))
    let second = try HKDF.deriveKey(
      from: SecretBytes(Array(0...0x4F)), salt: Array(0x60...0xAF), info: Array(0xB0...0xFF), count: 82)
    #expect(
      second
        == SecretBytes(
          bytes(
            """
            b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09
            da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87
            """)))
    let third = try HKDF.deriveKey(from: SecretBytes(Array(repeating: 0x0B, count: 22)), info: [], count: 42)
    #expect(
      third
        == SecretBytes(
          bytes("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8")))
  }

  @Test func `A derived key has a length that can be had`() {
    #expect(throws: CryptoError.self) { try HKDF.deriveKey(from: SecretBytes([1]), info: [], count: 0) }
    #expect(throws: CryptoError.self) { try HKDF.deriveKey(from: SecretBytes([1]), info: [], count: 8161) }
  }

  @Test func `A secret is not shown`() throws {
    let secret = SecretBytes(Array("do not print me, whatever happens".utf8))
    var dumped = ""
    dump([secret], to: &dumped)
    for text in ["\(secret)", String(describing: secret), String(reflecting: [secret]), dumped] {
      #expect(!text.contains("print me"))
      #expect(text.contains("secret"))
    }
  }

  @Test func `A secret takes the bytes from where they were`() {
    var source: [UInt8] = Array(1...40)
    let secret = SecretBytes(wiping: &source)
    #expect(source.isEmpty)
    #expect(secret.withBytes(Array.init) == Array(1...40))
  }

  @Test func `Secrets are equal when their bytes are`() {
    #expect(SecretBytes([1, 2, 3]) == SecretBytes([1, 2, 3]))
    #expect(SecretBytes([1, 2, 3]) != SecretBytes([1, 2, 4]))
    #expect(SecretBytes([1, 2, 3]) != SecretBytes([1, 2]))
    #expect(SecretBytes([]) == SecretBytes([]))
  }

  @Test func `Random bytes are not twice the same`() throws {
    #expect(try Random.bytes(32) != Random.bytes(32))
    #expect(try Random.bytes(0) == [])
  }

  @Test func `The key of adverts is the same wherever it is derived, and says nothing of the secret`() throws {
    let secret = SecretBytes(Array(0..<32))
    let key = try ClusterKeys.advertKey(from: secret)
    #expect(try ClusterKeys.advertKey(from: SecretBytes(Array(0..<32))) == key)
    #expect(try ClusterKeys.advertKey(from: SecretBytes(Array(1..<33))) != key)
    #expect(key.id > 0)
    #expect(key.bytes.count == 32 && key.bytes != secret)
  }
}
