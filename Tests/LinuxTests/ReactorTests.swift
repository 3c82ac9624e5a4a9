import Basis
import Glibc
import Synchronization
import Testing

@testable import Linux

@Suite struct ReactorTests {
  @Test(arguments: [false, true])
  func `a deadline is acted on, and not before its time`(withTimer: Bool) throws {
    let reactor = try Reactor(batch: 8, forcingTimer: withTimer)
    let due = Clock.now() + .milliseconds(3)
    var acted: Instant?
    try reactor.run(deadline: { due }) {
      acted = $0
      reactor.stop()
    }
    #expect(try #require(acted) >= due)
    #expect(reactor.statistics.deadlines == 1)
  }

  @Test(arguments: [false, true])
  func `a late loop reads what came in time before it acts on the deadline`(withTimer: Bool) throws {
    let reactor = try Reactor(batch: 8, forcingTimer: withTimer)
    let pipe = try Pipe()
    let due = Clock.now() + .milliseconds(1)
    var story: [String] = []
    try reactor.register(pipe.reading, .readable) { _ in
      pipe.readByte()
      story.append("read")
    }
    // The loop is held up in a turn until the deadline is over; meanwhile a byte arrives.
    let waker = try Waker()
    try reactor.register(waker.descriptor, .readable) { _ in
      waker.acknowledge()
      pipe.writeByte()
      usleep(3000)
    }
    waker.wake()
    try reactor.run(deadline: { story.contains("deadline") ? nil : due }) { _ in
      story.append("deadline")
      reactor.stop()
    }
    #expect(story == ["read", "deadline"])
  }

  @Test func `an advert that is drained can move the deadline`() throws {
    let reactor = try Reactor()
    let pipe = try Pipe()
    var due = Clock.now() - .milliseconds(1)
    var acted = 0
    try reactor.register(pipe.reading, .readable) { _ in
      pipe.readByte()
      due = due + .seconds(60)
    }
    pipe.writeByte()
    try reactor.turn(deadline: { due }) { _ in acted += 1 }
    #expect(acted == 0)
  }

  @Test(.timeLimit(.minutes(1)))
  func `what comes while the loop gathers is found by one wake-up, and a deadline ends the pause`() throws {
    let reactor = try Reactor()
    let pipe = try Pipe()
    var reads = 0
    try reactor.register(pipe.reading, .readable) { _ in
      pipe.readByte()
      reads += 1
      reactor.gather(for: .seconds(3600))
    }
    pipe.writeByte()
    try reactor.turn(deadline: { Clock.now() + .seconds(3600) })
    #expect(reads == 1)
    // Level-triggered: the byte waits in the pipe until the pause is over.
    pipe.writeByte()
    let due = Clock.now() + .milliseconds(5)
    var acted = 0
    try reactor.turn(deadline: { due }) { _ in acted += 1 }
    #expect(reads == 2)
    #expect(acted == 1)
    #expect(Clock.now() >= due)
  }

  @Test func `a handler that another one unregistered in the same batch is not called`() throws {
    let reactor = try Reactor()
    let pipes = [try Pipe(), try Pipe()]
    var registrations: [Reactor.Registration] = []
    var calls = 0
    for (index, pipe) in pipes.enumerated() {
      registrations.append(
        try reactor.register(pipe.reading, .readable) { _ in
          calls += 1
          reactor.unregister(registrations[1 - index])
          // Its slot is in use again at once, by a descriptor that is not ready.
          if calls == 1, let pipe = try? Pipe() {
            _ = try? reactor.register(pipe.reading, .readable) { _ in calls += 10 }
          }
        })
      pipe.writeByte()
    }
    try reactor.turn()
    #expect(calls == 1)
  }

  @Test func `an edge is told once, and again after modify`() throws {
    let reactor = try Reactor()
    let pipe = try Pipe()
    var calls = 0
    let registration = try reactor.register(pipe.reading, .readable, edgeTriggered: true) { _ in calls += 1 }
    pipe.writeByte()
    try reactor.turn()
    try reactor.turn(deadline: { Clock.now() })
    #expect(calls == 1)
    try reactor.modify(registration, [.readable, .peerClosed])
    try reactor.turn(deadline: { Clock.now() })
    #expect(calls == 2)
  }

  @Test func `lateness is counted by powers of two microseconds`() {
    var statistics = ReactorStatistics()
    for late in [Duration.nanoseconds(500), .microseconds(1), .microseconds(5), .seconds(60)] {
      statistics.recordLateness(late)
    }
    #expect(statistics.latenessBuckets[0] == 1)  // < 1 µs
    #expect(statistics.latenessBuckets[1] == 1)  // < 2 µs
    #expect(statistics.latenessBuckets[3] == 1)  // < 8 µs
    #expect(statistics.latenessBuckets[23] == 1)
    #expect(statistics.latenessMaximum == .seconds(60))
  }
}

@Suite struct MailboxTests {
  @Test func `what many threads send arrives once, each thread's in order`() throws {
    let mailbox = try Mailbox<(sender: Int, number: Int)>()
    let reactor = try Reactor()
    var received = [[Int]](repeating: [], count: 4)
    try mailbox.attach(to: reactor) { received[$0.sender].append($0.number) }
    let threads = try (0..<4).map { sender in
      try Thread.start(named: "sender \(sender)") {
        for number in 0..<500 { mailbox.send((sender, number)) }
      }
    }
    try reactor.run(onTurn: { _ in if received.allSatisfy({ $0.count == 500 }) { reactor.stop() } })
    for thread in threads { thread.join() }
    #expect(received == [[Int]](repeating: Array(0..<500), count: 4))
  }

  @Test func `a full mailbox refuses and counts`() throws {
    let mailbox = try Mailbox<Int>(capacity: 2)
    #expect([1, 2, 3].map { mailbox.send($0) } == [true, true, false])
    #expect(mailbox.refused == 1)
    var received: [Int] = []
    mailbox.drain { received.append($0) }
    #expect(received == [1, 2])
  }

  @Test func `the receiver may send to itself while it drains`() throws {
    let mailbox = try Mailbox<Int>()
    var received: [Int] = []
    mailbox.send(1)
    for _ in 0..<3 {
      mailbox.drain {
        received.append($0)
        mailbox.send($0 + 1)
      }
    }
    #expect(received == [1, 2, 3])
  }
}

/// A pipe for tests, closed with its last reference.
final class Pipe: Sendable {
  let reading: Int32
  let writing: Int32

  init() throws {
    var ends: [Int32] = [0, 0]
    try SystemError.check("pipe") { pipe(&ends) }
    (reading, writing) = (ends[0], ends[1])
  }

  deinit {
    close(reading)
    close(writing)
  }

  func writeByte() {
    var byte: UInt8 = 0
    _ = write(writing, &byte, 1)
  }

  func readByte() {
    var byte: UInt8 = 0
    _ = read(reading, &byte, 1)
  }
}
