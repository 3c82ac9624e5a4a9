import Node
import Peering
import Scenario
import VRRP
import Wire

/// A node's process, as far as it concerns anyone outside.
struct Daemon {
  enum State { case absent, starting, running, stalled }

  /// What waits in a stalled daemon's sockets.
  enum Inbound {
    case event(Event)
    case packet(Int)
  }

  var state = State.absent
  /// Counts processes, so that what was meant for an earlier one can be told.
  var life: UInt16 = 0
  /// The entry that wakes it, and for which deadline; any other is out of date.
  var wakeOrder: UInt64 = 0
  var wakeAt = Int64.max
  private(set) var inbox: [Inbound] = []
  /// What its address thread, stalled with it, has not got to: each waits for the step that it was about to take.
  var heldSteps: [Entry] = []
  /// The guardian has ended an ownership that the loop has not heard of.
  var mustLook = false
  /// It stands still as soon as its address thread has read the record for an order, and before it tells the kernel: for that long.
  var stallsAtMessage: Int64?
  /// Out of every election until a person says otherwise.
  var isOnStandby = false
  var startsAgain = false
  /// It took another process's place: until then it hears nothing, and no deadline is kept.
  var silentUntil: Int64 = 0
  var workersAreWell = true
  /// How many faults keep it from being run.
  var stalls = 0
  /// SIGSTOP, by a fault or by the guardian: one SIGCONT ends it, whoever sends it.
  var isStopped = false
  /// Until then the kernel is at a message of its address thread; no signal ends that.
  var messageUntil: Int64 = 0

  /// About what a socket's default receive buffer holds of packets this small; the kernel drops the rest.
  static let inboxLimit = 256

  /// False where the buffer is full and a packet is lost.
  @discardableResult
  mutating func keep(_ inbound: Inbound) -> Bool {
    if case .packet = inbound, inbox.count >= Self.inboxLimit { return false }
    inbox.append(inbound)
    return true
  }

  mutating func takeInbox() -> [Inbound] {
    defer { inbox = [] }
    return inbox
  }
}

/// What lies in a slot until its entry comes up.
enum Job {
  case order(Order)
  case answer(Event)
  case undo(Fault)
  /// Over the peer link of a pair, in that life of it.
  case said(PeerMessage, from: Int, pair: Int, life: UInt32)
  case rogue(Rogue)
}

/// A stranger on the link who speaks VRRP for the first VIP and has no key.
struct Rogue {
  var priority: UInt8
  var until: Int64
  /// An advert every so often, nanoseconds.
  static let pause: Int64 = 10_000_000
  /// Its own address is greater than any node's: it wins every tie.
  static let source = IPAddress.v4(IPv4Address(10, 0, 0, 250))
}

/// Messages on their way: one slot a transmission, however many copies arrive.
struct Packets {
  private struct Packet {
    var message: [UInt8] = []
    var source: IPAddress = .v4(IPv4Address(rawValue: 0))
    var interface: String = ""
    var destination: IPAddress = .v4(IPv4Address(rawValue: 0))
    var copies: Int32 = 0
  }

  private var packets: [Packet] = []
  private var free: [Int] = []

  mutating func put(_ message: [UInt8], from source: IPAddress, interface: String, to destination: IPAddress) -> Int {
    let packet = Packet(message: message, source: source, interface: interface, destination: destination)
    if let slot = free.popLast() {
      packets[slot] = packet
      return slot
    }
    packets.append(packet)
    return packets.count - 1
  }

  mutating func addCopy(_ slot: Int) { packets[slot].copies += 1 }

  /// A copy is done with. Of one that never had a copy too.
  mutating func drop(_ slot: Int) {
    packets[slot].copies -= 1
    if packets[slot].copies <= 0 { free.append(slot) }
  }

  func source(_ slot: Int) -> IPAddress { packets[slot].source }
  func interface(_ slot: Int) -> String { packets[slot].interface }
  func destination(_ slot: Int) -> IPAddress { packets[slot].destination }
  func message(_ slot: Int) -> [UInt8] { packets[slot].message }
}

/// A number that stands for all that happened: equal for equal runs.
struct Trace {
  private(set) var hash: UInt64 = 0xCBF2_9CE4_8422_2325
  /// Events that reached a node.
  private(set) var events = 0

  @inline(__always)
  mutating func add(_ word: UInt64) {
    hash = (hash ^ word) &* 0x0000_0100_0000_01B3
    hash ^= hash >> 29
  }

  @inline(__always)
  mutating func add(_ now: Int64, node: Int, effects: Int) {
    events += 1
    add(UInt64(bitPattern: now))
    add(UInt64(truncatingIfNeeded: node << 16 | effects))
  }
}

/// Keeps what a scenario's expectations are held against. Times are of the run, not yet of the story.
struct Witness {
  private(set) var holdings: [(at: Int64, node: Int, holds: Bool)] = []
  private(set) var twoOwners: [(from: Int64, to: Int64)] = []
  private(set) var backends: [(at: Int64, backend: Int, isUp: Bool)] = []
  private(set) var outOfTurn: [Int64] = []
  private var held: [Bool] = []
  private var since: Int64?

  mutating func look(_ picture: borrowing Picture) {
    if held.isEmpty { held = Array(repeating: false, count: picture.nodes) }
    var rivals = false
    for node in 0..<picture.nodes {
      let holds = picture.holds(node, 0)
      if holds != held[node] {
        held[node] = holds
        holdings.append((picture.now, node, holds))
      }
      for other in 0..<node where holds && held[other] && picture.hearEachOther(node, other) { rivals = true }
    }
    if rivals, since == nil { since = picture.now }
    if !rivals { finish(at: picture.now) }
  }

  mutating func backend(_ backend: Int, isUp: Bool, at now: Int64) { backends.append((now, backend, isUp)) }

  mutating func sentOutOfTurn(at now: Int64) { outOfTurn.append(now) }

  mutating func finish(at now: Int64) {
    if let began = since, now > began { twoOwners.append((began, now)) }
    since = nil
  }

  /// Counted from time zero of the story.
  func observations(from zero: Int64, gaps: [(from: Int64, to: Int64)]) -> Observations {
    func time(_ nanoseconds: Int64) -> Duration { .nanoseconds(nanoseconds - zero) }
    var seen = Observations()
    seen.holdings = holdings.map { .init(at: time($0.at), node: $0.node, holds: $0.holds) }
    seen.twoOwners = twoOwners.map { time($0.from)..<time($0.to) }
    seen.gaps = gaps.map { time($0.from)..<time($0.to) }
    seen.backends = backends.map { .init(at: time($0.at), backend: $0.backend, isUp: $0.isUp) }
    seen.outOfTurn = outOfTurn.map(time)
    return seen
  }
}
