import Glibc
import Linux
import Synchronization
import Testing

@testable import Proxy

/// `closeConnections`, before an address leaves.
@Suite(.serialized)
struct DrainTests {
  final class Flag: Sendable {
    private let value = Mutex(0)
    func raise() { value.withLock { $0 += 1 } }
    var count: Int { value.withLock { $0 } }
    var isUp: Bool { count > 0 }
  }

  @Test func `Connections at rest are ended by FIN, one in the middle of a request gets its answer first`() throws {
    let answer = Flag()
    let backend = try TestBackend { connection in
      while connection.receive(1) == [1] { connection.send("a") }
      while !answer.isUp { usleep(2000) }
      connection.send("late")
      _ = connection.receive(1)
    }
    let proxy = try TestProxy(backend)
    let resting = try (0..<20).map { _ in try proxy.client() }
    for client in resting {
      client.send([1])
      #expect(client.text(1) == "a")
    }
    let busy = try proxy.client()
    busy.send([2])
    #expect(eventually { proxy.sum.backends[0].bytesToBackend == 21 })
    let done = Flag()
    proxy.engine.closeConnections([0], within: .seconds(60)) { done.raise() }
    for client in resting { #expect(client.ending == .end) }
    #expect(!done.isUp)
    #expect(eventually { proxy.sum.connections == 1 })
    answer.raise()
    #expect(busy.text(4) == "late")
    #expect(busy.ending == .end)
    #expect(eventually { done.isUp })
    #expect(proxy.sum.drained == 21)
    #expect(proxy.sum.cut == 0)
    #expect(done.count == 1)
  }

  @Test func `New connections are served until the seal`() throws {
    let hold = Flag()
    let backend = try TestBackend { connection in
      let first = connection.receive(1)
      while first == [2] && !hold.isUp { usleep(2000) }
      connection.send("ok")
      _ = connection.receive(1)
    }
    let proxy = try TestProxy(backend)
    let busy = try proxy.client()
    busy.send([2])
    #expect(eventually { proxy.sum.backends[0].bytesToBackend == 1 })
    let done = Flag()
    proxy.engine.closeConnections([0], within: .seconds(60)) { done.raise() }
    usleep(50_000)
    let late = try proxy.client()
    late.send([1])
    #expect(late.text(2) == "ok")
    hold.raise()
    #expect(busy.text(2) == "ok")
    #expect(eventually { done.isUp })
  }

  @Test(arguments: [0, 150])
  func `At the deadline the rest is reset, so that nobody hangs`(milliseconds: Int) throws {
    let backend = try TestBackend { connection in _ = connection.drain() }
    let proxy = try TestProxy(backend)
    let clients = try (0..<10).map { _ in try proxy.client() }
    for client in clients { client.send([1]) }
    #expect(eventually { proxy.sum.backends[0].bytesToBackend == 10 })
    let done = Flag()
    proxy.engine.closeConnections([0], within: .milliseconds(milliseconds)) { done.raise() }
    for client in clients { #expect(client.ending == .reset) }
    #expect(eventually { done.isUp })
    #expect(proxy.sum.cut == 10)
    #expect(proxy.sum.connections == 0)
  }

  @Test func `After the drain a SYN is neither answered nor refused, and resume serves it when it comes again`() throws
  {
    let backend = try TestBackend.echo()
    let proxy = try TestProxy(backend)
    let done = Flag()
    proxy.engine.closeConnections([0], within: .seconds(60)) { done.raise() }
    #expect(eventually { done.isUp })
    let waiting = TestSocket.connect(port: proxy.port, waiting: false)
    #expect(waiting?.isWritable(within: 300) == false)
    proxy.engine.resume([0])
    // The kernel repeats its SYN after a second.
    #expect(waiting?.isWritable(within: 20_000) == true)
    waiting?.send("x")
    #expect(waiting?.isReadable(within: 20_000) == true)
  }

  @Test func `Resume calls off a drain, which is told once`() throws {
    let backend = try TestBackend.echo()
    let proxy = try TestProxy(backend)
    let client = try proxy.client()
    client.send("x")
    #expect(client.text(1) == "x")
    // Not at a response's boundary: the backend owes an answer that never comes.
    let silent = try TestBackend { connection in _ = connection.drain() }
    let other = try TestProxy(silent)
    let owed = try other.client()
    owed.send("y")
    #expect(eventually { other.sum.backends[0].bytesToBackend == 1 })
    let done = Flag()
    other.engine.closeConnections([0], within: .seconds(60)) { done.raise() }
    usleep(50_000)
    #expect(!done.isUp)
    other.engine.resume([0])
    #expect(eventually { done.isUp })
    #expect(other.sum.connections == 1)
    usleep(50_000)
    #expect(done.count == 1)
  }

  @Test func `Two drains of one service both end`() throws {
    let backend = try TestBackend { connection in _ = connection.drain() }
    let proxy = try TestProxy(backend)
    let client = try proxy.client()
    client.send("x")
    #expect(eventually { proxy.sum.backends[0].bytesToBackend == 1 })
    let (patient, hasty) = (Flag(), Flag())
    proxy.engine.closeConnections([0], within: .seconds(60)) { patient.raise() }
    proxy.engine.closeConnections([0], within: .zero) { hasty.raise() }
    #expect(eventually { patient.isUp && hasty.isUp })
    #expect(client.ending == .reset)
  }

  @Test func `Resuming one of two services lets the drain of the other go on`() throws {
    let backend = try TestBackend { connection in _ = connection.drain() }
    let ports = (TestSocket.listen().port, TestSocket.listen().port)
    let services = [ports.0, ports.1].map { port in
      ProxyService(
        name: "s\(port)", listen: [.init(TestSocket.loopback4, port: port)],
        backends: [.init(name: "b", address: TestSocket.loopback4, port: backend.port)])
    }
    let engine = try ProxyEngine(services: services, options: ProxyOptions(workers: 2, maximumConnections: 100))
    try engine.start()
    defer { engine.stop() }
    guard let kept = TestSocket.connect(port: ports.0), let cut = TestSocket.connect(port: ports.1) else {
      Issue.record("not connected")
      return
    }
    kept.send("x")
    cut.send("x")
    #expect(eventually { engine.snapshot().allSatisfy { $0.backends[0].bytesToBackend == 1 } })
    let done = Flag()
    engine.closeConnections([0, 1], within: .milliseconds(300)) { done.raise() }
    engine.resume([0])
    #expect(cut.ending == .reset)
    #expect(eventually { done.isUp })
    #expect(engine.snapshot().map(\.connections) == [1, 0])
    #expect(TestSocket.connect(port: ports.0) != nil)
  }

  @Test func `Before the start and after the stop a drain is done at once`() throws {
    let service = ProxyService(
      name: "idle", listen: [.init(TestSocket.loopback4, port: TestSocket.listen().port)], backends: [])
    let engine = try ProxyEngine(services: [service])
    let done = Flag()
    engine.closeConnections([0], within: .seconds(60)) { done.raise() }
    #expect(done.count == 1)
    engine.stop()
    engine.closeConnections([0], within: .seconds(60)) { done.raise() }
    #expect(done.count == 2)
  }
}
