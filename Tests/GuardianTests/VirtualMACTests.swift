import Basis
import CLinux
import Glibc
import Synchronization
import Testing

@testable import Linux

/// Where a switch would believe the virtual MAC to be: it learns from every frame.
///
/// The capture is on the other end of the first node's wire, so it sees what a switch's port would.
@Suite(.serialized, .enabled(if: canMakeNamespaces && roostProgram != nil, needsRoot))
struct VirtualMACTests {
  enum End: CaseIterable {
    /// The daemon is killed; its guardian does the rest.
    case death
    /// Both are killed: only the kernel's lease and filter are left.
    case deathOfBoth
    case stop
    /// The daemon is stopped, and goes on when the other node has the VIP.
    case stall
  }

  @Test(arguments: End.allCases) func `the former owner sends nothing with the virtual MAC`(end: End) throws {
    try Stage.run { stage in
      let capture = try SourceCapture(on: stage.there)
      let owner = try stage.start("lb1", lease: "2s", virtualMAC: true)
      try #require(eventually { try owner.guardian != nil && hasVIP(stage, stage.here) }, "\(owner.logText)")
      let guardian = try #require(owner.guardian)
      let other = try stage.start("lb2", lease: "2s", virtualMAC: true)
      try #require(eventually { other.vipState == "backup" }, "\(other.logText)")
      switch end {
      case .death: owner.signal(SIGKILL)
      case .deathOfBoth:
        kill(guardian, SIGKILL)
        owner.signal(SIGKILL)
      case .stop: owner.signal(SIGTERM)
      case .stall: owner.signal(SIGSTOP)
      }
      try #require(eventually { try hasVIP(stage, stage.there) }, "\(other.logText)")
      let taken = Clock.now()
      if end == .stall { owner.signal(SIGCONT) }
      // The kernel leaves the addresses' groups when the leases end, and says so twice, up to a second apart.
      try #require(eventually { try !hasVIP(stage, stage.here) })
      usleep(3_000_000)
      let late = capture.frames.all.filter { $0.at > taken }
      #expect(late.isEmpty, "\(late.map { "\($0.entry) \(($0.at - taken).milliseconds) ms after" })")
      #expect(!capture.frames.all.isEmpty)
    }
  }

  @Test func `an owner's renewals draw no multicast listener's report`() throws {
    try Stage.run { stage in
      let capture = try SourceCapture(on: stage.there)
      let owner = try stage.start("lb1", lease: "2s", virtualMAC: true)
      try #require(eventually { try hasVIP(stage, stage.here) }, "\(owner.logText)")
      let start = Clock.now()
      usleep(4_000_000)
      let frames = capture.frames.all.filter { $0.at > start }
      #expect(frames.contains { $0.entry.kind == .advert })
      #expect(
        !frames.contains { $0.entry.kind == .listenerReport }, "\(frames.count { $0.entry.kind == .listenerReport })")
    }
  }

  /// Whether the host has the VIP's address of either family, on whatever interface.
  private func hasVIP(_ stage: Stage, _ namespace: NetworkNamespace) throws -> Bool {
    let shown = try stage.on(namespace) { try shell("ip -o address show") }
    return shown.contains(" \(Stage.vip)/") || shown.contains(" 2001:db8::100/")
  }
}

/// Frames from a virtual MAC that a host receives.
private final class SourceCapture {
  struct Frame: Sendable {
    enum Kind { case advert, listenerReport, other }
    var kind: Kind
    var beginning: [UInt8]
  }

  let frames = Timeline<Frame>()
  private let flag = Flag()
  private var thread: Linux.Thread?

  init(on namespace: NetworkNamespace) throws {
    let (frames, flag, ready) = (frames, flag, Flag())
    thread = try Linux.Thread.start(named: "capture") {
      do {
        try namespace.enter()
        let socket = try Descriptor.socket(AF_PACKET, SOCK_RAW)
        guard clinux_packet_bind(socket.rawValue, 0, 3) == 0 else { return }  // ETH_P_ALL
        ready.set()
        var buffer = [UInt8](repeating: 0, count: 2048)
        while !flag.isSet {
          var entry = pollfd(fd: socket.rawValue, events: Int16(POLLIN), revents: 0)
          guard poll(&entry, 1, 50) > 0 else { continue }
          var (index, outgoing): (Int32, Int32) = (0, 0)
          let count = clinux_packet_receive(socket.rawValue, &buffer, buffer.count, &index, &outgoing)
          guard count >= 34, outgoing == 0, buffer[6..<10] == [0, 0, 0x5E, 0] else { continue }
          let kind: Frame.Kind =
            switch (buffer[12], buffer[13]) {
            case (0x08, 0x00) where buffer[23] == 112: .advert
            case (0x86, 0xDD) where buffer[20] == 112: .advert
            // Behind a hop-by-hop header.
            case (0x86, 0xDD) where buffer[20] == 0: .listenerReport
            default: .other
            }
          frames.append(Frame(kind: kind, beginning: Array(buffer[..<min(count, 62)])))
        }
      } catch {
        ready.set()
      }
    }
    _ = eventually { ready.isSet }
  }

  deinit {
    flag.set()
    thread?.join()
  }
}
