import Basis

/// With which of its keys a node signs, while the cluster changes from one to another.
///
/// An advert that a peer can't verify is, to that peer, no advert: under `enforce` it would take the VIP too. So a node signs with its
/// newest key that every peer is known to have. Of a peer that has said nothing in this life it believes for a while that it has only
/// the oldest; then it goes by the others, because a peer may be gone for good, and a cluster may have no peer link.
///
/// So nodes may go from `[old]` to `[new, old]` and from there to `[new]` one after the other, in any order.
public struct SigningKeyChoice: Sendable {
  /// The numbers of our keys, newest first.
  private let keys: [UInt8]
  /// For each peer: the numbers of the keys that it said it has.
  private var known: [[UInt8]?]
  private let patientUntil: Instant

  /// How long a peer may take to say what keys it has.
  public static let patience = Duration.seconds(10)

  public init(keys: [UInt8], peers: Int, at now: Instant) {
    self.keys = keys
    known = Array(repeating: nil, count: peers)
    patientUntil = now + Self.patience
  }

  /// The same peers and others keys, or other peers: what was said is known still.
  /// - Parameter origins: for each peer, its place until now; nil for one that is new.
  public func with(keys: [UInt8], origins: [Int?], at now: Instant) -> SigningKeyChoice {
    var next = SigningKeyChoice(keys: keys, peers: origins.count, at: now)
    next.known = origins.map { origin in
      guard let origin, known.indices.contains(origin) else { return nil }
      return known[origin]
    }
    return next
  }

  /// What a peer said. It is believed until it says otherwise, also while it is away.
  public mutating func learn(_ keys: [UInt8], of peer: Int) {
    if known.indices.contains(peer) { known[peer] = keys }
  }

  /// The index of the key to sign with.
  public func index(at now: Instant) -> Int {
    if now < patientUntil, known.contains(where: { $0 == nil }) {
      // Among the keys of those that have spoken, the oldest; all of them may be newer than we are.
      return keys.lastIndex(where: isKnownToAll) ?? max(0, keys.count - 1)
    }
    return keys.firstIndex(where: isKnownToAll) ?? 0
  }

  private func isKnownToAll(_ key: UInt8) -> Bool { known.allSatisfy { $0?.contains(key) ?? true } }
}
