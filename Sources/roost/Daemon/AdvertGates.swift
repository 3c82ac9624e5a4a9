import Basis
import Linux
import VRRP
import Wire

/// The authentication of all virtual routers of a node: a gate before each on the way in, a signer on the way out.
///
/// Belongs to the loop's thread. In steady state it allocates nothing.
struct AdvertGates {
  /// Something worth telling, at most once in `pause` for each VIP and cause.
  struct Refusal {
    let vip: Int
    /// Nil: the advert was good, but its sender's clock is close to being too far off.
    let cause: AuthenticationDiscard?
    let source: IPAddress
    /// By how much the sender's clock is ahead of ours, by what the advert says.
    let skewSeconds: Int32
    /// How many of the kind were not told since the last one was.
    let untold: UInt64
  }

  /// For one VIP and cause.
  private struct Silence {
    var until = Instant(nanoseconds: .min)
    var untold: UInt64 = 0
  }

  static let pause = Duration.seconds(60)

  private var gates: [AdvertGate?] = []
  private var signers: [AdvertSigner?] = []
  private let windows: [Int32]
  private let isDerived: [Bool]
  /// One place for each cause, and one for clocks, for each VIP.
  private var silences: [Silence]
  private static let causes = AuthenticationDiscard.allCases.count + 1
  private var choice: SigningKeyChoice

  init(_ routers: [Settings?], _ secrets: ClusterSecrets, peers: Int, at now: Instant) {
    isDerived = secrets.isDerived
    var windows: [Int32] = []
    for (router, settings) in zip(routers, secrets.authentication) {
      if let router, settings.mode != .off {
        gates.append(AdvertGate(settings, for: router))
        signers.append(AdvertSigner(settings, for: router))
      } else {
        gates.append(nil)
        signers.append(nil)
      }
      if case .window(let window) = settings.freshness {
        windows.append(Int32(clamping: window.components.seconds))
      } else {
        windows.append(.max)
      }
    }
    self.windows = windows
    silences = Array(repeating: Silence(), count: gates.count * Self.causes)
    choice = SigningKeyChoice(keys: secrets.derivedIDs, peers: peers, at: now)
    chooseKeys(at: now)
  }

  /// Whether there is anything to do at all.
  var isEmpty: Bool { gates.allSatisfy { $0 == nil } }

  func counters(of vip: Int) -> AuthenticationCounters? { gates.indices.contains(vip) ? gates[vip]?.counters : nil }

  // MARK: In

  /// Judges a message for a VIP in the buffer that it was received into. Nil where it must not reach the election.
  mutating func admit(
    _ message: UnsafeMutableRawBufferPointer, to vip: Int, in envelope: Envelope, at now: Instant,
    refused: (Refusal) -> Void
  ) -> UnsafeMutableRawBufferPointer? {
    guard gates.indices.contains(vip), gates[vip] != nil else { return message }
    let wall = Clock.wall().nanoseconds
    do throws(AuthenticationDiscard) {
      guard
        let admission = try gates[vip]?.admit(
          UnsafeRawBufferPointer(message).bytes, in: envelope, wallNanoseconds: wall)
      else { return message }
      if let checksum = admission.checksum, message.count >= AdvertHeader.length {
        message[6] = UInt8(checksum >> 8)
        message[7] = UInt8(checksum & 255)
      }
      if admission.skewSeconds.magnitude > windows[vip].magnitude / 2 {
        tell(vip, nil, envelope.source, admission.skewSeconds, now, refused)
      }
      return UnsafeMutableRawBufferPointer(rebasing: message[..<admission.length])
    } catch {
      tell(vip, error, envelope.source, gates[vip]?.lastSkewSeconds ?? 0, now, refused)
      return nil
    }
  }

  private mutating func tell(
    _ vip: Int, _ cause: AuthenticationDiscard?, _ source: IPAddress, _ skew: Int32, _ now: Instant,
    _ refused: (Refusal) -> Void
  ) {
    let place = vip * Self.causes + (cause.map { Int($0.rawValue) } ?? Self.causes - 1)
    guard now >= silences[place].until else {
      silences[place].untold &+= 1
      return
    }
    let refusal = Refusal(
      vip: vip, cause: cause, source: source, skewSeconds: skew, untold: silences[place].untold)
    silences[place] = Silence(until: now + Self.pause)
    refused(refusal)
  }

  // MARK: Out

  /// Writes a signed copy into `buffer`. False where adverts of that VIP are not signed.
  mutating func sign(
    _ message: [UInt8], of vip: Int, from source: IPAddress, to destination: IPAddress, into buffer: inout [UInt8]
  ) -> Bool {
    guard signers.indices.contains(vip), signers[vip] != nil else { return false }
    signers[vip]?.sign(
      message.span.bytes, from: source, to: destination, wallNanoseconds: Clock.wall().nanoseconds, into: &buffer)
    return true
  }

  /// The sequence of the last advert that was signed, for who signs after this process: nil before the first.
  func lastSequence(of vip: Int) -> UInt64? { signers.indices.contains(vip) ? signers[vip]?.last.rawValue : nil }

  /// The peer has said which keys it has.
  mutating func learn(_ keys: [UInt8], of peer: Int, at now: Instant) {
    choice.learn(keys, of: peer)
    chooseKeys(at: now)
  }

  mutating func chooseKeys(at now: Instant) {
    let index = choice.index(at: now)
    for vip in signers.indices where isDerived[vip] { signers[vip]?.sign(withKey: index) }
  }
}

extension AdvertGates.Refusal {
  func text(vip name: String) -> String {
    let more = untold > 0 ? " (and \(untold) more since this was last said)" : ""
    guard let cause else {
      return
        "vip \(name): the clock of \(source) differs by \(skewSeconds) s; soon its adverts will be dropped\(more)"
    }
    let advice =
      switch cause {
      case .missing:
        "it has no signature: somebody forges it, or a node there doesn't sign yet (auth mode receive or off)"
      case .malformed: "its signature has a form that is not known"
      case .unknownKey:
        "it is signed with a key that this node doesn't have: are cluster.secret and auth.keys the same?"
      case .badTag: "its signature is wrong: somebody forges it, or the keys are not the same"
      case .stale:
        "it is signed for a time \(skewSeconds.magnitude) s \(skewSeconds < 0 ? "ago" : "from now"): the clocks of the nodes differ, or somebody plays it back"
      case .replay: "it was sent before: somebody plays it back, or a clock was put back"
      }
    return "vip \(name): an advert from \(source) was dropped: \(advice)\(more)"
  }
}
