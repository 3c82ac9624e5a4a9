// What authentication and the peer link cost: microseconds for signing and judging an advert, and for a TLS handshake (both sides);
// memory for a peer.
//
//   swift run -c release --package-path Benchmarks secure-run          the figures
//   swift run -c release --package-path Benchmarks secure-run COUNT    only signs and judges so often, for counting allocations
import Basis
import Crypto
import Glibc
import Linux
import PeerLink
import VRRP
import Wire

func measure(_ what: String, _ count: Int, _ body: () throws -> Void) rethrows {
  var best = Double.infinity
  var worst = 0.0
  for _ in 0..<5 {
    let start = Clock.now()
    for _ in 0..<count { try body() }
    let each = Double((Clock.now() - start).nanoseconds) / 1000 / Double(count)
    best = min(best, each)
    worst = max(worst, each)
  }
  print(
    "\(what): \((best * 100).rounded() / 100) µs (five rounds of \(count), slowest \((worst * 100).rounded() / 100))")
}

/// Of this process, in KiB.
func residentMemory() -> Int {
  let descriptor = open("/proc/self/statm", O_RDONLY)
  defer { close(descriptor) }
  var bytes = [UInt8](repeating: 0, count: 128)
  let count = read(descriptor, &bytes, bytes.count)
  let fields = String(decoding: bytes.prefix(max(0, count)), as: UTF8.self).split(separator: " ")
  return (fields.count > 1 ? Int(fields[1]) ?? 0 : 0) * 4
}

let secret = SecretBytes(Array(0..<32))
let source = IPAddress.v4(IPv4Address(10, 0, 0, 11))
let router = Settings(id: 51, family: .ipv4, priority: 254, addresses: [.v4(IPv4Address(10, 0, 0, 100))])
let settings = AuthenticationSettings(
  mode: .enforce, keys: [try ClusterKeys.advertKey(from: secret).prepared()], freshness: .window(.seconds(5)))
let message = Advert(version: .v3, id: 51, priority: 254, interval: .seconds(1), addresses: router.addresses)
  .encoded(from: source, to: AddressFamily.ipv4.vrrpGroup, coverage: .pseudoHeader)
let envelope = Envelope(
  interface: "eth0", source: source, destination: AddressFamily.ipv4.vrrpGroup, hopLimit: 255)

guard var signer = AdvertSigner(settings, for: router) else { fatalError("no signer") }
var gate = AdvertGate(settings, for: router)
var signed: [UInt8] = []
func sign() {
  signer.sign(
    message.span.bytes, from: source, to: AddressFamily.ipv4.vrrpGroup, wallNanoseconds: Clock.wall().nanoseconds,
    into: &signed)
}
if CommandLine.arguments.count == 2, let count = Int(CommandLine.arguments[1]) {
  for _ in 0..<count {
    sign()
    _ = try gate.admit(signed.span.bytes, in: envelope, wallNanoseconds: Clock.wall().nanoseconds)
  }
  exit(0)
}
let hmac = try HMACSHA256(key: secret)
measure("HMAC-SHA256 of 60 bytes", 200_000) { _ = hmac.tag(of: signed.span.bytes) }
measure("sign an advert", 200_000) { sign() }
try measure("sign and judge an advert", 200_000) {
  sign()
  _ = try gate.admit(signed.span.bytes, in: envelope, wallNanoseconds: Clock.wall().nanoseconds)
}
sign()
measure("drop a replayed advert", 200_000) {
  _ = try? gate.admit(signed.span.bytes, in: envelope, wallNanoseconds: Clock.wall().nanoseconds)
}
let one = try TLSIdentity(node: "lb1", secrets: [secret])
let two = try TLSIdentity(node: "lb2", secrets: [secret])
try measure("make an identity", 200) { _ = try TLSIdentity(node: "lb1", secrets: [secret]) }
func carry(_ from: TLSSession, to: TLSSession) throws {
  var bytes: [UInt8] = []
  from.takeOutput(into: &bytes)
  try bytes.withUnsafeBytes { try to.feed($0) }
}
func shakeHands() throws -> (TLSSession, TLSSession) {
  let client = try TLSSession(one, isServer: false)
  let server = try TLSSession(two, isServer: true)
  for _ in 0..<3 {
    _ = client.handshake()
    try carry(client, to: server)
    _ = server.handshake()
    try carry(server, to: client)
  }
  return (client, server)
}
try measure("a handshake, both sides", 200) { _ = try shakeHands() }

// Memory: sixteen nodes, each linked to each, in this process.
let nodes = 16
func address(_ node: Int) -> IPAddress { .v4(IPv4Address(127, 99, 0, UInt8(node))) }
func link(_ node: Int) throws -> PeerLink {
  try PeerLink(
    PeerLinkSettings(
      node: "lb\(node + 10)", addresses: [address(node)], port: 17_112,
      peers: (1...nodes).filter { $0 != node }.map { .init(name: "lb\($0 + 10)", addresses: [address($0)]) },
      secrets: [secret], software: "0.2.0", configuration: "x")
  ) { _ in }
}
let start = residentMemory()
let links = try (1...nodes).map(link)
while !links.allSatisfy({ $0.snapshot().allSatisfy { $0.state == .up } }) { usleep(10_000) }
let full = residentMemory()
print(
  "\(nodes) nodes, \(nodes * (nodes - 1)) ends of links: \(full - start) KiB, \((full - start) / (nodes * (nodes - 1))) an end, threads included"
)
for link in links { link.stop() }
