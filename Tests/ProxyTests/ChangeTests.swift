import Glibc
import Linux
import Synchronization
import Testing
import Wire

@testable import Proxy

/// Services that come, change and go while connections are open.
@Suite(.serialized)
struct ChangeTests {
  @Test func `A service that did not change is not touched`() throws {
    let backend = try TestBackend.echo()
    let proxy = try TestProxy(backend)
    let client = try proxy.client()
    client.send("one")
    #expect(client.text(3) == "one")
    let before = proxy.engine.state.withLock { $0.places[0].current }
    proxy.engine.apply(try proxy.engine.prepare([proxy.service]))
    #expect(proxy.engine.state.withLock { $0.places[0].current } == before)
    client.send("two")
    #expect(client.text(3) == "two")
  }

  @Test func `A connection stays with its backend when the backend is taken out of the configuration`() throws {
    let (old, new) = (try Self.naming("old"), try Self.naming("new"))
    let proxy = try TestProxy(old)
    let client = try proxy.client()
    #expect(client.text(3) == "old")
    var service = try #require(proxy.service)
    service.backends = [.init(name: "new", address: TestSocket.loopback4, port: new.port)]
    proxy.engine.apply(try proxy.engine.prepare([service]))
    #expect(eventually { (try? proxy.client())?.text(3) == "new" })
    client.send("still?")
    #expect(client.text(6) == "still?")
    #expect(proxy.sum.connections > 0)
    client.end()
    #expect(client.ending == .end)
    // Its edition is over then, and its slot is free; what it counted stays.
    #expect(
      eventually {
        _ = proxy.engine.snapshot(); return proxy.engine.state.withLock { $0.places[0].earlier.isEmpty }
      })
    #expect(proxy.sum.accepted >= 2)
  }

  @Test func `No connect fails while a service changes over and over`() throws {
    let backend = try Self.naming("x")
    let proxy = try TestProxy(backend)
    let isOver = Mutex(false)
    let tally = Mutex((good: 0, bad: 0))
    let clients = try Thread.start(named: "clients", stackSize: 1 << 18) {
      while !isOver.withLock({ $0 }) {
        let answer = (try? proxy.client())?.text(1)
        tally.withLock { if answer == "x" { $0.good += 1 } else { $0.bad += 1 } }
      }
    }
    var service = try #require(proxy.service)
    for round in 0..<200 as Range<Int> {
      service.timeouts.idle = .seconds(100 + round)
      proxy.engine.apply(try proxy.engine.prepare([service]))
      usleep(2000)
    }
    isOver.withLock { $0 = true }
    clients.join()
    #expect(tally.withLock { $0.bad } == 0)
    #expect(tally.withLock { $0.good } > 0)
    #expect(
      eventually {
        _ = proxy.engine.snapshot(); return proxy.engine.state.withLock { $0.places[0].earlier.isEmpty }
      })
    #expect(proxy.engine.state.withLock { $0.editions.count } < 150, "slots are used again")
  }

  @Test func `A new service is served, and one that goes frees its port`() throws {
    let (first, second) = (try Self.naming("1"), try Self.naming("2"))
    let proxy = try TestProxy(first)
    let service = try #require(proxy.service)
    let port = TestSocket.listen().port
    let added = ProxyService(
      name: "added", listen: [.init(TestSocket.loopback4, port: port)],
      backends: [.init(name: "b", address: TestSocket.loopback4, port: second.port)])
    proxy.engine.apply(try proxy.engine.prepare([service, added]))
    #expect(eventually { TestSocket.connect(port: port)?.text(1) == "2" })
    #expect(try proxy.client().text(1) == "1")
    #expect(proxy.engine.snapshot().map(\.name) == ["test", "added"])

    let drained = Mutex(false)
    proxy.engine.closeConnections([1], within: .zero) { drained.withLock { $0 = true } }
    #expect(eventually { drained.withLock { $0 } })
    proxy.engine.remove(1, ifStill: added)
    #expect(eventually { TestSocket.connect(port: port) == nil })
    #expect(try proxy.client().text(1) == "1")
    #expect(proxy.engine.snapshot().map(\.name) == ["test", ""])

    // The empty place is used again, at the same port.
    proxy.engine.apply(try proxy.engine.prepare([service, added]))
    #expect(eventually { TestSocket.connect(port: port)?.text(1) == "2" })
  }

  @Test func `A port that is taken leaves everything as it was`() throws {
    let backend = try Self.naming("x")
    let proxy = try TestProxy(backend)
    let taken = TestSocket.listen()
    var service = try #require(proxy.service)
    service.listen.append(.init(TestSocket.loopback4, port: taken.port))
    #expect(throws: ProxyError.self) { _ = try proxy.engine.prepare([service]) }
    #expect(try proxy.client().text(1) == "x")
    #expect(proxy.service?.listen.count == 2)
  }

  @Test func `A service that gets another name goes on at its port`() throws {
    let backend = try Self.naming("x")
    let proxy = try TestProxy(backend)
    let old = try #require(proxy.service)
    var renamed = old
    renamed.name = "renamed"
    proxy.engine.apply(try proxy.engine.prepare([nil, renamed]))
    proxy.engine.remove(0, ifStill: old)
    #expect(eventually { (try? proxy.client())?.text(1) == "x" })
    #expect(proxy.engine.snapshot().map(\.name) == ["", "renamed"])
  }

  @Test func `A place that is added is listened on, one that is left out is not`() throws {
    let backend = try Self.naming("x")
    let proxy = try TestProxy(backend)
    let client = try proxy.client()
    #expect(client.text(1) == "x")
    var service = try #require(proxy.service)
    let port = TestSocket.listen().port
    service.listen = [.init(TestSocket.loopback4, port: port)]
    proxy.engine.apply(try proxy.engine.prepare([service]))
    #expect(eventually { TestSocket.connect(port: port)?.text(1) == "x" })
    #expect(eventually { TestSocket.connect(port: proxy.port) == nil })
    client.send("on")
    #expect(client.text(2) == "on")
  }

  @Test func `A drain that goes on covers the edition that comes meanwhile`() throws {
    let backend = try Self.naming("x")
    let proxy = try TestProxy(backend)
    let busy = try proxy.client()
    #expect(busy.text(1) == "x")
    busy.send("?")
    #expect(busy.text(1) == "?")
    let drained = Mutex(false)
    proxy.engine.closeConnections([0], within: .milliseconds(300)) { drained.withLock { $0 = true } }
    var service = try #require(proxy.service)
    service.retries = 5
    proxy.engine.apply(try proxy.engine.prepare([service]))
    #expect(eventually { drained.withLock { $0 } })
    #expect(eventually { proxy.sum.connections == 0 })
    // Served again: by the new edition.
    proxy.engine.resume([0])
    #expect(eventually { (try? proxy.client())?.text(1) == "x" })
  }

  /// A backend that says its name and then echoes.
  private static func naming(_ name: String) throws -> TestBackend {
    try TestBackend { connection in
      connection.send(name)
      var piece = [UInt8](repeating: 0, count: 4096)
      while true {
        let got = recv(connection.descriptor, &piece, piece.count, 0)
        if got <= 0 { break }
        connection.send(Array(piece[..<got]))
      }
      connection.end()
    }
  }
}

extension TestProxy {
  var service: ProxyService? { engine.state.withLock { $0.service(0) } }
}
