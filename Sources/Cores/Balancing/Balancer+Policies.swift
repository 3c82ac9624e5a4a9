import Basis

extension Balancer {
  private func takes(_ index: Int, _ tried: Tried) -> Bool {
    entries[index].usable && entries[index].weight > 0 && !tried.contains(index)
  }

  /// Everyone earns its weight each time; the richest goes and pays what all earned together.
  mutating func nextInTurn(excluding tried: Tried) -> Int? {
    var total = 0
    var best = -1
    for index in entries.indices where takes(index, tried) {
      entries[index].credit += entries[index].weight
      total += entries[index].weight
      if best < 0 || entries[index].credit > entries[best].credit { best = index }
    }
    guard best >= 0 else { return nil }
    entries[best].credit -= total
    return best
  }

  /// Smallest (connections + 1) ÷ weight, compared across to stay in whole numbers.
  mutating func leastLoaded(excluding tried: Tried) -> Int? {
    var best = -1
    for step in entries.indices {
      // Beginning behind the last choice lets equals take turns.
      let shifted = cursor + step
      let index = shifted < entries.count ? shifted : shifted - entries.count
      guard takes(index, tried) else { continue }
      if best < 0
        || (entries[index].connections + 1) * entries[best].weight
          < (entries[best].connections + 1) * entries[index].weight
      {
        best = index
      }
    }
    guard best >= 0 else { return nil }
    cursor = best + 1 < entries.count ? best + 1 : 0
    return best
  }

  mutating func drawn(excluding tried: Tried) -> Int? {
    var total = 0
    for index in entries.indices where takes(index, tried) { total += entries[index].weight }
    guard total > 0 else { return nil }
    var left = Int(random.next(below: UInt64(total)))
    for index in entries.indices where takes(index, tried) {
      left -= entries[index].weight
      if left < 0 { return index }
    }
    return nil
  }

  /// Weighted rendezvous hashing: each backend draws u in (0, 1) from its key and the source, and scores −weight ÷ ln u.
  /// The highest score wins with probability weight ÷ sum of weights, and a backend's absence changes no other score.
  func highestScore(source: UInt64, excluding tried: Tried) -> Int? {
    var best = -1
    var bestScore = 0.0
    for index in entries.indices where takes(index, tried) {
      var draw = SplitMix64(seed: entries[index].key ^ source)
      // 53 bits and a half step: never 0 and never 1.
      let fraction = (Double(draw.next() >> 11) + 0.5) * 0x1p-53
      let score = Double(entries[index].weight) / -naturalLogarithm(fraction)
      if best < 0 || score > bestScore { (best, bestScore) = (index, score) }
    }
    return best >= 0 ? best : nil
  }
}

/// ln x for x > 0, to about 1e-12: the standard library has none, and a C library's may differ in the last bit
/// from one node to the next. ln(m · 2ᵉ) = 2 artanh((m − 1) ÷ (m + 1)) + e ln 2, with m within √½ … √2.
func naturalLogarithm(_ x: Double) -> Double {
  var mantissa = x.significand
  var exponent = Double(x.exponent)
  if mantissa > 1.414_213_562_373_095_1 {
    mantissa /= 2
    exponent += 1
  }
  let z = (mantissa - 1) / (mantissa + 1)
  let square = z * z
  var term = z
  var sum = 0.0
  var divisor = 1.0
  while divisor <= 17 {
    sum += term / divisor
    term *= square
    divisor += 2
  }
  return 2 * sum + exponent * 0.693_147_180_559_945_3
}
