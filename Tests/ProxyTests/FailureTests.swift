import Glibc
import Linux
import Testing
import Wire

@testable import Proxy

/// Backends that cannot be reached, bounds that are reached, and time running out.
@Suite(.serialized)
struct FailureTests {
  @Test func `A backend that refuses costs the client nothing while another takes over`() throws {
    let alive = try TestBackend.echo()
    let proxy = try TestProxy(
      [(TestSocket.loopback4, TestBackend.refusing()), (TestSocket.loopback4, alive.port)], workers: 1)
    for _ in 0..<4 {
      let client = try proxy.client()
      client.send("x")
      #expect(client.text(1) == "x")
    }
    #expect(proxy.sum.backends[0].failedConnects >= 1)
    #expect(proxy.sum.backends[1].retries == proxy.sum.backends[0].failedConnects)
    #expect(proxy.sum.backends[1].total == 4)
  }

  @Test func `A backend that swallows SYNs costs one connect time-out`() throws {
    let full = FullBacklog()
    let alive = try TestBackend.echo()
    let proxy = try TestProxy([(TestSocket.loopback4, full.port), (TestSocket.loopback4, alive.port)], workers: 1) {
      $0.timeouts.connect = .milliseconds(200)
    }
    for _ in 0..<2 {
      let client = try proxy.client()
      client.send("x")
      #expect(client.text(1) == "x")
    }
    #expect(proxy.sum.backends[0].failedConnects == 1)
  }

