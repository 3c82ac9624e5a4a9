import Basis
import CLinux
import Crypto
import Glibc
import Linux
import PeerLink
import Peering
import Synchronization
import Testing
import Wire

let oldSecret = SecretBytes(Array(repeating: 1, count: 32))
let newSecret = SecretBytes(Array(repeating: 2, count: 32))

/// Waits until it is so, at most two minutes.
func eventually(_ what: String, _ condition: () -> Bool, location: SourceLocation = #_sourceLocation) {
  for _ in 0..<12_000 {
    if condition() { return }
    usleep(10_000)
  }
  Issue.record("never: \(what)", sourceLocation: location)
}

/// A cluster of its own on loopback: nodes lb1, lb2 … at 127.X.Y.1, .2 …
struct Cluster: Sendable {
  private static let counter = Atomic<UInt32>(0)
  let network: UInt32
  let port: UInt16

  init() {
    let number = Self.counter.add(1, ordering: .relaxed).newValue
    network = 127 << 24 | (70 + UInt32(getpid()) % 100) << 16 | (number & 255) << 8
    port = 20_000 + UInt16(UInt32(getpid()) % 10_000)
  }

  func address(_ node: Int) -> IPAddress { .v4(IPv4Address(rawValue: network | UInt32(node))) }

  func settings(
    _ node: Int, of nodes: Int = 2, secrets: [SecretBytes] = [oldSecret], hash: String = "same"
  ) -> PeerLinkSettings {
    var settings = PeerLinkSettings(
      node: "lb\(node)", addresses: [address(node)], port: port,
      peers: (1...nodes).filter { $0 != node }.map { .init(name: "lb\($0)", addresses: [address($0)]) },
      secrets: secrets, software: "0.2.0", configuration: hash)
    settings.limits.pause = .milliseconds(20)
    settings.limits.longestPause = .milliseconds(200)
    settings.limits.heartbeat = .milliseconds(100)
    return settings
  }
}

/// One node's link, and what it reported.
final class Node: Sendable {
  private let heard: Reports
  let link: PeerLink

  init(_ settings: PeerLinkSettings) throws {
    let heard = Reports()
    self.heard = heard
    link = try PeerLink(settings) { heard.add($0) }
  }

  var reports: [PeerLinkReport] { heard.all }
  func isUp(_ peer: Int = 0) -> Bool { link.snapshot()[peer].state == .up }
  func heard(_ message: PeerMessage) -> Bool {
    reports.contains { if case .said(_, message) = $0 { true } else { false } }
  }
  func isTold(_ part: String) -> Bool {
    reports.contains { report in
      switch report {
      case .trouble(let text), .down(_, let text): text.contains(part)
      default: false
      }
    }
  }

  /// What was said of the peer's clock: whether it is too far off.
  var clocks: [Bool] { reports.compactMap { if case .clock(_, _, let isTooFar) = $0 { isTooFar } else { nil } } }

  private final class Reports: Sendable {
    private let reports = Mutex<[PeerLinkReport]>([])
    func add(_ report: PeerLinkReport) { reports.withLock { $0.append(report) } }
    var all: [PeerLinkReport] { reports.withLock { $0 } }
  }
}

/// Whatever can open a TCP connection: with TLS where it has an identity.
final class Stranger {
  let socket: Int32
  private var session: TLSSession?

  init(from source: IPAddress, to destination: IPAddress, port: UInt16, identity: TLSIdentity? = nil) throws {
    socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var own = Self.endpoint(source, 0)
    var other = Self.endpoint(destination, port)
    // So that a test that is wrong ends.
    var patience = timeval(tv_sec: 120, tv_usec: 0)
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    let bound = Self.with(&own) { bind(socket, $0, $1) }
    try #require(bound == 0)
    var connected: Int32 = -1
    for _ in 0..<500 {
      connected = Self.with(&other) { connect(socket, $0, $1) }
      if connected == 0 { break }
      usleep(10_000)
    }
    try #require(connected == 0)
    session = try identity.map { try TLSSession($0, isServer: false) }
  }

  deinit { close(socket) }

  private static func endpoint(_ address: IPAddress, _ port: UInt16) -> clinux_endpoint {
    var endpoint = clinux_endpoint()
    if case .v4(let address) = address { clinux_endpoint_v4(&endpoint, address.rawValue, port) }
    return endpoint
  }

  private static func with(
    _ endpoint: inout clinux_endpoint, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
  ) -> Int32 {
    withUnsafePointer(to: &endpoint) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, clinux_endpoint_size(pointer)) }
    }
  }

  /// False where the connection is broken, or nobody reads.
  @discardableResult
  func send(_ bytes: [UInt8]) -> Bool {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      if count <= 0 { return false }
      rest = rest.dropFirst(count)
    }
    return true
  }

  /// Nothing more is kept than the kernel's least, so that a reader that reads nothing is felt soon.
  func receive() -> [UInt8]? {
    var buffer = [UInt8](repeating: 0, count: 16_384)
    let count = recv(socket, &buffer, buffer.count, 0)
    return count > 0 ? Array(buffer.prefix(count)) : nil
  }

  /// Whether the other side ends it.
  var isEnded: Bool {
    var buffer = [UInt8](repeating: 0, count: 16_384)
    while true {
      let count = recv(socket, &buffer, buffer.count, 0)
      // An end leaves errno as an earlier call has left it.
      if count == 0 { return true }
      if count < 0, errno != EINTR { return errno != EAGAIN }
    }
  }

  /// The TLS handshake.
  func shakeHands() throws -> TLSSession.Progress {
    let session = try #require(session)
    while true {
      let progress = session.handshake()
      flush(session)
      guard progress == .waiting else { return progress }
      guard let bytes = receive() else { return .failed("cut") }
      try bytes.withUnsafeBytes { try session.feed($0) }
    }
  }

  @discardableResult
  func say(_ bytes: [UInt8]) throws -> Bool {
    let session = try #require(session)
    return session.write(bytes) && flush(session)
  }

  @discardableResult
  private func flush(_ session: TLSSession) -> Bool {
    var bytes: [UInt8] = []
    session.takeOutput(into: &bytes)
    return send(bytes)
  }
}
