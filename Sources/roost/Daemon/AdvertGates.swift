import Basis
import Crypto
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
  private var windows: [Int32] = []
  private var isDerived: [Bool] = []
  /// What each place was made of.
  private var origins: [Origin?] = []
  /// One place for each cause, and one for clocks, for each VIP.
  private var silences: [Silence] = []
  private static let causes = AuthenticationDiscard.allCases.count + 1
  private var choice: SigningKeyChoice
  private var derivedKeys: [UInt8]
  /// Their names; an empty place has none.
  private var peers: [String]
  /// Grows when another key signs than before.
  private(set) var keyChanges: UInt64 = 0

  private struct Origin: Equatable {
    let mode: AuthenticationMode
    let keys: [AdvertKey]
    let router: Settings
  }

  /// - Parameter keys: the numbers of those that are derived from the cluster's secrets, newest first.
  init(keys: [UInt8], peers: [String], at now: Instant) {
    choice = SigningKeyChoice(keys: keys, peers: peers.count, at: now)
    derivedKeys = keys
    self.peers = peers
  }

  /// The cluster has these keys and these other nodes now. Their links go on, so what they said of their keys is not said again.
  mutating func configure(keys: [UInt8], peers: [String], at now: Instant) {
    guard keys != derivedKeys || peers != self.peers else { return }
    let before = self.peers
    let origins = peers.map { name in name.isEmpty ? nil : before.firstIndex(of: name) }
    choice = choice.with(keys: keys, origins: origins, at: now)
    derivedKeys = keys
    self.peers = peers
    chooseKeys(at: now)
  }

  /// What a place has from now on. Where nothing is different, nothing that was heard is forgotten.
  mutating func configure(_ vip: Int, _ router: Settings?, _ secrets: ClusterSecrets) {
    while gates.count <= vip {
      gates.append(nil)
      signers.append(nil)
      windows.append(.max)
      isDerived.append(false)
      origins.append(nil)
      silences += Array(repeating: Silence(), count: Self.causes)
    }
    let settings = secrets.authentication.indices.contains(vip) ? secrets.authentication[vip] : .off
    var origin: Origin?
    if let router, settings.mode != .off {
      origin = Origin(mode: settings.mode, keys: secrets.advertKeys[vip], router: router)
    }
    guard origin != origins[vip] else { return }
    origins[vip] = origin
    gates[vip] = origin.map { AdvertGate(settings, for: $0.router) }
    let last = lastSequence(of: vip)
    signers[vip] = origin.flatMap { AdvertSigner(settings, for: $0.router) }
    if let last { advance(vip, past: last) }
    isDerived[vip] = origin != nil && secrets.isDerived[vip]
    windows[vip] = .max
    if case .window(let window) = settings.freshness { windows[vip] = Int32(clamping: window.components.seconds) }
    let now = Clock.now()
    chooseKeys(at: now)
  }

  /// The key that signs the adverts of a VIP; nil where they are not signed.
  func signingKey(of vip: Int) -> AdvertKey? {
    guard origins.indices.contains(vip), let origin = origins[vip], let index = signers[vip]?.signingKey else {
      return nil
    }
    return origin.keys.indices.contains(index) ? origin.keys[index] : nil
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
  func lastSequence(of vip: Int) -> UInt64? {
    guard signers.indices.contains(vip), let last = signers[vip]?.last.rawValue, last > 0 else { return nil }
    return last
  }

  /// What is signed for the VIP comes after that, even while the clock is being put back.
  mutating func advance(_ vip: Int, past sequence: UInt64) {
    if signers.indices.contains(vip) { signers[vip]?.advance(past: AuthenticationSequence(rawValue: sequence)) }
  }

  /// Index of the key that signs now; nil where adverts of that VIP are not signed.
  func signingKey(of vip: Int) -> Int? { signers.indices.contains(vip) ? signers[vip]?.signingKey : nil }

  /// The peer has said which keys it has.
  mutating func learn(_ keys: [UInt8], of peer: Int, at now: Instant) {
    choice.learn(keys, of: peer)
    chooseKeys(at: now)
  }

  mutating func chooseKeys(at now: Instant) {
    let index = choice.index(at: now)
    for vip in signers.indices where isDerived[vip] && signers[vip].map({ $0.signingKey != index }) ?? false {
      signers[vip]?.sign(withKey: index)
      keyChanges &+= 1
    }
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
