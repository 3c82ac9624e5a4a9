import Basis
import Crypto
import Glibc
import Linux
import PeerLink
import Peering
import Testing
import Wire

/// lb2 listens; somebody at lb1's address is not what lb2 expects.
@Suite struct `Who is no good peer` {
  let cluster = Cluster()

  private func listener(_ change: (inout PeerLinkSettings) -> Void = { _ in }) throws -> Node {
    var settings = cluster.settings(2, of: 3)
    change(&settings)
    return try Node(settings)
  }

  private func stranger(_ node: Int = 1, name: String? = nil, secrets: [SecretBytes] = [oldSecret]) throws -> Stranger {
    try Stranger(
      from: cluster.address(node), to: cluster.address(2), port: cluster.port,
      identity: name.map { try TLSIdentity(node: $0, secrets: secrets) })
  }

  private func hello(_ name: String = "lb1", protocols: ClosedRange<UInt8> = 1...1) -> [UInt8] {
    PeerFrame.hello(Hello(node: name, software: "9.9", protocols: protocols, configuration: "x", life: 7)).encoded
  }

  @Test func `Rubbish is not listened to, and the true peer gets in`() throws {
    let two = try listener()
    defer { two.link.stop() }
    var random = SplitMix64(seed: 5)
    for _ in 0..<20 {
      let stranger = try stranger()
      stranger.send((0..<200).map { _ in UInt8(truncatingIfNeeded: random.next()) })
      #expect(stranger.isEnded)
    }
    let one = try Node(cluster.settings(1, of: 3))
    defer { one.link.stop() }
    eventually("up") { one.isUp() && two.isUp() }
  }

  @Test func `An address that is no node's is turned away at once`() throws {
    let two = try listener()
    defer { two.link.stop() }
    #expect(try stranger(77).isEnded)
    // lb3 has the larger name: it listens, it doesn't call.
    #expect(try stranger(3, name: "lb3").isEnded)
    eventually("said") { two.isTold("no node that calls this one") }
  }

  @Test func `A certificate of another cluster is refused`() throws {
    let two = try listener()
    defer { two.link.stop() }
    let stranger = try stranger(name: "lb1", secrets: [newSecret])
    _ = try stranger.shakeHands()
    #expect(stranger.isEnded)
    #expect(!two.isUp())
  }

  @Test(arguments: ["lb3", "lb2", "somebody", "lb1,DNS:lb3"])
  func `A certificate of another node is refused`(_ name: String) throws {
    let two = try listener()
    defer { two.link.stop() }
    let stranger = try stranger(name: name)
    _ = try stranger.shakeHands()
    try stranger.say(hello(name))
    #expect(stranger.isEnded)
    eventually("said") { two.isTold("is no node with the address") }
  }

  @Test func `Who says ever new things can't fill the log`() throws {
    let two = try listener()
    defer { two.link.stop() }
    let began = Clock.now()
    // Each is refused for another reason: a certificate of another cluster, another node's, none, rubbish.
    for round in 0..<40 {
      let kind = round % 4
      let stranger = try stranger(
        name: kind == 0 ? "lb1" : kind == 1 ? "somebody \(round)" : nil, secrets: kind == 0 ? [newSecret] : [oldSecret])
      if kind < 2 { _ = try stranger.shakeHands() } else { stranger.send([UInt8](repeating: UInt8(round), count: 99)) }
      #expect(stranger.isEnded)
    }
    func told() -> Int { two.reports.count { if case .trouble = $0 { true } else { false } } }
    eventually("said") { told() > 0 }
    // Six lines, then one a minute.
    let minutes = Int((Clock.now() - began).nanoseconds / 60_000_000_000)
    #expect(told() <= 8 + minutes)
  }

