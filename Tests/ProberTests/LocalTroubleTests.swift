import Basis
import Glibc
import Health
import Linux
import Testing
import Wire

@testable import Prober

@Test(arguments: [IPv4Address(224, 0, 0, 1), IPv4Address(255, 255, 255, 255)])
func `what never left this host says nothing of the backend`(address: IPv4Address) throws {
  // TCP has no multicast or broadcast: the kernel refuses before any packet, as it does where there is no route.
  let result = try check(CheckTarget(address: .v4(address), port: 80, check: .tcp, timeout: .seconds(5)))
  #expect(result?.verdict == .unknown)
  #expect(result?.message.hasPrefix("not checked: connect: Network is unreachable") == true)
}

@Test func `a check that cannot be asked, or is not there, is unknown`() throws {
  let broken = try check(http(80, "/a b"))
  #expect(broken?.verdict == .unknown)
  #expect(broken?.message == "the request of this check cannot be sent: the request target is not valid")

  let results = Results()
  let prober = try Prober([], report: results.report)
  defer { prober.stop() }
  prober.probe(3, number: 9)
  #expect(results.result(9)?.verdict == .unknown)
}

@Test func `a prober that stops reports no more, and one without targets idles`() throws {
  let results = Results()
  let server = try RawServer { waitForEnd($0) }
  defer { server.stop() }
  let prober = try Prober([http(server.port)], report: results.report)
  prober.probe(0, number: 1)
  prober.stop()
  prober.probe(0, number: 2)
  prober.stop()
  #expect(results.all.isEmpty)
}

@Test func `targets can be replaced while probes are in flight`() throws {
  let silent = try RawServer { waitForEnd($0) }
  defer { silent.stop() }
  let results = Results()
  let prober = try Prober([http(silent.port)], report: results.report)
  defer { prober.stop() }
  prober.probe(0, number: 1)
  prober.replace([CheckTarget(address: loopback, port: silent.port, check: .tcp)])
  prober.probe(0, number: 2)
  #expect(results.result(2)?.message == "connected")
  #expect(results.all.count == 1)
}

@Test func `checks leave no connection in TIME_WAIT`() throws {
  let server = try RawServer { client in
    readSome(client)
    write(client, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    waitForEnd(client)
  }
  defer { server.stop() }
  let results = Results()
  let prober = try Prober(
    [http(server.port), CheckTarget(address: loopback, port: server.port, check: .tcp)], report: results.report)
  defer { prober.stop() }
  for number in 0..<40 as Range<UInt64> {
    prober.probe(Int(number % 2), number: number)
    #expect(results.result(number)?.verdict == .passed)
  }
  #expect(states(ofPort: server.port).filter { $0 == "06" }.isEmpty)
}

/// The states of all connections from or to that port, as /proc/net/tcp has them: 06 is TIME_WAIT.
private func states(ofPort port: UInt16) -> [Substring] {
  guard let file = fopen("/proc/net/tcp", "r") else { return [] }
  defer { fclose(file) }
  var text: [UInt8] = []
  var buffer = [UInt8](repeating: 0, count: 65536)
  while case let count = fread(&buffer, 1, buffer.count, file), count > 0 { text += buffer[..<count] }
  let wanted = ":" + String(port, radix: 16, uppercase: true).leftPadded(to: 4)
  return String(decoding: text, as: UTF8.self).split(separator: "\n").dropFirst().compactMap { line in
    let columns = line.split(separator: " ")
    guard columns.count > 3, columns[1].hasSuffix(wanted) || columns[2].hasSuffix(wanted) else { return nil }
    return columns[3]
  }
}

extension String {
  fileprivate func leftPadded(to width: Int) -> String { String(repeating: "0", count: max(0, width - count)) + self }
}
