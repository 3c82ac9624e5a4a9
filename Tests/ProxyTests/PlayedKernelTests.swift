import Balancing
import Basis
import CLinux
import Linux
import Testing
import Wire

@testable import Proxy

/// A worker on a played kernel, with one service and its listener.
final class Stage {
  let kernel = PlayedKernel()
  let listener: Int32
  let edition: Edition
  let mail: Mail
  var worker: Worker<ScriptedIO>

  init(
    backends: Int = 2, limit: Int = 100, options: ProxyOptions = ProxyOptions(),
    timeouts: ProxyService.Timeouts = .init()
  ) throws {
    let local = IPAddress.v4(IPv4Address(127, 0, 0, 1))
    let service = ProxyService(
      name: "played", listen: [.init(local, port: 80)],
      backends: (0..<backends).map { .init(name: "b\($0)", address: local, port: UInt16(8000 + $0)) },
      policy: .roundRobin,
      maximumConnections: limit, timeouts: timeouts)
    listener = kernel.listener()
    edition = Edition(service, workers: 1)
    mail = try Mail()
    let plan = WorkerPlan(
      editions: [edition], listeners: [Listener(descriptor: listener, service: 0, place: service.listen[0])],
      options: options, capacity: 64, number: 0)
    var worker = try Worker(
      io: ScriptedIO(kernel: kernel), plan: plan, pulse: Pulse(), occupancy: Occupancy(bound: 64), mail: mail)
    try worker.listen()
    self.worker = worker
  }

  func turn(_ times: Int = 1) { for _ in 0..<times { worker.turn() } }

  func pass(milliseconds: Int64) {
    kernel.clock += milliseconds * 1_000_000
    worker.turn()
  }

  /// A client whose connection to a backend is established.
  func connected(_ bytes: [UInt8] = []) -> (client: Int32, backend: Int32) {
    let client = kernel.client(bytes)
    turn()
    let backend = kernel.backends.last ?? -1
    kernel.connected(backend)
    turn()
    return (client, backend)
  }

  var sum: ServiceSnapshot {
    var sum = ServiceSnapshot(name: "", backends: ["b0", "b1"].map { .init(name: $0, usable: true, weight: 1) })
    edition.add(to: &sum)
    return sum
  }
}

struct PlayedKernelTests {
  @Test func `Bytes go both ways and ends are passed on after them`() throws {
    let stage = try Stage()
    let (client, backend) = stage.connected([1, 2, 3])
    #expect(stage.kernel.sockets[backend]?.sent == [1, 2, 3])
    stage.kernel.end(client)
    stage.turn()
    #expect(stage.kernel.sockets[backend]?.endWasPassed == true)
    stage.kernel.deliver([4, 5], to: backend)
    stage.kernel.end(backend)
    stage.turn()
    #expect(stage.kernel.sockets[client]?.sent == [4, 5])
    #expect(stage.kernel.openSockets == [])
    #expect(stage.kernel.sockets[client]?.wasAborted == false)
    #expect(stage.kernel.complaints == [])
  }

