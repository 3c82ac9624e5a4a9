import Basis
import CLinux
import Glibc
import Testing
import Wire

@testable import Guardian
@testable import Linux

/// A guardian of the real kind, on two threads of this process, and a child in the daemon's place; the test is loop and address thread.
private final class Vigilance {
  static let address = IPAddress(Stage.vip)!
  let record: OwnershipRecord
  /// What the guardian's process would stop, continue and wait for.
  let daemon: Int32
  let interface = Int32(if_nametoindex("eth0"))
  private let channel: Channel
  private let guardian: Linux.Thread
  private let life: Linux.Thread
  private let mayEnd = Flag()
  let hasEnded = Flag()

  /// Call it on the host whose addresses it is about.
  init() throws {
    record = try OwnershipRecord(capacity: 8)
    let daemon = try spawnSleeper()
    self.daemon = daemon
    let (lifeline, far) = try Lifeline.make(for: daemon)
    let (channel, other) = try Channel.pair()
    self.channel = channel
    let (record, mayEnd, lives, hasEnded) = (record, mayEnd, Flag(), hasEnded)
    life = try Linux.Thread.start(named: "loop") {
      try? record.beginLife()
      lives.set()
      while !mayEnd.isSet { usleep(1000) }
    }
    try #require(eventually { lives.isSet })
    let process = WatchedProcess(
      pid: daemon, handle: Descriptor(owning: try SystemError.check("pidfd_open") { clinux_pidfd_open(daemon) }),
      lifeline: lifeline)
    let shared = try OwnershipRecord(sharing: Descriptor(owning: dup(record.descriptor)))
    let home = try NetworkNamespace.current()
    guardian = try Linux.Thread.start(named: "guardian") {
      do {
        try home.enter()
        let clerk = try Clerk(shared, other, process, isRealtime: false) { farewell, _, _ in farewell.message }
        try clerk.run()
        withExtendedLifetime(far) {}
      } catch {
        Issue.record("the guardian failed: \(error)")
      }
      hasEnded.set()
    }
  }

  /// What the guardian knows is this.
  func charge(_ charge: Charge?) throws {
    if let charge {
      #expect(channel.send(.charge(vip: 0, charge)) == .done && channel.send(.commit(vip: 0)) == .done)
    } else {
      #expect(channel.send(.drop(vip: 0)) == .done)
    }
    // It answers in order, and to what it can't read.
    _ = send(channel.descriptor, "?", 1, Int32(MSG_NOSIGNAL))
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: GuardianMessage.longest, alignment: 8)
    defer { buffer.deallocate() }
    var isRead = false
    _ = eventually {
      _ = channel.receive(buffer) { message, _ in
        if case .success(.trouble(let text)) = message, text.contains("could not be read") { isRead = true }
      }
      return isRead
    }
    #expect(isRead)
  }

  func charge(_ addresses: [IPAddress], on device: Int32? = nil) -> Charge {
    Charge(
      interval: .milliseconds(20), hasServices: false, addresses: addresses, interface: interface,
      devices: device.map { .init(ipv4: $0, ipv6: $0) }, farewells: [])
  }

  func die() {
    mayEnd.set()
    kill(daemon, SIGKILL)
  }

  /// The daemon is dead, and the guardian has nothing more to do.
  func end() {
    die()
    life.join()
    _ = eventually { waitpid(daemon, nil, WNOHANG) == daemon }
    guardian.join()
  }

  static func run(_ body: (Stage, Vigilance) throws -> Void) throws {
    try Stage.run { stage in
      let vigilance = try Vigilance()
      defer { vigilance.end() }
      try body(stage, vigilance)
    }
  }
}

/// A child of this process that does nothing.
func spawnSleeper() throws -> Int32 {
  var child = pid_t()
  var arguments: [UnsafeMutablePointer<CChar>?] = [strdup("sleep"), strdup("1000"), nil]
  defer { for argument in arguments { free(argument) } }
  let code = posix_spawn(&child, "/bin/sleep", nil, nil, &arguments, environ)
  guard code == 0 else { throw SystemError(call: "posix_spawn", code: code, subject: "sleep") }
  return child
}

