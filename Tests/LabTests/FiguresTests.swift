import Basis
import Scenario
import Testing
import Wire

@testable import Lab

private func at(_ milliseconds: Int64) -> Instant { Instant(nanoseconds: milliseconds * 1_000_000) }

private func datagrams(_ range: Range<Int64>, answered: (Int64) -> Bool) -> [Sample] {
  range.map { Sample(kind: .datagram, start: at($0), duration: answered($0) ? .microseconds(100) : nil) }
}

@Test func `samples come back from their bytes`() throws {
  let samples = [
    Sample(kind: .datagram, detail: 1, start: at(5), duration: .microseconds(321)),
    Sample(kind: .broken, detail: 2, number: 99, start: at(7), duration: nil),
  ]
  var bytes: [UInt8] = []
  for sample in samples { sample.encode(into: &bytes) }
  #expect(bytes.count == 2 * Sample.encodedLength)
  #expect(Sample.decode(bytes) == samples)
  #expect(Sample.decode(Array(bytes.dropLast())) == nil)
  bytes[0] = 200
  #expect(Sample.decode(bytes) == nil)
}

@Test func `an outage is the longest stretch without an answer, held within its window`() {
  let record = ClientRecord(datagrams(0..<1000) { !(200..<260).contains($0) && $0 < 900 })
  #expect(record.longestGap(from: at(0), to: at(100)) < .milliseconds(2))
  #expect(record.longestGap(from: at(150), to: at(500)) == .milliseconds(61))
  #expect(record.longestGap(from: at(800), to: at(950)) == .microseconds(50_900))
  #expect(record.longestGap(from: at(2000), to: at(2100)) == .milliseconds(100))
  #expect(record.counts(from: at(150), to: at(500)).probesLost == 60)
}

@Test func `a request under way when the fault comes belongs to the fault`() {
  let record = ClientRecord([
    Sample(kind: .request, start: at(995), duration: nil),
    Sample(kind: .request, start: at(1100), duration: .milliseconds(1)),
    Sample(kind: .freshRequest, start: at(1990), duration: nil),
  ])
  let counts = record.counts(from: at(1000), to: at(2000))
  #expect((counts.requests, counts.requestsFailed) == (2, 1))
}

@Test func `a connection that breaks again and again counts once`() {
  let record = ClientRecord([100, 150, 200].map { Sample(kind: .broken, number: 7, start: at($0), duration: nil) })
  #expect(record.counts(from: at(0), to: at(1000)).connectionsBroken == 1)
}

@Test func `the service may be gone while the address answers`() {
  let requests = (0..<100).filter { !(40..<60).contains($0) }.map {
    Sample(kind: .freshRequest, start: at($0 * 10), duration: .milliseconds(1))
  }
  let record = ClientRecord(requests + datagrams(0..<1000) { _ in true })
  #expect(record.longestGap(from: at(0), to: at(900)) < .milliseconds(2))
  #expect(record.longestServiceGap(from: at(0), to: at(900)) == .milliseconds(210))
  #expect(ClientRecord(datagrams(0..<10) { _ in true }).longestServiceGap(from: at(0), to: at(9)) == nil)
}

@Test func `the demo's table stays within 100 columns`() {
  let table = DemoTable(hasKeepalived: true)
  let closing = table.closing(path: ".roost-demo/report.json", reports: [], took: .seconds(61))
  for line in [table.picture] + table.heading + closing { #expect(line.count <= 100, "\(line)") }
  #expect([0.2, 3.4, 999.6, 1234].map(DemoTable.time) == ["< 1 ms", "3 ms", "1.0 s", "1.2 s"])
  #expect([0, 999, 20_114, 1_000_007].map(DemoTable.grouped) == ["0", "999", "20 114", "1 000 007"])
}

@Test func `spreads`() throws {
  let spread = try #require(Spread([4, 1, 3, 2]))
  #expect((spread.min, spread.median, spread.p95, spread.max) == (1, 2.5, 4, 4))
  #expect(Spread((1...100).map(Double.init))?.p95 == 95)
  #expect(Spread([]) == nil)
}

private let vip = IPAddress.v4(IPv4Address(10, 77, 0, 100))

private func change(_ time: Int64, _ host: String, _ isHeld: Bool) -> AddressChange {
  AddressChange(time: at(time), host: host, address: vip, isHeld: isHeld)
}

@Test func `two owners count only while they reach each other`() {
  let timeline = OwnershipTimeline(
    addresses: [vip], nodes: ["lb1", "lb2"],
    changes: [change(0, "lb1", true), change(400, "lb2", true), change(1100, "lb2", false)],
    connectivity: [
      (at(0), Connectivity()),
      (at(100), Connectivity(cut: [Cabling.Pair(from: "lb1", to: "lb2"), Cabling.Pair(from: "lb2", to: "lb1")])),
      (at(1000), Connectivity()),
    ])
  let figures = timeline.figures(from: at(50), to: at(2000))
  #expect(figures.twoOwners == .milliseconds(100))
  #expect(figures.noOwner == .zero)
  #expect(timeline.owners(at: at(500)) == ["lb1", "lb2"])
  #expect(timeline.owners(at: at(2000)) == ["lb1"])
}

@Test func `a dead machine owns nothing, whatever its kernel holds`() {
  let timeline = OwnershipTimeline(
    addresses: [vip], nodes: ["lb1", "lb2"], changes: [change(0, "lb1", true), change(420, "lb2", true)],
    connectivity: [(at(100), Connectivity(dead: ["lb1"], isolated: ["lb1"]))])
  let figures = timeline.figures(from: at(100), to: at(1000))
  #expect(figures.noOwner == .milliseconds(320))
  #expect(figures.twoOwners == .zero)
  #expect(timeline.owners(at: at(1000)) == ["lb2"])
}

@Test func `a hurried scenario keeps its order and its short waits`() throws {
  let scenario = try #require(Scenario.builtIn(named: "returning-node"))
  let hurried = scenario.hurried(to: Pace(lead: .seconds(1), between: .seconds(1), tail: .seconds(1)))
  #expect(hurried.steps.map(\.at) == [.seconds(1), .seconds(2)])
  #expect(hurried.end == .seconds(3))
  #expect(hurried.steps.map(\.action) == scenario.steps.map(\.action))
}

@Test func `responses in pieces`() {
  let bytes = Array("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".utf8)
  for cut in 1..<bytes.count {
    var response = Response()
    #expect(response.take(bytes[..<cut]) == nil)
    #expect(response.take(bytes[cut...]) == true)
  }
  var failure = Response()
  #expect(failure.take(Array("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n".utf8)[...]) == false)
  var nonsense = Response()
  #expect(nonsense.take(Array("SSH-2.0\r\n\r\n".utf8)[...]) == false)
}

@Test func `the start time of a process is found behind any name`() {
  let fields = (4...52).map(String.init).joined(separator: " ")
  #expect(ProcessTable.startTime(inStat: "7 (a) b) S \(fields)", zombies: false) == 22)
  #expect(ProcessTable.startTime(inStat: "7 (a) Z \(fields)", zombies: false) == nil)
  #expect(ProcessTable.startTime(inStat: "7 (a) Z \(fields)", zombies: true) == 22)
  #expect(ProcessTable.startTime(inStat: "7 (a", zombies: true) == nil)
}
