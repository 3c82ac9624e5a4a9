/// The candidate that a text is most likely a slip of, if one is nearer than all others: up to a third of its letters wrong,
/// two swapped ones count as one. Of `lb1` and `lb2` neither is more likely what `lb3` was meant to be.
func nearest(_ text: String, among candidates: some Sequence<String>) -> String? {
  let typed = Array(text.lowercased().utf8.prefix(41))
  guard 1...40 ~= typed.count else { return nil }
  var best: (distance: Int, candidate: String?)?
  for candidate in candidates {
    let letters = Array(candidate.lowercased().utf8)
    let allowed = max(1, max(typed.count, letters.count) / 3)
    guard abs(letters.count - typed.count) <= allowed, letters.count > 1 || typed.count > 1 else { continue }
    let distance = editDistance(typed, letters)
    guard distance <= allowed else { continue }
    if distance < best?.distance ?? .max {
      best = (distance, candidate)
    } else if distance == best?.distance, candidate != best?.candidate {
      best?.candidate = nil
    }
  }
  return best?.candidate
}

/// How many letters to insert, remove, replace, or swap with their neighbour, to get from one to the other
/// (optimal string alignment).
func editDistance(_ first: [UInt8], _ second: [UInt8]) -> Int {
  var beforeLast: [Int] = []
  var last = Array(0...second.count)
  for row in 0..<first.count {
    var current = [row + 1]
    current.reserveCapacity(second.count + 1)
    for column in 0..<second.count {
      var cost = min(
        last[column + 1] + 1, current[column] + 1, last[column] + (first[row] == second[column] ? 0 : 1))
      if row > 0, column > 0, first[row] == second[column - 1], first[row - 1] == second[column] {
        cost = min(cost, beforeLast[column - 1] + 1)
      }
      current.append(cost)
    }
    beforeLast = last
    last = current
  }
  return last[second.count]
}

/// "did you mean 'x'?" for the nearest candidate.
func didYouMean(_ text: String, among candidates: some Sequence<String>) -> String? {
  nearest(text, among: candidates).map { "did you mean '\($0)'?" }
}
