import Glibc
import Linux
import Synchronization
import Testing
import Wire

@testable import Proxy

/// The engine with real sockets, and with clients and backends that behave badly.
@Suite(.serialized)
struct LoopbackTests {
  @Test(arguments: [(false, false), (false, true), (true, false), (true, true)])
  func `Clients and backends of either family meet`(clientIsV6: Bool, backendIsV6: Bool) throws {
    let address = backendIsV6 ? TestSocket.loopback6 : TestSocket.loopback4
    let backend = try TestBackend.echo(address)
    let proxy = try TestProxy([(address, backend.port)])
    let client = try proxy.client(clientIsV6 ? TestSocket.loopback6 : TestSocket.loopback4)
    client.send("hello")
    #expect(client.text(5) == "hello")
    client.end()
    #expect(client.ending == .end)
    #expect(eventually { proxy.sum.connections == 0 })
    #expect(proxy.sum.backends[0].total == 1)
    #expect(proxy.sum.backends[0].bytesToClient == 5)
  }

  @Test func `128 MiB arrive byte-exact in each direction at once`() throws {
    let total = 128 << 20
    // A prime length, so that a lost or doubled piece shows.
    let pattern = (0..<1_000_003).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> 11) }
    let exact = Mutex(false)
    let backend = try TestBackend { connection in
      _ = try? Thread.start(named: "up", stackSize: 1 << 18) {
        let isExact = Self.matches(connection, pattern, total)
        exact.withLock { $0 = isExact }
      }
      Self.stream(connection, pattern, total)
    }
    let proxy = try TestProxy(backend)
    let client = try proxy.client()
    _ = try Thread.start(named: "down", stackSize: 1 << 18) { Self.stream(client, pattern, total) }
    #expect(Self.matches(client, pattern, total))
    #expect(eventually { exact.withLock { $0 } })
    #expect(eventually { proxy.sum.connections == 0 })
    #expect(proxy.sum.backends[0].bytesToClient == UInt64(total))
    #expect(proxy.sum.backends[0].bytesToBackend == UInt64(total))
  }

  private static func stream(_ socket: TestSocket, _ pattern: [UInt8], _ total: Int) {
    var left = total
    while left > 0 {
      let sent = socket.send(left >= pattern.count ? pattern : Array(pattern[..<left]))
      if sent == 0 { return }
      left -= sent
    }
    socket.end()
  }

  private static func matches(_ socket: TestSocket, _ pattern: [UInt8], _ total: Int) -> Bool {
    var left = total
    while left > 0 {
      let wanted = min(left, pattern.count)
      guard socket.receive(wanted) == (wanted == pattern.count ? pattern : Array(pattern[..<wanted])) else {
        return false
      }
      left -= wanted
    }
    return socket.receive(1).isEmpty
  }

  @Test func `One byte at a time arrives as it was sent`() throws {
    let backend = try TestBackend.echo()
    let proxy = try TestProxy(backend)
    let client = try proxy.client()
    for byte in 0..<500 as Range<Int> {
      client.send([UInt8(truncatingIfNeeded: byte)])
      #expect(client.receive(1) == [UInt8(truncatingIfNeeded: byte)])
    }
  }

  @Test func `A client that ends its direction still gets the answer`() throws {
    let backend = try TestBackend { connection in
      let request = connection.drain()
      connection.send("\(request.bytes.count) bytes, \(request.ending)")
    }
    let proxy = try TestProxy(backend)
    let client = try proxy.client()
    client.send([UInt8](repeating: 1, count: 3000))
    client.end()
    #expect(String(decoding: client.drain().bytes, as: UTF8.self) == "3000 bytes, end")
  }

  @Test func `A backend that ends its direction still gets what the client sends`() throws {
    let got = Mutex<Int?>(nil)
    let backend = try TestBackend { connection in
      connection.send("bye")
      connection.end()
      let rest = connection.drain()
      got.withLock { $0 = rest.ending == .end ? rest.bytes.count : -1 }
    }
    let proxy = try TestProxy(backend)
    let client = try proxy.client()
    #expect(client.drain().ending == .end)
    client.send([UInt8](repeating: 2, count: 70_000))
    client.end()
    #expect(eventually { got.withLock { $0 } == 70_000 })
    #expect(eventually { proxy.sum.connections == 0 })
  }

  @Test func `A backend's reset reaches the client as a reset, behind its last bytes`() throws {
    let backend = try TestBackend { connection in
      _ = connection.receive(1)
      connection.send("partial")
      usleep(50_000)
      connection.reset()
    }
    let proxy = try TestProxy(backend)
    let client = try proxy.client()
    client.send([1])
    let (bytes, ending) = client.drain()
    #expect(String(decoding: bytes, as: UTF8.self) == "partial")
    #expect(ending == .reset)
    #expect(eventually { proxy.sum.backends[0].resets == 1 })
  }

  @Test func `A client's reset reaches the backend as a reset`() throws {
    let seen = Mutex<TestSocket.Ending?>(nil)
    let backend = try TestBackend { connection in
      let ending = connection.ending
      seen.withLock { $0 = ending }
    }
    let proxy = try TestProxy(backend)
    let client = try proxy.client()
    client.send("GET")
    #expect(eventually { proxy.sum.backends[0].bytesToBackend == 3 })
    client.reset()
    #expect(eventually { seen.withLock { $0 } == .reset })
    #expect(eventually { proxy.sum.clientResets == 1 && proxy.sum.connections == 0 })
  }

  @Test func `A client that never reads holds its sender back, and nobody else`() throws {
    let backend = try TestBackend { connection in
      if connection.receive(1) == [1] {
        connection.send([UInt8](repeating: 3, count: 64 << 20))
      } else {
        connection.send("quick")
      }
      connection.end()
    }
    let proxy = try TestProxy(backend, workers: 1)
    let greedy = try proxy.client()
    greedy.send([1])
    #expect(eventually { proxy.sum.backends[0].bytesToClient > 0 })
    var before = proxy.sum.backends[0].bytesToClient
    #expect(
      eventually {
        usleep(200_000)
        defer { before = proxy.sum.backends[0].bytesToClient }
        return before == proxy.sum.backends[0].bytesToClient
      })
    #expect(before < 32 << 20)
    let other = try proxy.client()
    other.send([2])
    #expect(other.text(5) == "quick")
    #expect(greedy.drain().bytes.count == 64 << 20)
  }

  @Test func `A backend that never reads holds its client back, and dying in the middle resets it`() throws {
    let release = Mutex(false)
    let backend = try TestBackend { connection in
      connection.limitBuffers(4096)
      while !release.withLock({ $0 }) { usleep(5000) }
      connection.reset()
    }
    let proxy = try TestProxy(backend)
    let client = try proxy.client()
    let code = Mutex<Int32>(0)
    _ = try Thread.start(named: "push", stackSize: 1 << 18) {
      let sent = client.send([UInt8](repeating: 4, count: 64 << 20))
      let now = errno
      code.withLock { $0 = sent < 64 << 20 ? now : 0 }
    }
    #expect(eventually { proxy.sum.backends[0].bytesToBackend > 0 })
    usleep(300_000)
    release.withLock { $0 = true }
    #expect(eventually { proxy.sum.connections == 0 })
    #expect(eventually { code.withLock { $0 } == ECONNRESET })
    #expect(proxy.sum.backends[0].bytesToBackend < 64 << 20)
  }

  @Test func `Clients that die in the middle of bulk leave nothing behind`() throws {
    let backend = try TestBackend { connection in connection.send([UInt8](repeating: 5, count: 32 << 20)) }
    let proxy = try TestProxy(backend)
    for round in 0..<20 {
      let client = try proxy.client()
      _ = client.receive(1 << (round % 8 + 14))
      if round % 2 == 0 { client.reset() }
    }
    #expect(eventually { proxy.sum.connections == 0 && proxy.sum.backends[0].connections == 0 })
    let client = try proxy.client()
    #expect(client.drain().bytes.count == 32 << 20)
  }

  @Test func `Urgent data does not stop the bytes around it`() throws {
    let backend = try TestBackend.echo()
    let proxy = try TestProxy(backend)
    let client = try proxy.client()
    client.send("before")
    #expect(client.text(6) == "before")
    for _ in 0..<20 {
      var urgent: UInt8 = 33
      Glibc.send(client.descriptor, &urgent, 1, Int32(MSG_OOB))
      client.send("after")
    }
    client.end()
    let all = String(decoding: client.drain().bytes, as: UTF8.self).filter { $0 != "!" }
    #expect(all == String(repeating: "after", count: 20))
  }

  @Test func `Five hundred clients at once, over two workers, are all served and all counted`() throws {
    let backends = (try TestBackend.echo(), try TestBackend.echo())
    let proxy = try TestProxy(backends.0, backends.1)
    let clients = try (0..<500).map { _ in try proxy.client() }
    for (index, client) in clients.enumerated() { client.send("\(index % 10)") }
    for (index, client) in clients.enumerated() { #expect(client.text(1) == "\(index % 10)") }
    #expect(proxy.sum.connections == 500)
    #expect(proxy.sum.backends.map(\.total).reduce(0, +) == 500)
    #expect(proxy.sum.backends.allSatisfy { (248...252).contains($0.total) })
    for client in clients { client.end() }
    #expect(eventually { proxy.sum.connections == 0 })
  }
}
