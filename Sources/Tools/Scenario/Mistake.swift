/// A mistake in a scenario file, told so that it can be put right at once.
public struct Mistake: Sendable, Hashable, CustomStringConvertible {
  public var file: String
  /// From 1.
  public var line: Int
  /// The first character that is wrong, from 1.
  public var column: Int
  /// How many characters are wrong, at least 1.
  public var length: Int
  public var message: String
  public var suggestion: String?
  /// The line itself.
  public var source: String

  /// `FILE:LINE:COL: error: …`, the line, a caret below it, and what to write instead.
  public var description: String {
    // A tab is one column here and eight on a screen: the line is shown with blanks.
    let shown = String(source.map { $0 == "\t" ? " " : $0 })
    let caret = String(repeating: " ", count: column - 1) + "^" + String(repeating: "~", count: length - 1)
    let hint = suggestion.map { "\n    \($0)" } ?? ""
    return "\(file):\(line):\(column): error: \(message)\n    \(shown)\n    \(caret)\(hint)"
  }
}

/// Every mistake of a file, in order.
public struct Mistakes: Error, Sendable, Hashable, CustomStringConvertible {
  public var all: [Mistake]
  public var description: String { all.map(\.description).joined(separator: "\n") }
}

/// The candidate that a person most likely meant, if one is near enough.
func nearest(_ word: String, among candidates: [String]) -> String? {
  let bound = max(1, min(3, (word.utf8.count + 1) / 3))
  var best: (candidate: String, distance: Int)?
  for candidate in candidates {
    let distance = editDistance(word, candidate)
    if distance <= bound, distance < best?.distance ?? .max { best = (candidate, distance) }
  }
  return best?.candidate
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other.
private func editDistance(_ first: String, _ second: String) -> Int {
  // Words of a file may be long; none of ours is.
  let a = Array(first.utf8.prefix(40))
  let b = Array(second.utf8)
  var beforeLast: [Int] = []
  var last = Array(0...b.count)
  for i in 0..<a.count {
    var row = [i + 1]
    for j in 0..<b.count {
      var cost = min(last[j] + (a[i] == b[j] ? 0 : 1), last[j + 1] + 1, row[j] + 1)
      if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, beforeLast[j - 1] + 1) }
      row.append(cost)
    }
    beforeLast = last
    last = row
  }
  return last[b.count]
}
