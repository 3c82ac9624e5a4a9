import CLinux
import Basis
import Glibc
import Health
import Linux
import Synchronization
import Wire

@testable import Prober

let loopback = IPAddress.v4(IPv4Address(127, 0, 0, 1))

/// Results as they come, for a test that waits for them.
final class Results: Sendable {
  struct Entry: Sendable {
    var index: Int
    var number: UInt64
    var result: CheckResult
  }

  private let entries = Mutex<[Entry]>([])

  var all: [Entry] { entries.withLock { $0 } }

  var report: Prober.Report {
    { [self] index, number, result in
      entries.withLock { $0.append(Entry(index: index, number: number, result: result)) }
    }
  }

  /// The first that carries the number, within half a minute.
  func result(_ number: UInt64) -> CheckResult? {
    var found: CheckResult?
    _ = eventually {
      found = all.first { $0.number == number }?.result
      return found != nil
    }
    return found
  }
}

func eventually(_ condition: () -> Bool) -> Bool {
  for _ in 0..<6000 {
    if condition() { return true }
    usleep(5_000)
  }
  return false
}

/// One probe of one target.
func check(_ target: CheckTarget) throws -> CheckResult? {
  let results = Results()
  let prober = try Prober([target], report: results.report)
  defer { prober.stop() }
  prober.probe(0, number: 7)
  return results.result(7)
}

func http(
  _ port: UInt16, _ path: String = "/", host: String? = nil, statuses: [ClosedRange<Int>] = [200...399],
  contains: String? = nil, timeout: Duration = .seconds(10), address: IPAddress = loopback
) -> CheckTarget {
  CheckTarget(
    address: address, port: port, check: .http(path: path, host: host, statuses: statuses, contains: contains),
    timeout: timeout)
}

/// A server on loopback that does to each connection what the test says, on a thread of its own.
final class RawServer: Sendable {
  let port: UInt16
  private let listener: Int32
  private let thread: Linux.Thread

  init(backlog: Int32 = 64, _ serve: @escaping @Sendable (Int32) -> Void) throws {
    let (listener, port) = try listening(backlog: backlog)
    self.listener = listener
    self.port = port
    thread = try Linux.Thread.start(named: "raw-server") {
      while true {
        let client = accept(listener, nil, nil)
        guard client >= 0 else { return }
        serve(client)
        close(client)
      }
    }
  }

  /// Wakes the accept, and waits.
  func stop() {
    shutdown(listener, Int32(SHUT_RDWR))
    thread.join()
    close(listener)
  }
}

func listening(backlog: Int32 = 64) throws -> (descriptor: Int32, port: UInt16) {
  let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
  var length = socklen_t(MemoryLayout<sockaddr_in>.size)
  try withUnsafeMutablePointer(to: &address) { pointer in
    try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
      try SystemError.check("bind") { bind(listener, raw, length) }
      try SystemError.check("listen") { listen(listener, backlog) }
      try SystemError.check("getsockname") { getsockname(listener, raw, &length) }
    }
  }
  return (listener, UInt16(bigEndian: address.sin_port))
}

func readSome(_ client: Int32) {
  var buffer = [UInt8](repeating: 0, count: 4096)
  recv(client, &buffer, buffer.count, 0)
}

/// False when the client is gone.
@discardableResult func write(_ client: Int32, _ text: String) -> Bool {
  let bytes = Array(text.utf8)
  var sent = 0
  while sent < bytes.count {
    let result = bytes.withUnsafeBytes {
      send(client, $0.baseAddress.map { $0 + sent }, bytes.count - sent, Int32(MSG_NOSIGNAL))
    }
    if result <= 0 { return false }
    sent += result
  }
  return true
}

/// Until the client ends the connection, so that the server's own close is not what the prober sees.
func waitForEnd(_ client: Int32) {
  var buffer = [UInt8](repeating: 0, count: 4096)
  while recv(client, &buffer, buffer.count, 0) > 0 {}
}
