import Glibc
import Health
import Synchronization
import Testing

@testable import Prober

/// A check is under way while others are put in place.
@Test func `a check that stays goes on under its new index, one that goes ends unreported`() throws {
  final class Moments: Sendable {
    let asked = Atomic(0)
    let isReleased = Atomic(false)
  }
  let moments = Moments()
  let server = try RawServer { client in
    readSome(client)
    moments.asked.add(1, ordering: .relaxed)
    _ = eventually { moments.isReleased.load(ordering: .relaxed) }
    write(client, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
  }
  defer { server.stop() }
  let results = Results()
  let (stays, goes) = (http(server.port, "/stays"), http(server.port, "/goes"))
  let prober = try Prober([stays, goes], report: results.report)
  defer { prober.stop() }
  prober.probe(0, number: 7)
  // The server takes one at a time.
  #expect(eventually { moments.asked.load(ordering: .relaxed) == 1 })
  prober.probe(1, number: 8)
  prober.replace([http(server.port, "/new"), stays], origins: [nil, 0])
  // Said to be another's, and is not: it is made anew.
  prober.replace([http(server.port, "/newer"), stays, goes], origins: [0, 1, 1])
  moments.isReleased.store(true, ordering: .relaxed)
  #expect(results.result(7)?.verdict == .passed)
  #expect(results.all.first { $0.number == 7 }?.index == 1)
  prober.probe(2, number: 9)
  #expect(results.result(9)?.verdict == .passed)
  #expect(!results.all.contains { $0.number == 8 })
  #expect(results.all.count == 2)
}
