import Basis
import Wire

/// A 64-bit digest that is the same in every run and on every node. It spreads; it does not protect: who can choose
/// names or addresses can find two with the same digest.
public func stableDigest(of name: String) -> UInt64 {
  var state: UInt64 = 0
  for byte in name.utf8 {
    var step = SplitMix64(seed: state ^ UInt64(byte))
    state = step.next()
  }
  return state
}

/// The digest of a client's address; the port plays no part, so that all of a client's connections agree.
public func stableDigest(of address: IPAddress) -> UInt64 {
  switch address {
  case .v4(let v4):
    var low = SplitMix64(seed: UInt64(v4.rawValue))
    return low.next()
  case .v6(let v6):
    var high = SplitMix64(seed: UInt64(truncatingIfNeeded: v6.rawValue >> 64))
    var low = SplitMix64(seed: high.next() ^ UInt64(truncatingIfNeeded: v6.rawValue))
    return low.next()
  }
}
