import CLinux
import Configuration
import Glibc
import Linux
import Testing

@testable import roost

struct ElectionsTests {
  private static let needsRoot: Comment = "needs root: it opens raw sockets"

  /// A socket on the loopback interface, and one that sends it what it likes.
  @Test(.enabled(if: geteuid() == 0, needsRoot))
  func `of a flood, malformed or not, a portion is read at a time`() throws {
    let text = """
      cluster: { nodes: { lb1: 10.254.0.11, lb2: 10.254.0.12 } }
      vips: { web: { addresses: 10.254.0.100, vrrp: { id: 51 } } }
      """
    let configuration = try #require(Configuration.read(text: text, file: "roost.yaml").configuration)
    let elections = Elections(try DaemonPlan(configuration, name: "lb1", interfaces: ["lo"]))
    let socket = try VRRPSocket(interface: "lo", index: 1, family: .ipv4)
    let message: [UInt8] = [0x31, 51, 254, 1, 0, 100, 0xAB, 0xCD, 10, 254, 0, 100]
    let sender = Glibc.socket(AF_INET, Int32(SOCK_RAW.rawValue), 112)
    defer { close(sender) }
    for _ in 0..<VRRPSocket.portion + 50 {
      let loopback = UInt32(0x7F00_0001).bigEndian
      #expect(clinux_vrrp_send4(sender, message, message.count, loopback, loopback, 0) == message.count)
    }
    var counts: [Int] = []
    for _ in 0..<3 {
      var count = 0
      _ = try elections.drain(socket, refused: { _ in }) { _, _ in count += 1 }
      counts.append(count)
    }
    #expect(counts == [VRRPSocket.portion, 50, 0])
  }
}