  @Test func `A receiver that takes three bytes at a time gets all of them, in order`() throws {
    let stage = try Stage()
    let bytes = (0..<20_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    let (client, backend) = stage.connected()
    stage.kernel.makeRoom(0, on: backend)
    stage.kernel.deliver(bytes, to: client)
    stage.kernel.end(client)
    stage.turn()
    #expect(stage.kernel.sockets[backend]?.endWasPassed == false)
    while stage.kernel.sockets[backend]?.sent.count ?? 0 < bytes.count {
      stage.kernel.makeRoom(3, on: backend)
      let before = stage.kernel.sockets[backend]?.sent.count ?? 0
      stage.turn()
      guard stage.kernel.sockets[backend]?.sent.count ?? 0 > before else { Issue.record("stuck at \(before)"); return }
    }
    stage.turn()
    #expect(stage.kernel.sockets[backend]?.sent == bytes)
    #expect(stage.kernel.sockets[backend]?.endWasPassed == true)
    #expect(stage.kernel.complaints == [])
  }

  @Test func `While a receiver is blocked its sender is not read: what is kept stays bounded`() throws {
    let stage = try Stage()
    let (client, backend) = stage.connected()
    stage.kernel.makeRoom(0, on: backend)
    for _ in 0..<20 {
      stage.kernel.deliver([UInt8](repeating: 7, count: 100_000), to: client)
      stage.turn()
    }
    let unread = stage.kernel.sockets[client]?.incoming.count ?? 0
    #expect(2_000_000 - unread <= BufferPool.largeBytes)
    #expect(stage.worker.halves.pointee.flags.contains(.unread))
  }

  @Test func `When large buffers have run out, a connection keeps four kilobytes and still loses nothing`() throws {
    let stage = try Stage(options: ProxyOptions(bufferBytes: 0))
    let (client, backend) = stage.connected()
    stage.kernel.makeRoom(0, on: backend)
    let bytes = (0..<50_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    stage.kernel.deliver(bytes, to: client)
    stage.turn()
    #expect(bytes.count - (stage.kernel.sockets[client]?.incoming.count ?? 0) <= BufferPool.smallBytes)
    stage.kernel.makeRoom(.max, on: backend)
    stage.turn(20)
    #expect(stage.kernel.sockets[backend]?.sent == bytes)
  }

  @Test func `A refused attempt moves to another backend, and events of the old socket mean nothing`() throws {
    let stage = try Stage()
    let client = stage.kernel.client([9])
    stage.turn()
    let first = stage.kernel.backends[0]
    stage.kernel.refused(first)
    stage.turn()
    #expect(stage.kernel.backends.count == 2)
    stage.kernel.connected(stage.kernel.backends[1])
    stage.turn()
    #expect(stage.kernel.sockets[stage.kernel.backends[1]]?.sent == [9])
    #expect(stage.kernel.openSockets == [client, stage.kernel.backends[1]])
    let sum = stage.sum
    #expect(sum.backends[0].failedConnects == 1)
    #expect(sum.backends[1].retries == 1)
    #expect(sum.backends[1].total == 1)
    #expect(stage.kernel.complaints == [])
  }

  @Test func `Errors of connect itself count as attempts, and the client is reset after the last`() throws {
    let stage = try Stage()
    stage.kernel.connectResults = [-ENETUNREACH, -EADDRNOTAVAIL, -ENETUNREACH]
    let client = stage.kernel.client()
    stage.turn()
    // Both backends were tried; the third attempt waits for a second chance.
    stage.pass(milliseconds: 150)
    #expect(stage.kernel.sockets[client]?.wasAborted == true)
    #expect(stage.sum.unreachable == 1)
    #expect(stage.sum.connections == 0)
    #expect(stage.kernel.openSockets == [])
  }

  @Test func `An attempt that nobody answers times out and moves on`() throws {
    let stage = try Stage(timeouts: .init(connect: .milliseconds(500)))
    _ = stage.kernel.client()
    stage.turn()
    stage.pass(milliseconds: 499)
    #expect(stage.kernel.backends.count == 1)
    stage.pass(milliseconds: 10)
    #expect(stage.kernel.backends.count == 2)
    #expect(stage.sum.backends[0].failedConnects == 1)
  }

  @Test func `With the table of descriptors full, waiting clients are reset and the loop does not spin`() throws {
    let stage = try Stage()
    let refused = stage.kernel.open()
    // The table is full; closing the spare one lets one through.
    stage.kernel.waitingClients = [-EMFILE, refused, -EAGAIN]
    stage.turn()
    #expect(stage.kernel.sockets[refused]?.wasAborted == true)
    #expect(stage.sum.refusedAtLimit == 1)
    // Even the spare one cannot be had again: the listener rests.
    stage.kernel.sparesLeft = 0
    let other = stage.kernel.open()
    stage.kernel.waitingClients = [-EMFILE, other, -EMFILE, -EMFILE]
    stage.turn(2)
    #expect(stage.kernel.sockets[stage.listener]?.isPaused == true)
    stage.kernel.sparesLeft = .max
    stage.kernel.waitingClients = []
    stage.pass(milliseconds: 30)
    #expect(stage.kernel.sockets[stage.listener]?.isPaused == false)
  }

  @Test func `Short of memory for accept, the listener rests instead of spinning`() throws {
    let stage = try Stage()
    stage.kernel.waitingClients = [-ENOBUFS, -ENOBUFS]
    stage.turn()
    #expect(stage.kernel.sockets[stage.listener]?.isPaused == true)
    stage.kernel.waitingClients = []
    let client = stage.kernel.client([1])
    stage.turn()
    #expect(stage.kernel.backends == [])
    stage.pass(milliseconds: 25)
    stage.turn()
    #expect(stage.kernel.backends.count == 1)
    #expect(stage.kernel.openSockets.contains(client))
  }

  @Test func `Without a descriptor for the backend the client is reset and counted at the limit`() throws {
    let stage = try Stage()
    stage.kernel.streamResults = [-EMFILE]
    let client = stage.kernel.client()
    stage.turn()
    #expect(stage.kernel.sockets[client]?.wasAborted == true)
    #expect(stage.sum.refusedAtLimit == 1)
    #expect(stage.sum.backends.allSatisfy { $0.connections == 0 })
  }

  @Test func `Short of memory in the middle, bytes wait for the clock and nothing is lost`() throws {
    let stage = try Stage()
    let (client, backend) = stage.connected()
    stage.kernel.sendFaults = [-ENOBUFS]
    stage.kernel.deliver([1, 2, 3], to: client)
    stage.turn()
    #expect(stage.kernel.sockets[backend]?.sent == [])
    stage.pass(milliseconds: 12)
    #expect(stage.kernel.sockets[backend]?.sent == [1, 2, 3])
    stage.kernel.receiveFaults = [-ENOMEM]
    stage.kernel.deliver([4], to: client)
    stage.turn()
    stage.pass(milliseconds: 12)
    #expect(stage.kernel.sockets[backend]?.sent == [1, 2, 3, 4])
    #expect(stage.kernel.openSockets == [client, backend])
  }

  @Test func `A reset is passed on as a reset, after the bytes before it`() throws {
    let stage = try Stage()
    let (client, backend) = stage.connected()
    stage.kernel.deliver([8, 8], to: backend)
    stage.kernel.reset(backend)
    stage.turn()
    #expect(stage.kernel.sockets[client]?.sent == [8, 8])
    #expect(stage.kernel.sockets[client]?.wasAborted == true)
    #expect(stage.sum.backends.map(\.resets).reduce(0, +) == 1)
    let second = stage.connected()
    stage.kernel.reset(second.client)
    stage.turn()
    #expect(stage.kernel.sockets[second.backend]?.wasAborted == true)
    #expect(stage.sum.clientResets == 1)
    #expect(stage.kernel.complaints == [])
  }

  @Test func `One connection with endless bytes does not keep others from their turn`() throws {
    let stage = try Stage()
    let greedy = stage.connected()
    let modest = stage.connected()
    stage.kernel.deliver([UInt8](repeating: 1, count: 4 << 20), to: greedy.client)
    stage.kernel.deliver([2], to: modest.client)
    stage.turn()
    #expect(stage.kernel.sockets[modest.backend]?.sent == [2])
    #expect(stage.kernel.sockets[greedy.client]?.incoming.isEmpty == false)
    stage.turn(40)
    #expect(stage.kernel.sockets[greedy.backend]?.sent.count == 4 << 20)
    // With work left over, the loop did not wait.
    #expect(stage.kernel.waits.contains(0))
  }

  @Test func `Without pipes bulk is copied`() throws {
    let stage = try Stage(options: ProxyOptions(pipes: 4))
    stage.kernel.pipeFaults = [Int32](repeating: -EMFILE, count: 1000)
    let (client, backend) = stage.connected()
    let bytes = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 &* 13) }
    stage.kernel.deliver(bytes, to: client)
    stage.turn(30)
    #expect(stage.kernel.sockets[backend]?.sent == bytes)
  }

