import Basis
import VRRP
import Wire

/// A number that stands for all effects so far, in order: FNV-1a, 64 bits. Two runs that decided alike have the same.
public struct EffectDigest: Sendable, Hashable {
  public private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

  public init() {}

  public mutating func add(_ effect: Effect) {
    switch effect {
    case .transmit(let vip, let message, let destination):
      kind(1, vip)
      number(UInt64(truncatingIfNeeded: message.count))
      for byte in message { add(byte) }
      if case .unicast(let address) = destination { add(address) }
    case .take(let vip, let generation, let lease, let announcing):
      kind(2, vip)
      number(generation)
      number(lease.map { UInt64(bitPattern: $0.nanoseconds) } ?? .max)
      add(announcing ? 1 : 0)
    case .renew(let vip, let generation, let lease):
      kind(3, vip)
      number(generation)
      number(lease.map { UInt64(bitPattern: $0.nanoseconds) } ?? .max)
    case .release(let vip, let generation):
      kind(4, vip)
      number(generation)
    case .announce(let vip, let generation):
      kind(5, vip)
      number(generation)
    case .closeConnections(let vip, let generation, let within):
      kind(6, vip)
      number(generation)
      number(UInt64(bitPattern: within.nanoseconds))
    case .probe(let service, let backend, let probe):
      kind(7, service)
      number(UInt64(truncatingIfNeeded: backend))
      number(probe)
    case .backend(let service, let backend, let state):
      kind(8, service)
      number(UInt64(truncatingIfNeeded: backend))
      text(state.rawValue)
    case .report(let occurrence): add(occurrence)
    case .stopped: kind(10, 0)
    case .askWitnesses(let vip, let round):
      kind(11, vip)
      number(round)
    case .tell(let peer, let message):
      kind(12, peer)
      add { message.record(into: &$0) }
    case .prepare(let vip, let generation):
      kind(13, vip)
      number(generation)
    case .configure(let vip, let settings):
      kind(14, vip)
      add { settings.encode(into: &$0) }
    case .answer(let ticket, let answer):
      kind(15, 0)
      number(ticket)
      add(answer)
    }
  }

  private mutating func add(_ answer: CommandAnswer) {
    switch answer {
    case .done: add(0)
    case .moved(let node, let vacant):
      add(1)
      text(node)
      number(vacant.map { UInt64(bitPattern: $0.nanoseconds) } ?? .max)
    case .refused(let why):
      add(2)
      text(why)
    case .already(let node):
      add(3)
      text(node)
    }
  }

  /// What is rare enough to be made into bytes first.
  private mutating func add(_ encode: (inout [UInt8]) -> Void) {
    var bytes: [UInt8] = []
    encode(&bytes)
    for byte in bytes { add(byte) }
  }

  private mutating func add(_ occurrence: Occurrence) {
    switch occurrence {
    case .became(let state, let vip, let reason):
      kind(20, vip)
      text(state.rawValue)
      text(reason)
    case .notice(let vip, let notice):
      kind(21, vip)
      text(notice.description)
    case .backend(let state, let service, let backend, let message):
      kind(22, service)
      number(UInt64(truncatingIfNeeded: backend))
      text(state.rawValue)
      text(message)
    case .allBackendsDown(let service): kind(23, service)
    case .backendsAgain(let service): kind(24, service)
    case .addressPutBack(let vip): kind(25, vip)
    case .addressRefused(let vip, let code):
      kind(26, vip)
      number(UInt64(bitPattern: Int64(code)))
    case .addressLost(let vip): kind(27, vip)
    case .stopping: kind(28, 0)
    case .tracker(let tracker, let isGood, let message):
      kind(40, tracker)
      add(isGood ? 1 : 0)
      text(message)
    case .trackerDamped(let tracker, let message):
      kind(41, tracker)
      text(message)
    case .trackerCalm(let tracker): kind(42, tracker)
    case .peer(let peer, let isUp):
      kind(43, peer)
      add(isUp ? 1 : 0)
    case .handOver(let vip, let to):
      kind(44, vip)
      text(to)
    case .handedOver(let vip, let to, let vacant):
      kind(45, vip)
      text(to)
      number(vacant.map { UInt64(bitPattern: $0.nanoseconds) } ?? .max)
    case .handOverFailed(let vip, let to, let reason):
      kind(46, vip)
      text(to)
      text(reason)
    case .splitBrain(let vip, let owners, let isHeard):
      kind(49, vip)
      add(isHeard ? 1 : 0)
      for owner in owners { text("\(owner)") }
    case .splitBrainOver(let vip, let lasted):
      kind(50, vip)
      number(UInt64(bitPattern: lasted.nanoseconds))
    case .standby: kind(47, 0)
    case .resumed: kind(48, 0)
    case .revoked(let vip): kind(29, vip)
    case .claimed(let address, let mac, let vip):
      kind(30, vip)
      add(address)
      number(mac.rawValue)
    case .duplicate(let address, let vip):
      kind(31, vip)
      add(address)
    case .preparationFailed(let vip, let timedOut):
      kind(32, vip)
      add(timedOut ? 1 : 0)
    }
  }

  private mutating func kind(_ kind: UInt8, _ index: Int) {
    add(kind)
    number(UInt64(truncatingIfNeeded: index))
  }

  private mutating func add(_ address: IPAddress) {
    switch address {
    case .v4(let v4): number(UInt64(v4.rawValue))
    case .v6(let v6):
      number(UInt64(truncatingIfNeeded: v6.rawValue >> 64))
      number(UInt64(truncatingIfNeeded: v6.rawValue))
    }
  }

  private mutating func text(_ text: String) {
    for byte in text.utf8 { add(byte) }
    add(0)
  }

  private mutating func number(_ number: UInt64) {
    var rest = number
    while rest > 0x7F {
      add(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    add(UInt8(truncatingIfNeeded: rest))
  }

  @inline(__always)
  private mutating func add(_ byte: UInt8) { value = (value ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
}
