extension Mistake: CustomStringConvertible {
  public var description: String { text() }

  /// For people: where and what, the line with carets, what to do. Without a line end at the end.
  ///
  /// - Parameter colour: with the terminal's escape sequences.
  public func text(colour: Bool = false) -> String {
    func paint(_ text: String, _ code: String) -> String { colour ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text }
    let tone = severity == .error ? "1;31" : "1;33"
    let position = place.map { "\(file):\($0.line):\($0.column): " } ?? "\(file): "
    var lines = [paint(position, "1") + paint("\(severity.rawValue):", tone) + " " + message]
    var margin = "  "
    if let place, let excerpt {
      let number = "\(place.line)"
      margin = String(repeating: " ", count: number.count + 3)
      let before = excerpt.skipped > 0 ? "…" : ""
      lines.append(paint("  \(number) |", "2") + " \(before)\(excerpt.text)")
      lines.append(
        paint("\(margin)|", "2") + " \(carets(place, excerpt, indent: before.count, paint: { paint($0, tone) }))")
    }
    if let suggestion { lines.append(paint("\(margin)=", "2") + " \(suggestion)") }
    return lines.joined(separator: "\n")
  }

  /// Carets below the place; tabs are repeated, so that they end up below it whatever a tab's width.
  private func carets(_ place: Place, _ excerpt: Excerpt, indent: Int, paint: (String) -> String) -> String {
    let visible = excerpt.text.unicodeScalars
    let column = max(0, place.column - 1 - excerpt.skipped)
    let lead = visible.prefix(column).map { $0 == "\t" ? "\t" : " " }.joined()
    let padding = String(repeating: " ", count: max(0, column - visible.count))
    let length = max(1, min(place.length, visible.count - column))
    return String(repeating: " ", count: indent) + lead + padding + paint(String(repeating: "^", count: length))
  }

  /// For programs: severity, file, line, column and length where there is a place, message, suggestion.
  var json: JSON {
    var members: [(String, JSON)] = [("severity", .string(severity.rawValue)), ("file", .string(file))]
    if let place {
      members += [("line", .number(place.line)), ("column", .number(place.column)), ("length", .number(place.length))]
    }
    members.append(("message", .string(message)))
    if let suggestion { members.append(("suggestion", .string(suggestion))) }
    return .object(members)
  }
}

extension [Mistake] {
  /// Whether the file can't be used.
  public var hasError: Bool { contains { $0.severity == .error } }

  /// All, for people, an empty line between two.
  public func text(colour: Bool = false) -> String { map { $0.text(colour: colour) }.joined(separator: "\n\n") }

  /// All, for programs: a JSON array, indented.
  public var json: String { JSON.array(map(\.json)).text }
}
