import FoundationEssentials
import Glibc
import Testing

@testable import Lab

/// Everything of VRRP, ARP and neighbour discovery that crosses the lab's switch, and what tshark says of it afterwards.
final class Capture {
  private let file: String
  private let recorder: Child

  init(_ machines: Machines, of cluster: Cluster) throws {
    file = "\(cluster.folder.path)/switch.pcapng"
    let log = "\(cluster.folder.path)/dumpcap.log"
    let program = try #require(Command.find("dumpcap"))
    recorder = try machines.start(
      "switch", [program, "-q", "-i", "br0", "-w", file, "-f", "ip proto 112 or ip6 proto 112 or arp or icmp6"],
      log: log)
    let deadline = ContinuousClock.now + .seconds(20)
    // It says so once it captures.
    while readSmallFile(log)?.contains("File:") != true {
      guard ContinuousClock.now < deadline else {
        throw Late(description: "dumpcap did not start: \(readSmallFile(log) ?? "")")
      }
      usleep(2_000)
    }
  }

  func finish() async throws -> [Frame] {
    recorder.signal(SIGTERM)
    try await eventually("dumpcap ends") { recorder.hasEnded() }
    let program = try #require(Command.find("tshark"))
    let fields = Frame.fields.flatMap { ["-e", $0] }
    // Only standard output is wanted: tshark complains of root on the other.
    let output = try Command.check(
      [
        "/bin/sh", "-c", "exec \"$@\" 2>/dev/null", "sh", program, "-n", "-r", file, "-T", "fields", "-E",
        "separator=/t",
      ] + fields,
      doing: "reading the capture")
    return output.split(separator: "\n").compactMap { Frame(line: String($0)) }
  }
}

/// One packet as tshark reads it.
struct Frame: Sendable {
  struct Advert: Sendable {
    var version: Int
    var id: Int
    var priority: Int
    /// tshark's verdict: with the pseudo-header for v3 over IPv4.
    var hasGoodChecksum: Bool
    /// v3: hundredths of a second, v2: seconds.
    var interval: Int
    var addresses: [String]
  }
  /// A gratuitous ARP packet, or an unsolicited neighbour advertisement that overrides.
  struct Announcement: Sendable {
    var address: String
    var mac: String
  }

  /// Seconds since 1970.
  var time: Double
  var sourceMAC: String
  var source: String
  var destination: String
  var hopLimit: Int
  var advert: Advert?
  var announcement: Announcement?

  static let fields = [
    "frame.time_epoch", "eth.src", "eth.dst", "ip.src", "ip.dst", "ip.ttl", "ipv6.src", "ipv6.dst", "ipv6.hlim",
    "vrrp.version", "vrrp.virt_rtr_id", "vrrp.prio", "vrrp.checksum.status", "vrrp.adver_int", "vrrp.short_adver_int",
    "vrrp.ip_addr", "vrrp.ipv6_addr", "arp.src.hw_mac", "arp.src.proto_ipv4", "arp.dst.proto_ipv4",
    "icmpv6.nd.na.target_address", "icmpv6.nd.na.flag.s", "icmpv6.nd.na.flag.o", "icmpv6.opt.linkaddr",
  ]

  init?(line: String) {
    let cells = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
    guard cells.count == Self.fields.count, let time = Double(cells[0]) else { return nil }
    let values = Dictionary(uniqueKeysWithValues: zip(Self.fields, cells))
    func text(_ name: String) -> String? { values[name].flatMap { $0.isEmpty ? nil : $0 } }
    func number(_ name: String) -> Int? { text(name).flatMap { Int($0) } }
    func flag(_ name: String) -> Bool { text(name) == "1" || text(name) == "True" }
    // An ICMPv6 error shows the packet that it is about as well.
    if text("ipv6.src")?.contains(",") == true { return nil }
    self.time = time
    sourceMAC = cells[1]
    source = text("ip.src") ?? text("ipv6.src") ?? ""
    destination = text("ip.dst") ?? text("ipv6.dst") ?? ""
    hopLimit = number("ip.ttl") ?? number("ipv6.hlim") ?? 0
    if let version = number("vrrp.version"), let id = number("vrrp.virt_rtr_id"), let priority = number("vrrp.prio") {
      advert = Advert(
        version: version, id: id, priority: priority, hasGoodChecksum: number("vrrp.checksum.status") == 1,
        interval: number("vrrp.adver_int") ?? number("vrrp.short_adver_int") ?? 0,
        addresses: (text("vrrp.ip_addr") ?? text("vrrp.ipv6_addr") ?? "").split(separator: ",").map(String.init))
    }
    if let address = text("arp.src.proto_ipv4"), address == text("arp.dst.proto_ipv4"),
      let mac = text("arp.src.hw_mac"),
      cells[2] == "ff:ff:ff:ff:ff:ff"
    {
      announcement = Announcement(address: address, mac: mac)
    }
    if let address = text("icmpv6.nd.na.target_address"), flag("icmpv6.nd.na.flag.o"), !flag("icmpv6.nd.na.flag.s"),
      destination == "ff02::1", let mac = text("icmpv6.opt.linkaddr")
    {
      announcement = Announcement(address: address, mac: mac)
    }
  }
}
