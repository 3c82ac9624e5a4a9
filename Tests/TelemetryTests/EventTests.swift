import Basis
import Glibc
import Linux
import Node
import Synchronization
import Testing
import VRRP
import Wire

@testable import Telemetry

private func settings() -> NodeSettings {
  NodeSettings(
    name: "lb1",
    vips: [
      VIPSettings(
        name: "web", interface: "eth0", addresses: [.v4(IPv4Address(10, 0, 0, 100))], election: .fixed(owner: true),
        lease: nil, drain: .zero)
    ], services: [ServiceSettings(name: "site", vip: 0, backends: ["app1"], check: nil)])
}

/// A log that writes into a file of its own.
final class LogFile {
  let log: Log
  private let descriptor: Int32

  init() throws {
    var template = Array("/tmp/roost-log-XXXXXX".utf8CString)
    descriptor = mkstemp(&template)
    unlink(template)
    log = try Log(to: descriptor)
  }

  deinit { close(descriptor) }

  /// Closes the log.
  var text: String {
    log.close()
    var bytes = [UInt8](repeating: 0, count: 1 << 20)
    let count = pread(descriptor, &bytes, bytes.count, 0)
    return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
  }
}

func eventually(_ condition: () -> Bool) -> Bool {
  for _ in 0..<3000 {
    if condition() { return true }
    usleep(10_000)
  }
  return false
}

@Test func `the ring keeps the last events, and says how many are forgotten`() {
  var ring = EventRing(capacity: 3)
  #expect(ring.events(after: 0, most: 10).events.isEmpty)
  for index in 1...5 {
    let event = ring.append {
      EventRecord(seq: $0, time: "", kind: .system, level: .info, node: "n", subject: EventSubject(), text: "\(index)")
    }
    #expect(event.seq == UInt64(index))
  }
  #expect(ring.events(after: 0, most: 10).events.map(\.seq) == [3, 4, 5])
  #expect(ring.events(after: 0, most: 10).forgotten == 2)
  #expect(ring.events(after: 3, most: 10).events.map(\.text) == ["4", "5"])
  #expect(ring.events(after: 3, most: 10).forgotten == 0)
  #expect(ring.events(after: 2, most: 1).events.map(\.seq) == [3])
  #expect(ring.events(after: 5, most: 10).events.isEmpty)
  #expect(ring.events(after: .max, most: 10).events.isEmpty)
}

@Test func `what happens is numbered, named and in the log`() throws {
  let file = try LogFile()
  let chronicle = Chronicle(node: "lb1", life: "1", log: file.log)
  let heard = Mutex<[UInt64]>([])
  chronicle.listen { event in heard.withLock { $0.append(event.seq) } }
  chronicle.report(.became(.active, vip: 0, reason: "no advert"), of: settings())
  chronicle.report(.backend(.down, service: 0, backend: 0, message: "refused"), of: settings())
  chronicle.report(.reloaded, .notice, "the configuration changed")
  #expect(eventually { chronicle.events(after: 0).last == 3 })
  let events = chronicle.events(after: 0).events
  #expect(events.map(\.kind) == ["active", "backend-down", "reloaded"])
  #expect(events[0].vip == "web")
  #expect(events[0].cause == "no advert")
  #expect(events[1].backend == "app1")
  #expect(events[1].level == "warning")
  #expect(WallTime(events[2].time) != nil)
  #expect(file.text.contains("notice  vip web: active (no advert)\n"))
  #expect(heard.withLock { $0 } == [1, 2, 3])
}

@Test func `a reader waits for what comes, and no longer than it said`() throws {
  let file = try LogFile()
  let chronicle = Chronicle(node: "lb1", log: file.log)
  let pages = Mutex<[EventPage]>([])
  chronicle.events(after: 0, waiting: .seconds(100)) { page in pages.withLock { $0.append(page) } }
  chronicle.events(after: 0, waiting: .milliseconds(50)) { page in pages.withLock { $0.append(page) } }
  #expect(eventually { pages.withLock { $0.count } == 1 })
  #expect(pages.withLock { $0[0].events.isEmpty })
  chronicle.report(.started, .notice, "started")
  #expect(eventually { pages.withLock { $0.count } == 2 })
  #expect(pages.withLock { $0[1].events.map(\.kind) } == ["started"])
  // What is there is given at once.
  chronicle.events(after: 0, waiting: .seconds(100)) { page in pages.withLock { $0.append(page) } }
  #expect(pages.withLock { $0.count } == 3)
  file.log.close()
}

@Test func `the log folds what repeats, at its end at the latest`() throws {
  let file = try LogFile()
  for index in 0..<1000 { file.log.write(.warning, "can't announce \(index)") }
  file.log.write(.notice, "something else")
  let lines = file.text.split(separator: "\n")
  #expect(lines.count == 5)
  #expect(lines.last?.contains("… and 997 more like it in ") == true)
  #expect(lines.last?.contains("can't announce 999") == true)
}

@Test(arguments: Occurrence.Kind.allCases)
func `kinds are words of lower-case letters`(kind: Occurrence.Kind) {
  #expect(kind.rawValue.allSatisfy { $0 == "-" || ("a"..."z").contains($0) })
}