  @Test func `Whoever holds a connection open and says nothing makes room`() throws {
    let two = try listener {
      $0.limits.unauthenticated = 4
      $0.limits.handshake = .milliseconds(500)
    }
    defer { two.link.stop() }
    let idle = try (0..<40).map { _ in try stranger() }
    // One byte now and then is no more than nothing.
    for stranger in idle.prefix(4) { stranger.send([22]) }
    let one = try Node(cluster.settings(1, of: 3))
    defer { one.link.stop() }
    eventually("up") { one.isUp() && two.isUp() }
    for stranger in idle { #expect(stranger.isEnded) }
  }

  @Test func `A newer node is a peer, whatever else it says`() throws {
    let two = try listener()
    defer { two.link.stop() }
    let newer = try stranger(name: "lb1")
    #expect(try newer.shakeHands() == .finished)
    var longer = hello(protocols: 1...9) + [1, 2, 3]
    longer[3] += 3
    try newer.say(longer + [0, 0, 0, 6, 1, 99, 1, 2, 3, 4] + PeerFrame.message(.taken(vip: "web", move: 3)).encoded)
    eventually("up") { two.isUp() }
    eventually("heard") { two.heard(.taken(vip: "web", move: 3)) }
    #expect(two.link.snapshot()[0].hello?.protocols == 1...9)
    eventually("skipped") { two.link.snapshot()[0].skipped == 1 }
  }

  @Test func `A node with no protocol in common is none`() throws {
    let two = try listener()
    defer { two.link.stop() }
    let other = try stranger(name: "lb1")
    _ = try other.shakeHands()
    try other.say(hello(protocols: 7...9))
    #expect(other.isEnded)
    eventually("said") { two.isTold("it speaks the protocols 7 to 9") }
  }

  @Test(arguments: [
    [255, 255, 255, 255], [0, 0, 0, 0], [0, 0, 0, 4, 1, 16, 0, 9],
    PeerFrame.message(.taken(vip: "web", move: 1)).encoded,
  ])
  func `What makes no sense, or comes before the hello, ends the connection`(_ bytes: [UInt8]) throws {
    let two = try listener()
    defer { two.link.stop() }
    let other = try stranger(name: "lb1")
    _ = try other.shakeHands()
    try other.say(bytes)
    #expect(other.isEnded)
    #expect(!two.isUp() && !two.heard(.taken(vip: "web", move: 1)))
  }

  @Test func `A node calls itself by its certificate's name`() throws {
    let two = try listener()
    defer { two.link.stop() }
    let other = try stranger(name: "lb1")
    _ = try other.shakeHands()
    try other.say(hello("lb3"))
    #expect(other.isEnded)
  }

  @Test func `A peer that has stopped without a word is noticed`() throws {
    let two = try listener { $0.limits.silence = .milliseconds(700) }
    defer { two.link.stop() }
    let silent = try stranger(name: "lb1")
    _ = try silent.shakeHands()
    try silent.say(hello())
    eventually("up") { two.reports.contains { if case .up = $0 { true } else { false } } }
    eventually("down") { two.isTold("silent for") && !two.isUp() }
  }

  @Test func `A peer that connects anew replaces what is left of it`() throws {
    let two = try listener { $0.limits.silence = .seconds(60) }
    defer { two.link.stop() }
    let dead = try stranger(name: "lb1")
    _ = try dead.shakeHands()
    try dead.say(hello())
    eventually("up") { two.isUp() }
    let one = try Node(cluster.settings(1, of: 3))
    defer { one.link.stop() }
    eventually("up anew") { one.isUp() && two.isUp() }
    #expect(two.isTold("connected anew"))
    #expect(dead.isEnded)
  }

  @Test func `A peer that sends without end is read so fast and no faster`() throws {
    let two = try listener {
      $0.limits.bytesPerSecond = 100_000
      $0.limits.burst = 200_000
    }
    defer { two.link.stop() }
    let flooder = try stranger(name: "lb1")
    _ = try flooder.shakeHands()
    try flooder.say(hello())
    let begin = Clock.now()
    // 8 MB, of which the kernel holds what it likes.
    var flags = fcntl(flooder.socket, F_GETFL)
    flags |= O_NONBLOCK
    _ = fcntl(flooder.socket, F_SETFL, flags)
    let piece = (0..<500).flatMap { PeerFrame.message(.prepare(vip: "web", move: $0)).encoded }
    for _ in 0..<600 where try flooder.say(piece) {}
    let three = try Node(cluster.settings(3, of: 3))
    defer { three.link.stop() }
    // Others are served meanwhile.
    eventually("up") { three.isUp(1) && two.isUp(1) }
    let seconds = (Clock.now() - begin).nanoseconds / 1_000_000_000 + 1
    #expect(Int64(two.link.snapshot()[0].bytesIn) <= 200_000 + 100_000 * seconds + 65_536)
  }

  @Test func `A peer that says too much is heard so often and no more`() throws {
    let two = try listener {
      $0.limits.messagesPerSecond = 100
      $0.limits.messageBurst = 200
      $0.limits.silence = .seconds(60)
    }
    defer { two.link.stop() }
    let talker = try stranger(name: "lb1")
    _ = try talker.shakeHands()
    let begin = Clock.now()
    try talker.say(hello())
    let piece = (0..<100).flatMap { PeerFrame.message(.prepare(vip: "web", move: $0)).encoded }
    _ = fcntl(talker.socket, F_SETFL, fcntl(talker.socket, F_GETFL) | O_NONBLOCK)
    // 200,000 messages, of which the kernel holds what it likes.
    for _ in 0..<2000 where try talker.say(piece) {}
    eventually("heard") { two.link.snapshot()[0].messagesIn >= 200 }
    let status = two.link.snapshot()[0]
    let seconds = UInt64((Clock.now() - begin).nanoseconds / 1_000_000_000) + 1
    // What one read brings is taken whole: 64 KiB and a record, in messages of 19 bytes.
    #expect(status.messagesIn <= 200 + 100 * seconds + 4400)
    #expect(status.state == .up)
  }

  @Test func `A peer that reads nothing costs so much and no more`() throws {
    let two = try listener { $0.limits.silence = .seconds(60) }
    defer { two.link.stop() }
    let deaf = try stranger(name: "lb1")
    _ = try deaf.shakeHands()
    try deaf.say(hello())
    eventually("up") { two.isUp() }
    let reason = String(repeating: "x", count: 1000)
    eventually("dropped") {
      for move in 0..<500 as Range<UInt64> { two.link.send(.refused(vip: "web", move: move, reason: reason), to: 0) }
      for _ in 0..<50 { two.link.send(.vips([]), to: 0) }
      return two.link.snapshot()[0].dropped > 1000
    }
    #expect(two.isUp())
  }
}