  @Test func `When every attempt fails the client is reset, and so it is when no backend is usable`() throws {
    let proxy = try TestProxy([(TestSocket.loopback4, TestBackend.refusing())])
    #expect(try proxy.client().ending == .reset)
    #expect(eventually { proxy.sum.unreachable == 1 })
    #expect(proxy.sum.backends[0].failedConnects == 3)
    proxy.engine.setBackend(service: 0, backend: 0, usable: false, weight: 100)
    #expect(
      eventually {
        _ = TestSocket.connect(port: proxy.port)?.ending
        return proxy.sum.noBackend > 0
      })
  }

  @Test func `A backend taken out gets no new connections and keeps those it has`() throws {
    let (first, second) = (try TestBackend.echo(), try TestBackend.echo())
    let proxy = try TestProxy(first, second, workers: 1)
    let kept = try proxy.client()
    kept.send("a")
    #expect(kept.text(1) == "a")
    #expect(proxy.sum.backends[0].connections == 1)
    proxy.engine.setBackend(service: 0, backend: 0, usable: false, weight: 100)
    // Commands and connections come by different ways; the counter tells when it has arrived.
    #expect(
      eventually {
        let before = proxy.sum.backends[0].total
        for _ in 0..<4 { _ = try? proxy.client() }
        usleep(20_000)
        return proxy.sum.backends[0].total == before
      })
    kept.send("b")
    #expect(kept.text(1) == "b")
    proxy.engine.setBackend(service: 0, backend: 0, usable: true, weight: 100)
    let before = proxy.sum.backends[0].total
    #expect(
      eventually {
        _ = try? proxy.client()
        return proxy.sum.backends[0].total > before
      })
  }

  @Test func `At its bound a service resets at once, over all workers, and serves again below it`() throws {
    let backend = try TestBackend.echo()
    let proxy = try TestProxy(backend) { $0.maximumConnections = 5 }
    var clients = try (0..<5).map { _ in try proxy.client() }
    for client in clients {
      client.send("x")
      #expect(client.text(1) == "x")
    }
    for _ in 0..<10 { #expect(try proxy.client().ending == .reset) }
    #expect(proxy.sum.refusedAtLimit == 10)
    clients.removeLast().reset()
    #expect(eventually { proxy.sum.connections == 4 })
    let next = try proxy.client()
    next.send("y")
    #expect(next.text(1) == "y")
  }

  @Test func `A connection at rest ends after the idle time-out, a half-closed one is reset sooner`() throws {
    let backend = try TestBackend { connection in
      // Answers, and never ends its direction by itself.
      while true {
        let got = connection.receive(1)
        if got.isEmpty { break }
        connection.send(got)
      }
      while connection.isWritable(within: 0) && !connection.isReadable(within: 0) { usleep(5000) }
      usleep(2_000_000)
    }
    let proxy = try TestProxy(backend) { $0.timeouts = .init(idle: .milliseconds(700), halfClosed: .milliseconds(150)) }
    let resting = try proxy.client()
    resting.send("x")
    #expect(resting.text(1) == "x")
    let half = try proxy.client()
    half.send("y")
    #expect(half.text(1) == "y")
    half.end()
    #expect(half.ending == .reset)
    #expect(proxy.sum.timedOut == 1)
    #expect(resting.ending == .end)
    #expect(proxy.sum.timedOut == 2)
  }

  @Test func `Addresses that no interface has are bound all the same`() throws {
    let backend = try TestBackend.echo()
    let proxy = try TestProxy(backend) { service in
      service.listen.append(.init(.v4(IPv4Address(192, 0, 2, 77)), port: service.listen[0].port))
      service.listen.append(.init(.v6(IPv6Address(rawValue: 0x2001_0db8 << 96 | 77)), port: service.listen[0].port))
    }
    #expect(try proxy.client().isWritable(within: 20_000))
  }

  @Test func `A port in use is one clear error, and leaves nothing bound`() throws {
    let taken = TestSocket.listen()
    let free = TestSocket.listen().port
    let service = ProxyService(
      name: "web", listen: [.init(TestSocket.loopback4, port: free), .init(TestSocket.loopback4, port: taken.port)],
      backends: [])
    let error = #expect(throws: ProxyError.self) { try ProxyEngine(services: [service]) }
    #expect(
      error?.description
        == "service web: 127.0.0.1:\(taken.port) is in use by another program; find it with: ss -ltnp 'sport = :\(taken.port)'"
    )
    #expect(TestSocket.connect(port: free) == nil)
  }

  @Test func `Two engines cannot share a port unnoticed`() throws {
    let backend = try TestBackend.echo()
    let proxy = try TestProxy(backend)
    let same = ProxyService(name: "again", listen: [.init(TestSocket.loopback4, port: proxy.port)], backends: [])
    #expect(throws: ProxyError.portInUse(service: "again", address: TestSocket.loopback4, port: proxy.port)) {
      try ProxyEngine(services: [same])
    }
  }

  @Test func `Mistakes in a service are told before anything is bound`() {
    let nowhere = ProxyService(name: "web", listen: [], backends: [])
    #expect(throws: ProxyError.invalid(service: "web", reason: "it listens nowhere; give it an address and a port")) {
      try ProxyEngine(services: [nowhere])
    }
    let unknown = ProxyService(
      name: "web", listen: [.init(TestSocket.loopback4, port: 1)], backends: [], congestionControl: "warp")
    #expect(throws: ProxyError.self) { try ProxyEngine(services: [unknown]) }
  }

  @Test func `Every worker's beat goes on while it rests`() throws {
    let backend = try TestBackend.echo()
    let proxy = try TestProxy(backend)
    #expect(eventually { proxy.engine.beats().allSatisfy { $0 != nil } })
    let before = proxy.engine.beats().compactMap(\.self)
    #expect(before.count == 2)
    #expect(eventually { zip(before, proxy.engine.beats()).allSatisfy { $0 < ($1 ?? $0) } })
  }

  @Test func `Stop resets what is open, frees the port, and may be called twice`() throws {
    let backend = try TestBackend.echo()
    let proxy = try TestProxy(backend)
    let client = try proxy.client()
    client.send("x")
    #expect(client.text(1) == "x")
    proxy.engine.stop()
    #expect(client.ending == .reset)
    #expect(TestSocket.connect(port: proxy.port) == nil)
    proxy.engine.stop()
  }
}

/// A listener whose queue is full: SYNs to it are dropped.
final class FullBacklog {
  private let listener = TestSocket.listen(backlog: 0)
  private var fillers: [TestSocket] = []

  init() {
    // The kernel takes a few more than asked for; one that stays without an answer tells that it is full.
    for _ in 0..<8 {
      guard let filler = TestSocket.connect(port: listener.port, waiting: false) else { continue }
      fillers.append(filler)
      if !filler.isWritable(within: 100) { break }
    }
  }

  var port: UInt16 { listener.port }
}
