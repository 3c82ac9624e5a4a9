import COpenSSL

/// What one node is, in one life, to the others of its cluster: a fresh key, certified under the node's name by an authority that is
/// derived from each of the cluster's secrets. Whoever knows a secret can make such a certificate; nobody else can.
public final class TLSIdentity: Sendable {
  /// What may be shown of each secret's authority, newest first: sixteen hexadecimal digits.
  public let fingerprints: [String]
  // OpenSSL counts references of the context atomically; what is written is written here.
  nonisolated(unsafe) fileprivate let identity: OpaquePointer

  /// - Parameters:
  ///   - node: its name, 1 to 255 bytes.
  ///   - secrets: newest first, 1 to 8.
  public init(node: String, secrets: [SecretBytes]) throws(CryptoError) {
    guard let identity = copenssl_identity_new() else { throw CryptoError(what: "OpenSSL can't make a key") }
    self.identity = identity
    var fingerprints: [String] = []
    for secret in secrets {
      let seed = try ClusterKeys.authoritySeed(from: secret)
      var digits = [CChar](repeating: 0, count: Int(copenssl_fingerprint_length) + 1)
      var name = node
      let done = seed.withBytes { seed in
        name.withUTF8 { name in
          copenssl_identity_add(
            identity, seed.baseAddress, UnsafeRawPointer(name.baseAddress)?.assumingMemoryBound(to: CChar.self),
            name.count, &digits)
        }
      }
      guard done == 1 else {
        copenssl_identity_free(identity)
        throw CryptoError(what: "OpenSSL can't make a certificate for \"\(node)\"")
      }
      fingerprints.append(String(decoding: digits.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self))
    }
    self.fingerprints = fingerprints
  }

  deinit { copenssl_identity_free(identity) }
}

/// One TLS 1.3 connection between two nodes, without a socket: bytes of the network go in and come out. It belongs to one thread.
public final class TLSSession {
  public enum Progress: Sendable, Hashable {
    case finished
    /// It goes on when more has come.
    case waiting
    case failed(String)
  }

  public enum Reading: Sendable, Hashable {
    case bytes(Int)
    case waiting
    /// The peer says that it has said everything.
    case ended
    case failed(String)
  }

  private let session: OpaquePointer
  private let identity: TLSIdentity

  public init(_ identity: TLSIdentity, isServer: Bool) throws(CryptoError) {
    guard let session = copenssl_session_new(identity.identity, isServer ? 1 : 0) else {
      throw CryptoError(what: "no memory for a TLS session")
    }
    self.session = session
    self.identity = identity
  }

  deinit { copenssl_session_free(session) }

  /// What came from the network. Call `handshake` or `read` next.
  public func feed(_ bytes: UnsafeRawBufferPointer) throws(CryptoError) {
    guard copenssl_session_feed(session, bytes.baseAddress, bytes.count) == 1 else {
      throw CryptoError(what: "no memory for what a peer sends")
    }
  }

  /// Appends what has to go to the network.
  public func takeOutput(into bytes: inout [UInt8]) {
    withUnsafeTemporaryAllocation(byteCount: 16 * 1024, alignment: 16) { chunk in
      while true {
        let count = copenssl_session_take(session, chunk.baseAddress, chunk.count)
        if count == 0 { return }
        bytes.append(contentsOf: chunk[..<count])
      }
    }
  }

  public func handshake() -> Progress {
    switch copenssl_session_handshake(session) {
    case 1: .finished
    case 0: .waiting
    default: .failed(failure)
    }
  }

  /// The node's name in the peer's certificate, which is verified, once the handshake is finished.
  public var peerName: String? {
    var name = [UInt8](repeating: 0, count: 255)
    let count = name.withUnsafeMutableBytes { name in
      copenssl_session_peer_name(
        session, name.baseAddress?.assumingMemoryBound(to: CChar.self), name.count)
    }
    guard count > 0 else { return nil }
    return String(validating: name.prefix(Int(count)), as: UTF8.self)
  }

  /// The fingerprints of the authorities that vouch for this side and for the peer, once the handshake is finished: as long as both are
  /// trusted, the connection is as good as a new one.
  public var authorities: (own: String, theirs: String)? {
    var (own, theirs): (Int32, Int32) = (-1, -1)
    let known = identity.fingerprints.indices
    guard copenssl_session_authorities(session, &own, &theirs) == 1, known.contains(Int(own)),
      known.contains(Int(theirs))
    else { return nil }
    return (identity.fingerprints[Int(own)], identity.fingerprints[Int(theirs)])
  }

  public func read(into buffer: UnsafeMutableRawBufferPointer) -> Reading {
    let count = copenssl_session_read(session, buffer.baseAddress, buffer.count)
    return switch count {
    case 0: .waiting
    case -2: .ended
    case ..<0: .failed(failure)
    default: .bytes(Int(count))
    }
  }

  /// Encrypts all of it. False where the session is broken.
  public func write(_ bytes: [UInt8]) -> Bool {
    bytes.isEmpty || bytes.withUnsafeBytes { copenssl_session_write(session, $0.baseAddress, $0.count) == 1 }
  }

  /// Says that nothing more will come.
  public func finish() { copenssl_session_finish(session) }

  private var failure: String {
    var text = [CChar](repeating: 0, count: 256)
    copenssl_session_failure(session, &text, text.count)
    return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
}
