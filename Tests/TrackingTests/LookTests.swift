import Basis
import CLinux
import Glibc
import Node
import Prober
import Testing
import Wire

@testable import Linux
@testable import Tracking

@Suite(.serialized) struct LookTests {
  private static let quick = Duration.milliseconds(50)
  /// So rarely that only news can be the reason for a report.
  private static let rare = Duration.seconds(600)

  @Test(.enabled(if: isRoot)) func `an interface is good while it is up with a carrier, and changes are seen at once`()
    throws
  {
    try withNamespace {
      try track([TrackerTarget(.interface("up0"), every: Self.rare)]) { _, reports in
        #expect(reports.become { $0 == .bad("there is no interface up0") })
        try shell("ip link add up0 type veth peer name far0 && ip link set up0 up && ip link set far0 up")
        #expect(reports.become { $0.isGood })
        try shell("ip link set far0 down")
        #expect(reports.become { $0.says("no carrier") })
        try shell("ip link set far0 up")
        #expect(reports.become { $0.isGood })
        try shell("ip link del up0")
        #expect(reports.become { $0.isBad })
      }
    }
  }

  @Test(.enabled(if: isRoot)) func `a route is good while its table has it and it can be used`() throws {
    try withNamespace {
      let documentation = try #require(Prefix(.v4(IPv4Address(192, 0, 2, 0)), length: 24))
      let any = try #require(Prefix(.v4(IPv4Address(0, 0, 0, 0)), length: 0))
      let six = try #require(Prefix(.v6(IPv6Address(rawValue: 0x2001_0DB8 << 96)), length: 32))
      let targets = [
        TrackerTarget(.route(documentation, table: nil), every: Self.rare),
        TrackerTarget(.route(any, table: nil), every: Self.rare),
        TrackerTarget(.route(documentation, table: 1234), every: Self.rare),
        TrackerTarget(.route(six, table: nil), every: Self.rare),
      ]
      try track(targets) { _, reports in
        for tracker in 0..<4 { #expect(reports.become(tracker) { $0.isBad }) }
        try shell(
          """
          set -e
          ip link add up0 type veth peer name far0; ip link set up0 up; ip link set far0 up
          ip address add 10.9.0.1/24 dev up0; ip address add fd00::1/64 dev up0 nodad
          ip route add 192.0.2.0/25 via 10.9.0.2
          """)
        usleep(200_000)
        #expect(reports.of(0).allSatisfy { $0.isBad }, "a part of the prefix is not the prefix")
        try shell(
          """
          set -e
          ip route add 192.0.2.0/24 via 10.9.0.2
          ip route add default via 10.9.0.2
          ip route add 192.0.2.0/24 via 10.9.0.2 table 1234
          ip -6 route add 2001:db8::/32 via fd00::2
          """)
        for tracker in 0..<4 { #expect(reports.become(tracker) { $0.isGood }) }
        try shell(
          "ip route replace unreachable default; ip route del 192.0.2.0/24 table 1234; ip -6 route del 2001:db8::/32")
        try shell("ip route del default via 10.9.0.2 2>/dev/null || true")
        for tracker in 1..<4 { #expect(reports.become(tracker) { $0.isBad }) }
        #expect(reports.become(0) { $0.isGood })
        try shell("ip link set up0 down")
        #expect(reports.become(0) { $0.isBad })
      }
    }
  }

  @Test func `a file, its first line, and a number in it`() throws {
    try withFolder { folder in
      let path = "\(folder)/flag"
      let targets: [TrackerTarget] = [
        TrackerTarget(.file(path: path, .exists), every: Self.quick),
        TrackerTarget(.file(path: path, .firstLine("ready")), every: Self.quick),
        TrackerTarget(.file(path: path, .number(1...10)), every: Self.quick),
      ]
      try track(targets) { _, reports in
        for tracker in 0..<3 { #expect(reports.become(tracker) { $0 == .bad("there is no file \(path)") }) }
        try write("ready\nor not\n", to: path)
        #expect(reports.become(0) { $0.isGood })
        #expect(reports.become(1) { $0.isGood })
        #expect(reports.become(2) { $0.says("is no number") })
        try write("7\n", to: path)
        #expect(reports.become(1) { $0.says("says '7', not 'ready'") })
        #expect(reports.become(2) { $0.isGood })
        try write("11", to: path)
        #expect(reports.become(2) { $0.says("not 1 to 10") })
        try write("\u{1B}[2J\u{7}", to: path)
        #expect(reports.become(1) { $0.says("says ' [2J '") }, "nothing in it reaches a terminal")
      }
    }
  }

  @Test func `a pipe and a folder in a file's place hold nobody up`() throws {
    try withFolder { folder in
      try #require(mkfifo("\(folder)/pipe", 0o644) == 0)
      let targets: [TrackerTarget] = [
        TrackerTarget(.file(path: "\(folder)/pipe", .firstLine("x")), every: Self.quick),
        TrackerTarget(.file(path: folder, .number(0...1)), every: Self.quick),
      ]
      try track(targets) { _, reports in
        #expect(reports.become(0) { $0.isUnknown })
        #expect(reports.become(1) { $0.isUnknown })
      }
    }
  }

  @Test func `a process is good while it runs, and its end is seen at once`() throws {
    try withFolder { folder in
      let name = "roost-t\(getpid())"
      try shell("cp /bin/sleep \(folder)/\(name)")
      try track([
        TrackerTarget(.process(name), every: .milliseconds(200)), TrackerTarget(.process(name), every: Self.rare),
      ]) { _, reports in
        #expect(reports.become(0) { $0 == .bad("no process \(name) runs") })
        let runner = TrackerTarget(
          .command(["\(folder)/\(name)", "600"], user: nil), every: Self.rare, timeout: Self.rare)
        let reports2 = Reports()
        let child = try TrackerRunner([runner]) { reports2.add($0, $1) }
        #expect(reports.become(0) { $0.isGood })
        child.stop()
        #expect(reports.become(0) { $0.isBad })
      }
    }
  }

  @Test func `a check of an endpoint passes and fails`() throws {
    let listener = try Descriptor.socket(AF_INET, SOCK_STREAM)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener.rawValue, $0, length) == 0 && listen(listener.rawValue, 16) == 0
          && getsockname(listener.rawValue, $0, &length) == 0
      }
    }
    try #require(bound)
    let port = UInt16(bigEndian: address.sin_port)
    let here = IPAddress.v4(IPv4Address(127, 0, 0, 1))
    let good = TrackerTarget(.check(CheckTarget(address: here, port: port, check: .tcp)), every: Self.quick)
    let bad = TrackerTarget(.check(CheckTarget(address: here, port: 1, check: .tcp)), every: Self.quick)
    try track([TrackerTarget(.none), good, bad]) { runner, reports in
      #expect(reports.become(1) { $0.isGood })
      #expect(reports.become(2) { $0.isBad })
      #expect(reports.of(0).isEmpty)
      // Others take their places; what stays goes on.
      runner.replace([bad, good])
      reports.forget()
      #expect(reports.become(0) { $0.isBad })
      #expect(reports.become(1) { $0.isGood })
      runner.replace([])
      usleep(100_000)
      reports.forget()
      usleep(200_000)
      #expect(reports.of(0).isEmpty)
    }
  }
}
