// Names, numbers and lengths of time.

extension Reader {
  mutating func expect(_ text: String, _ line: inout Line, _ suggestion: String) throws(Wrong) {
    let word = line.next ?? line.end
    guard line.take(text) else { throw wrong(line, word, "here stands `\(text)`", suggestion) }
  }

  mutating func node(_ line: inout Line) throws(Wrong) -> Selector {
    let word = line.take() ?? line.end
    switch word.text {
    case "owner": return .owner
    case "backup": return .backup
    case "all": return .all
    case "rest": return .rest
    default: break
    }
    if let index = scenario.nodeNames.firstIndex(of: word.text) { return .node(index) }
    if word.text.hasPrefix("lb"), let number = Int(word.text.dropFirst(2)), number > scenario.nodes {
      throw wrong(
        line, word, "there is no \(word.text): the cluster has \(scenario.nodes) nodes",
        "raise the number behind `nodes`")
    }
    throw unknown(line, word, "no node is called", among: scenario.nodeNames + ["owner", "backup", "all", "rest"])
  }

  mutating func backend(_ line: inout Line) throws(Wrong) -> Int {
    let word = line.take() ?? line.end
    if let index = scenario.backendNames.firstIndex(of: word.text) { return index }
    throw unknown(line, word, "no backend is called", among: scenario.backendNames)
  }

  /// `lb1 lb2` is both ways, `lb1 -> lb2` one.
  mutating func path(_ line: inout Line, needsArrow: Bool) throws(Wrong) -> Path {
    let from = try node(&line)
    let arrow = line.take("->")
    if needsArrow, !arrow {
      throw wrong(line, line.next ?? line.end, "here stands `->`", "such as: one-way lb1 -> lb2")
    }
    let second = line.next ?? line.end
    let to = try node(&line)
    if from == to, from != .all { throw wrong(line, second, "a path leads to another node", nil) }
    return Path(from: from, to: to, bothWays: !arrow)
  }

  mutating func count(_ line: inout Line, of what: String, in range: ClosedRange<Int>) throws(Wrong) -> Int {
    let word = line.take() ?? line.end
    guard let number = Int(word.text), range.contains(number) else {
      throw wrong(line, word, "the number of \(what) is \(range.lowerBound) to \(range.upperBound)", nil)
    }
    return number
  }

  /// `30%` as 0.3.
  mutating func share(_ line: inout Line) throws(Wrong) -> Double {
    let word = line.take() ?? line.end
    guard word.text.hasSuffix("%"), let number = plainNumber(word.text.dropLast()), number <= 100 else {
      throw wrong(line, word, "a share of packets is 0% to 100%", "such as: 30%")
    }
    return number / 100
  }

  mutating func duration(_ line: inout Line) throws(Wrong) -> Duration {
    let word = line.take() ?? line.end
    if let value = plainDuration(word.text) { return value }
    throw wrong(line, word, "a time is a number with ms, s, m or h, up to 1000h", "such as: 250ms, 1.5s, 2m")
  }

  /// `+2s`, `-2s`, `2s`.
  mutating func jump(_ line: inout Line) throws(Wrong) -> Duration {
    if let word = line.next, word.text.hasPrefix("-"), let value = plainDuration(String(word.text.dropFirst())) {
      line.position += 1
      return .zero - value
    }
    _ = line.take("+")
    return try duration(&line)
  }

  /// `330ms`, `3 intervals`, `3.5 intervals + 30ms`.
  mutating func span(_ line: inout Line) throws(Wrong) -> Span {
    var span = Span()
    repeat {
      if let word = line.next, let number = plainNumber(word.text[...]), number <= 1_000_000 {
        line.position += 1
        if !line.take("intervals"), !line.take("interval") {
          let missing = line.next ?? line.end
          throw wrong(
            line, missing, "here stands a unit", "`\(word.text)ms`, `\(word.text)s`, or `\(word.text) intervals`")
        }
        span.intervals += number
      } else {
        span.fixed += try duration(&line)
      }
    } while line.take("+")
    return span
  }
}

/// Digits with at most one point, nothing else: no sign, no exponent, no "inf".
private func plainNumber(_ text: Substring) -> Double? {
  guard !text.isEmpty, text.utf8.count <= 20, text.utf8.allSatisfy({ 48...57 ~= $0 || $0 == 46 }) else { return nil }
  return Double(text)
}

func plainDuration(_ text: String) -> Duration? {
  let units: [(String, Double)] = [("us", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)]
  for (unit, nanoseconds) in units where text.hasSuffix(unit) {
    if let number = plainNumber(text.dropLast(unit.count)), number * nanoseconds <= 1000 * 3600e9 {
      return .nanoseconds(Int64((number * nanoseconds).rounded()))
    }
  }
  return nil
}