/// The third field of /proc/PID/stat (proc(5)).
func state(_ pid: Int32) -> UInt8? {
  guard let line = WatchedProcess.read("/proc/\(pid)/stat", capacity: 256) else { return nil }
  return line.lastIndex(of: UInt8(ascii: ")")).map { line[$0 + 2] }
}

/// An ownership that the loop has ended, and addresses that are still there.
@Suite(.serialized, .enabled(if: canMakeNamespaces, needsRoot))
struct LeftoverTests {
  private func put(_ address: String = Stage.vip, on device: String = "eth0") throws {
    try shell("ip address replace \(address)/32 dev \(device)")
  }

  @Test func `what the loop released and nobody removed goes when the daemon dies`() throws {
    try Vigilance.run { stage, world in
      try put()
      world.record.grant(0, generation: 1)
      try world.charge(world.charge([Vigilance.address]))
      world.record.revoke(0, generation: 1)
      world.die()
      #expect(stage.hasNoVIPSoon())
      #expect(eventually { world.hasEnded.isSet })
    }
  }

  @Test func `what the address thread says is gone is no longer the guardian's`() throws {
    try Vigilance.run { stage, world in
      world.record.grant(0, generation: 1)
      try world.charge(world.charge([Vigilance.address]))
      world.record.revoke(0, generation: 1)
      world.record.setGone(0, upTo: 1)
      // Another program's.
      try put()
      world.die()
      #expect(eventually { world.hasEnded.isSet })
      let isThere = try stage.hasVIP()
      #expect(isThere)
    }
  }

  @Test func `in a stall it goes too, and again when the kernel brings it back, until the address thread has spoken`()
    throws
  {
    try Vigilance.run { stage, world in
      try put()
      world.record.grant(0, generation: 1)
      world.record.beat()
      try world.charge(world.charge([Vigilance.address]))
      world.record.revoke(0, generation: 1)
      #expect(stage.hasNoVIPSoon())
      // The loop has lost nothing that it owned.
      #expect(world.record.epoch == 0 && world.record.deposed(0) == nil)
      for _ in 0..<3 {
        try put()
        #expect(stage.hasNoVIPSoon())
      }
      #expect(eventually { state(world.daemon).map { !WatchedProcess.standsStill($0) } ?? false })
      world.record.setGone(0, upTo: 1)
      try put()
      usleep(300_000)
      let isThere = try stage.hasVIP()
      #expect(isThere)
    }
  }

  @Test func `another charge does not make the guardian forget where the addresses still are`() throws {
    try Vigilance.run { stage, world in
      try put("10.9.0.101")
      try put()
      world.record.grant(0, generation: 1)
      try world.charge(world.charge([Vigilance.address, IPAddress("10.9.0.101")!]))
      try world.charge(world.charge([IPAddress("10.9.0.101")!]))
      try world.charge(nil)
      world.record.revoke(0, generation: 1)
      world.die()
      #expect(eventually { world.hasEnded.isSet })
      let left = try shell("ip address show dev eth0")
      #expect(!left.contains(" 10.9.0.100/") && !left.contains(" 10.9.0.101/"))
    }
  }

  @Test func `addresses on the device of a virtual MAC go, and the device is set down`() throws {
    try Vigilance.run { stage, world in
      try shell(
        "ip link add link eth0 name roost.1 address 00:00:5e:00:01:01 type macvlan mode private; ip link set roost.1 up"
      )
      try put(on: "roost.1")
      world.record.grant(0, generation: 1)
      try world.charge(world.charge([Vigilance.address], on: Int32(if_nametoindex("roost.1"))))
      world.die()
      #expect(eventually { world.hasEnded.isSet })
      let left = try shell("ip address show dev roost.1")
      #expect(!left.contains(Stage.vip) && !left.contains("UP"), "\(left)")
    }
  }
}