  @Test func `At rest a connection is closed by the idle time-out, half-closed it is reset sooner`() throws {
    let stage = try Stage(timeouts: .init(idle: .seconds(60), halfClosed: .seconds(5)))
    let resting = stage.connected([1])
    stage.pass(milliseconds: 30_000)
    stage.kernel.deliver([2], to: resting.client)
    stage.turn()
    stage.pass(milliseconds: 59_000)
    #expect(stage.kernel.openSockets.contains(resting.client))
    stage.pass(milliseconds: 2_000)
    #expect(stage.kernel.openSockets == [])
    #expect(stage.kernel.sockets[resting.client]?.wasAborted == false)
    let half = stage.connected()
    stage.kernel.end(half.client)
    stage.turn()
    stage.pass(milliseconds: 6_000)
    #expect(stage.kernel.sockets[half.backend]?.wasAborted == true)
    #expect(stage.sum.timedOut == 2)
  }

  @Test func `At its bound the service resets further clients and serves again below it`() throws {
    let stage = try Stage(limit: 2)
    let first = stage.connected()
    _ = stage.connected()
    let third = stage.kernel.client()
    stage.turn()
    #expect(stage.kernel.sockets[third]?.wasAborted == true)
    #expect(stage.sum.refusedAtLimit == 1)
    stage.kernel.reset(first.client)
    stage.turn()
    let fourth = stage.connected([5])
    #expect(stage.kernel.sockets[fourth.backend]?.sent == [5])
  }

  @Test func `With no usable backend clients are reset at once`() throws {
    let stage = try Stage(backends: 1)
    stage.mail.send(.setBackend(service: 0, backend: 0, usable: false, weight: 1))
    stage.worker.readMail()
    let client = stage.kernel.client()
    stage.turn()
    #expect(stage.kernel.sockets[client]?.wasAborted == true)
    #expect(stage.sum.noBackend == 1)
  }
}
