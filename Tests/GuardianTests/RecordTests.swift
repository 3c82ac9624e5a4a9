import Basis
import CLinux
import Glibc
import Synchronization
import Testing
import Wire

@testable import Guardian
@testable import Linux

struct RecordTests {
  private func copy(_ record: OwnershipRecord) throws -> OwnershipRecord {
    try OwnershipRecord(sharing: Descriptor(owning: dup(record.descriptor)))
  }

  @Test func `what one process writes the other reads`() throws {
    let ours = try OwnershipRecord(capacity: 1024)
    let theirs = try copy(ours)
    #expect(theirs.capacity == 1024)
    ours.grant(1023, generation: 5)
    #expect(theirs.owner(1023) == 5)
    #expect(theirs.depose(1023) == 5)
    theirs.bumpEpoch()
    #expect(ours.epoch == 1)
    #expect(!ours.holds(1023, generation: 5))
    #expect(ours.deposed(1023) == 5)
    #expect(!theirs.isAcknowledged)
    ours.acknowledge(1023, generation: 5)
    #expect(theirs.isAcknowledged)
    // A new ownership is not touched by the old one's end.
    ours.grant(1023, generation: 6)
    #expect(theirs.owner(1023) == 6)
    #expect(theirs.deposed(1023) == nil)
    #expect(theirs.depose(7) == nil)
  }

  @Test func `what is no record is refused, and a record has one size for ever`() throws {
    let other = clinux_shared_memory("other", 8192)
    #expect(throws: SystemError.self) { try OwnershipRecord(sharing: Descriptor(owning: other)) }
    let record = try OwnershipRecord(capacity: 8)
    #expect(ftruncate(record.descriptor, 0) == -1 && errno == EPERM)
  }

  @Test func `the end of the loop's thread is told at once`() throws {
    let record = try OwnershipRecord(capacity: 1)
    let other = try copy(record)
    let isAlive = Flag()
    let mayEnd = Flag()
    let thread = try Linux.Thread.start(named: "loop") {
      try? record.beginLife()
      isAlive.set()
      while !mayEnd.isSet { usleep(1000) }
    }
    #expect(eventually { isAlive.isSet })
    #expect(other.awaitDeath(until: OwnershipRecord.now() + .milliseconds(20)) == .lives)
    mayEnd.set()
    #expect(other.awaitDeath(until: OwnershipRecord.now() + .seconds(20)) == .died)
    thread.join()
  }

  @Test func `a loop that ends in order is not dead`() throws {
    let record = try OwnershipRecord(capacity: 1)
    let other = try copy(record)
    let thread = try Linux.Thread.start(named: "loop") {
      try? record.beginLife()
      record.endLife()
    }
    thread.join()
    #expect(other.awaitDeath(until: OwnershipRecord.now() + .seconds(20)) == .ended)
  }

  @Test(.enabled(if: canMakeNamespaces, needsRoot))
  func `a thread that never pauses loses its real-time priority, and one that does keeps it`() throws {
    for isRestless in [true, false] {
      let thread = Atomic<Int32>(0)
      let isOver = Flag()
      try withThread(isOver) {
        try? Scheduling.becomeRealtime(priority: 1)
        thread.store(clinux_thread_id(), ordering: .releasing)
        while !isOver.isSet {
          if !isRestless { usleep(1000) }
        }
      } during: {
        #expect(eventually { thread.load(ordering: .acquiring) != 0 })
        let id = thread.load(ordering: .acquiring)
        try #require(clinux_thread_policy(id) == Int32(SCHED_FIFO))
        var watch = SpinWatch(process: getpid(), thread: id)
        if isRestless {
          #expect(
            eventually(within: 120) { watch.look(at: OwnershipRecord.now()).map { $0 > .milliseconds(200) } ?? false })
          #expect(clinux_thread_policy(id) == Int32(SCHED_OTHER))
        } else {
          let end = OwnershipRecord.now() + .seconds(1)
          while OwnershipRecord.now() < end {
            #expect(watch.look(at: OwnershipRecord.now()) == nil)
            usleep(20_000)
          }
          #expect(clinux_thread_policy(id) == Int32(SCHED_FIFO))
        }
      }
    }
  }

  private func withThread(
    _ isOver: Flag, _ body: @escaping @Sendable () -> Void, during: () throws -> Void
  ) throws {
    let thread = try Linux.Thread.start(named: "spinning", body)
    defer {
      isOver.set()
      thread.join()
    }
    try during()
  }
}

/// A thread that was stopped between its decision and its call sends when it goes on: into nothing.
@Suite(.serialized, .enabled(if: canMakeNamespaces, needsRoot))
struct DivertTests {
  @Test(arguments: ["224.0.0.18", "10.9.0.2", "ff02::12", "fe80::2"])
  func `a socket that was turned away reaches nobody, and one that is opened anew does`(destination: String) throws {
    try Stage.run { stage in
      let to = IPAddress(destination)!
      let from = IPAddress(to.family == .ipv4 ? "10.9.0.1" : "fe80::1")!
      let index = Int32(if_nametoindex("eth0"))
      let received = try stage.on(stage.there) {
        try VRRPSocket(interface: "eth0", index: Int32(if_nametoindex("eth0")), family: to.family)
      }
      let socket = try VRRPSocket(interface: "eth0", index: index, family: to.family)
      let sender = try VRRPSocket(sendingOn: index, family: to.family)
      let message: (UInt8) -> [UInt8] = { [0x31, $0, 0, 1, 0, 100, 0, 0, 10, 9, 0, 100] }
      // What the daemon's other descriptor is turned away by is a copy of it.
      let lent = dup(socket.descriptor)
      defer { close(lent) }

      try socket.send(message(1), to: to, from: from)
      try VRRPSocket.divert(lent)
      for _ in 0..<10 { try? socket.send(message(2), to: to, from: from) }
      try sender.send(message(3), to: to, from: from)
      let anew = try VRRPSocket(interface: "eth0", index: index, family: to.family)
      try anew.send(message(4), to: to, from: from)

      var heard: [UInt8] = []
      let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 2048, alignment: 8)
      defer { buffer.deallocate() }
      let isComplete = eventually {
        while let one = try? received.receive(into: buffer) { heard.append(buffer[one.payload.lowerBound + 1]) }
        return heard.count >= 3
      }
      #expect(isComplete)
      #expect(heard == [1, 3, 4])
    }
  }
}
