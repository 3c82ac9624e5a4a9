import Basis
import Configuration
import FoundationEssentials
import Glibc
import Testing
import VRRP
import Wire

@testable import Lab

/// What roost and keepalived are to agree on in one lab.
struct Setup: Sendable, CustomTestStringConvertible {
  enum Families: String, Sendable { case ipv4 = "IPv4", ipv6 = "IPv6", both = "IPv4 and IPv6" }

  var version = 3
  var families = Families.ipv4
  var peers = Configuration.Peers.multicast
  /// The node whose owner keepalived is; roost is the other. lb1 is preferred.
  var keepalived = "lb2"
  var milliseconds = 200
  /// Where keepalived's own differs.
  var keepalivedMilliseconds: Int?
  /// Addresses that the VIP has in keepalived's configuration alone.
  var keepalivedVIPs: [IPAddress] = []
  /// Roost's `checksum`; nil: its default.
  var checksum: String?
  /// Where the VIP has both families: over which the election is held.
  var electsOverIPv6 = false
  /// A line of the configuration that the lab writes for keepalived, to be left out.
  var withoutLine: String?
  /// Both sign their adverts with this key, number 1, and take no others.
  var key: [UInt8]?
  /// Where keepalived's own is another one.
  var keepalivedKey: [UInt8]?

  var roost: String { keepalived == "lb1" ? "lb2" : "lb1" }

  var testDescription: String {
    var words =
      "v\(version) \(families.rawValue) \(peers.rawValue), \(keepalived == "lb1" ? "keepalived" : "roost") preferred"
    if electsOverIPv6 { words += ", elected over IPv6" }
    if !keepalivedVIPs.isEmpty {
      words += ", keepalived with \(keepalivedVIPs.map(\.description).joined(separator: " ")) too"
    }
    if let checksum { words += ", checksum: \(checksum)" }
    if let withoutLine { words += ", keepalived without \(withoutLine)" }
    if key != nil { words += ", signed" }
    if let keepalivedMilliseconds { words += ", roost \(milliseconds) ms, keepalived \(keepalivedMilliseconds) ms" }
    return words
  }

  /// What sed(1) makes of the configuration that the lab writes for keepalived.
  var editOfKeepalived: String? {
    if let withoutLine { return "/\(withoutLine)/d" }
    guard let key = keepalivedKey ?? key else { return nil }
    let digits = key.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    return "/virtual_router_id/a auth_hmac {\\n key 1 hex:\(digits)\\n active_key 1\\n mode enforce\\n }"
  }

  var vips: [IPAddress] { addresses(host: 0x64) }
  func own(_ node: String) -> [IPAddress] { addresses(host: node == "lb1" ? 11 : 12) }
  /// Over which family the election is held.
  var family: AddressFamily { families == .ipv6 || electsOverIPv6 ? .ipv6 : .ipv4 }

  private func addresses(host: UInt8) -> [IPAddress] {
    var list: [IPAddress] = []
    if families != .ipv6 { list.append(.v4(IPv4Address(10, 88, 0, host))) }
    if families != .ipv4 { list.append(.v6(IPv6Address(rawValue: 0x2001_0DB8_0088_0000 << 64 | UInt128(host)))) }
    return list
  }

  /// - Parameter keyFile: where the key is that adverts are signed with.
  func yaml(vips: [IPAddress], milliseconds: Int, keyFile: String? = nil) -> String {
    func list(_ addresses: [IPAddress]) -> String { "[" + addresses.map { "\"\($0)\"" }.joined(separator: ", ") + "]" }
    var vrrp = "id: 51, version: \(version), interval: \(milliseconds)ms, peers: \(peers.rawValue)"
    if electsOverIPv6 { vrrp += ", family: ipv6" }
    if let checksum { vrrp += ", checksum: \(checksum)" }
    if let keyFile { vrrp += ", auth: { mode: enforce, keys: { 1: \(keyFile) } }" }
    return """
      cluster:
        nodes:
          lb1: { addresses: \(list(own("lb1"))) }
          lb2: { addresses: \(list(own("lb2"))) }
      vips:
        web:
          addresses: \(list(vips))
          prefer: [lb1, lb2]
          vrrp: { \(vrrp) }

      """
  }
}

/// Root, keepalived, tshark and dumpcap are needed; says what is missing in one line.
let missing: String? = {
  do throws(LabError) { try Cluster.checkHost() } catch { return "\(error)" }
  let programs = ["keepalived", "tshark", "dumpcap"].filter { Command.find($0) == nil }
  return programs.isEmpty ? nil : "needs \(programs.joined(separator: ", ")): apt-get install keepalived tshark"
}()

/// A keepalived that signs adverts as draft-cassen-vrrp-auth-hmac-00 says, as it is named by the environment; Debian 12's does not.
let signingKeepalived = getenv("ROOST_KEEPALIVED_HMAC").map { String(cString: $0) }

/// The daemon as it was built beside the tests.
let roostProgram: String = {
  let folder = Programs.itself.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
  let built = "\(#filePath.split(separator: "/Tests/")[0])/.build/debug/roost"
  return access("\(folder)/roost", X_OK) == 0 ? "\(folder)/roost" : built
}()

struct Late: Error, CustomStringConvertible {
  var description: String
}

/// Polls until the condition holds; throws after a generous while, with what was seen instead.
func eventually(_ what: String, seen: () -> String = { "" }, _ condition: () throws -> Bool) async throws {
  let deadline = ContinuousClock.now + .seconds(60)
  while try !condition() {
    guard ContinuousClock.now < deadline else { throw Late(description: "this did not come about: \(what); \(seen())") }
    try await Task.sleep(for: .milliseconds(10))
  }
}
