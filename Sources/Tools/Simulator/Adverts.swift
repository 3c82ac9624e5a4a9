import Basis
import VRRP
import Wire

/// What goes between `Node` and the wire: each node signs what it sends and judges what it hears, with the code that the daemon
/// uses and a cheaper MAC; and the guardian says farewell with what the daemon said last.
struct Adverts {
  /// By how much each node's wall clock is ahead, nanoseconds.
  var clocks: [Int64]
  /// Strangers can't do anything here, or so it is promised.
  let isPromised: Bool
  /// Why the last one was dropped, for people.
  private(set) var lastDiscard: AuthenticationDiscard?

  private let vips: Int
  private let isOn: Bool
  private var gates: [AdvertGate?] = []
  private var signers: [AdvertSigner?] = []
  private var last: [(message: [UInt8], to: Destination)?]
  private let fresh: (gates: [AdvertGate?], signers: [AdvertSigner?])
  private var ids: [Int]

  /// The wall clock's time at the start of a run, nanoseconds since 1970.
  private static let epoch: Int64 = 1_767_225_600_000_000_000

  init(_ plan: Plan, vips: Int) {
    self.vips = vips
    isOn = plan.authentication != .off
    isPromised = plan.promisesAuthentication
    let nodes = plan.settings.count
    clocks = Array(repeating: 0, count: nodes)
    last = Array(repeating: nil, count: nodes * vips)
    ids = Array(repeating: -1, count: 256)
    var gates: [AdvertGate?] = Array(repeating: nil, count: vips)
    var signers: [AdvertSigner?] = gates.map { _ in nil }
    let key = AuthenticationKey(id: 1, authentication: ToyMAC(key: 0x243F_6A88_85A3_08D3))
    for vip in 0..<vips {
      let number = min(vip, 254)
      guard
        case .vrrp(let router) = Plan.vip(
          number, rank: 0, interval: .nanoseconds(plan.interval), lease: nil, drain: .zero, preempt: true
        ).election
      else { continue }
      ids[Int(router.id)] = vip
      let settings = AuthenticationSettings(
        mode: plan.authentication, keys: [key], freshness: .standard(interval: router.interval))
      gates[vip] = AdvertGate(settings, for: router)
      signers[vip] = AdvertSigner(settings, for: router)
    }
    fresh = (gates, signers)
    guard isOn else { return }
    for _ in 0..<nodes {
      self.gates += gates
      self.signers += signers
    }
  }

  private func wall(_ node: Int, _ now: Int64) -> Int64 { Self.epoch + clocks[node] + now }

  /// A process knows nothing of what an earlier one signed or heard.
  mutating func begin(_ node: Int) {
    guard isOn else { return }
    for vip in 0..<vips {
      gates[node * vips + vip] = fresh.gates[vip]
      signers[node * vips + vip] = fresh.signers[vip]
    }
  }

  /// A process goes on in another one's place: it knows what that one signed, and not what it heard.
  mutating func succeed(_ node: Int) {
    let old = signers
    begin(node)
    guard isOn else { return }
    for place in node * vips..<(node + 1) * vips {
      if let last = old[place]?.last, last.rawValue > 0 { signers[place]?.advance(past: last) }
    }
  }

  @inline(__always)
  mutating func said(_ message: [UInt8], of vip: Int, to destination: Destination, by node: Int) {
    guard message.count > 2, message[2] > 0 else { return }
    last[node * vips + vip] = (message, destination)
  }

  @inline(__always)
  mutating func sign(
    _ message: [UInt8], of vip: Int, from source: IPAddress, to destination: IPAddress, by node: Int, at now: Int64
  ) -> [UInt8] {
    guard isOn, signers[node * vips + vip] != nil else { return message }
    var signed: [UInt8] = []
    signed.reserveCapacity(message.count + 28)
    let time = wall(node, now)
    signers[node * vips + vip]?.sign(
      message.span.bytes, from: source, to: destination, wallNanoseconds: time, into: &signed)
    return signed
  }

  /// The message as the election may see it; nil where it may not.
  @inline(__always)
  mutating func admit(_ message: [UInt8], in envelope: Envelope, by node: Int, at now: Int64) -> [UInt8]? {
    guard isOn, let id = VirtualRouter.identify(message.span.bytes), ids[Int(id)] >= 0 else { return message }
    let time = wall(node, now)
    do throws(AuthenticationDiscard) {
      guard
        let admission = try gates[node * vips + ids[Int(id)]]?.admit(
          message.span.bytes, in: envelope, wallNanoseconds: time)
      else { return message }
      return admission.length == message.count ? message : admission.message(of: message)
    } catch {
      lastDiscard = error
      return nil
    }
  }

  /// What the daemon said last, with priority 0; the checksum follows (RFC 1624 §3).
  func farewell(of vip: Int, by node: Int) -> (message: [UInt8], to: Destination)? {
    guard let (message, destination) = last[node * vips + vip], message.count >= 8 else { return nil }
    return (Self.change(message, priority: 0), destination)
  }

  /// What a stranger makes of an advert that it has heard: its own priority, and the checksum that goes with its address.
  func forged(priority: UInt8) -> [UInt8]? {
    for node in clocks.indices {
      guard var (message, _) = last[node * vips], message.count >= 8 else { continue }
      message[2] = priority
      message[6] = 0
      message[7] = 0
      var sum = Checksum()
      sum.add(message)
      message[6] = UInt8(sum.value >> 8)
      message[7] = UInt8(sum.value & 255)
      return message
    }
    return nil
  }

  private static func change(_ message: [UInt8], priority: UInt8) -> [UInt8] {
    var message = message
    func word(_ at: Int) -> UInt32 { UInt32(message[at]) << 8 | UInt32(message[at + 1]) }
    let old = word(2)
    message[2] = priority
    var sum = (~word(6) & 0xFFFF) + (~old & 0xFFFF) + word(2)
    while sum >> 16 != 0 { sum = (sum & 0xFFFF) + (sum >> 16) }
    let checksum = ~sum & 0xFFFF
    message[6] = UInt8(checksum >> 8)
    message[7] = UInt8(checksum & 255)
    return message
  }
}

/// A keyed number for virtual time, where nobody computes forgeries: what matters is that who hasn't the key can't make it.
private struct ToyMAC: MessageAuthentication {
  var key: UInt64

  func tag(of message: RawSpan) -> UInt128 {
    var hash = key ^ 0xCBF2_9CE4_8422_2325
    var offset = 0
    while offset + 8 <= message.byteCount {
      hash = (hash ^ message.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self)) &* 0x9E37_79B9_7F4A_7C15
      hash ^= hash >> 32
      offset += 8
    }
    while offset < message.byteCount {
      hash = (hash ^ UInt64(message.unsafeLoad(fromByteOffset: offset, as: UInt8.self))) &* 0x0000_0100_0000_01B3
      offset += 1
    }
    return UInt128(hash) << 64 | UInt128(hash ^ key)
  }
}
