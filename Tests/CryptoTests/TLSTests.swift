import Crypto
import Testing

/// Two sessions whose network is this test.
final class Pair {
  let client: TLSSession
  let server: TLSSession
  var clientResult = TLSSession.Progress.waiting
  var serverResult = TLSSession.Progress.waiting

  init(client: TLSIdentity, server: TLSIdentity) throws {
    self.client = try TLSSession(client, isServer: false)
    self.server = try TLSSession(server, isServer: true)
  }

  /// Carries bytes to and fro until nobody has anything to say.
  func shakeHands() throws {
    for _ in 0..<10 {
      if clientResult == .waiting { clientResult = client.handshake() }
      try carry(client, to: server)
      if serverResult == .waiting { serverResult = server.handshake() }
      try carry(server, to: client)
    }
  }

  func carry(_ from: TLSSession, to: TLSSession) throws {
    var bytes: [UInt8] = []
    from.takeOutput(into: &bytes)
    try bytes.withUnsafeBytes { try to.feed($0) }
  }

  func read(_ session: TLSSession) -> (TLSSession.Reading, [UInt8]) {
    var buffer = [UInt8](repeating: 0, count: 1024)
    let reading = buffer.withUnsafeMutableBytes { session.read(into: $0) }
    if case .bytes(let count) = reading { return (reading, Array(buffer.prefix(count))) }
    return (reading, [])
  }

  var isDone: Bool { clientResult == .finished && serverResult == .finished }
}

struct TLSTests {
  static let old = SecretBytes(Array(repeating: 1, count: 32))
  static let new = SecretBytes(Array(repeating: 2, count: 32))

  private func pair(_ client: [SecretBytes], _ server: [SecretBytes]) throws -> Pair {
    let pair = try Pair(
      client: TLSIdentity(node: "lb1", secrets: client), server: TLSIdentity(node: "lb2", secrets: server))
    try pair.shakeHands()
    return pair
  }

  @Test func `Two nodes with one secret know each other's names`() throws {
    let pair = try pair([Self.old], [Self.old])
    #expect(pair.isDone)
    #expect(pair.client.peerName == "lb2")
    #expect(pair.server.peerName == "lb1")

    #expect(pair.client.write(Array("hello".utf8)))
    try pair.carry(pair.client, to: pair.server)
    #expect(pair.read(pair.server).1 == Array("hello".utf8))
    #expect(pair.read(pair.server).0 == .waiting)
    pair.client.finish()
    try pair.carry(pair.client, to: pair.server)
    #expect(pair.read(pair.server).0 == .ended)
  }

  @Test(arguments: [
    ([old], [old, new]), ([new, old], [old]), ([new], [new, old]), ([old, new], [new]), ([old, new], [new, old]),
    ([new, old], [new, old]),
  ])
  func `Nodes with a secret in common are linked, whichever comes first`(
    _ one: [SecretBytes], _ other: [SecretBytes]
  ) throws {
    #expect(try pair(one, other).isDone)
    #expect(try pair(other, one).isDone)
  }

  @Test func `Nodes without a secret in common are not, and say why`() throws {
    let pair = try pair([Self.new], [Self.old])
    guard case .failed(let why) = pair.serverResult else {
      Issue.record("the server is content")
      return
    }
    #expect(why.contains("another secret?"))
    #expect(pair.clientResult != .finished)
    #expect(pair.server.peerName == nil)
  }

  @Test func `An authority is the same on each node, and another for each secret`() throws {
    let one = try TLSIdentity(node: "lb1", secrets: [Self.old, Self.new]).fingerprints
    let other = try TLSIdentity(node: "lb2", secrets: [Self.new, Self.old]).fingerprints
    #expect(one == other.reversed())
    #expect(one[0] != one[1])
    #expect(one[0].count == 16)
  }

  @Test func `Rubbish is refused, and nothing crashes`() throws {
    let server = try TLSSession(TLSIdentity(node: "lb2", secrets: [Self.old]), isServer: true)
    try Array("GET / HTTP/1.1\r\n\r\n".utf8).withUnsafeBytes { try server.feed($0) }
    guard case .failed = server.handshake() else {
      Issue.record("the server is content")
      return
    }
  }

  @Test(arguments: ["", String(repeating: "x", count: 256)])
  func `A name that no certificate can have is refused`(_ name: String) {
    #expect(throws: CryptoError.self) { try TLSIdentity(node: name, secrets: [Self.old]) }
  }
}
