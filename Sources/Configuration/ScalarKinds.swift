import Basis
import Wire

// The kinds of values that are one word or text. What a kind's schema refuses, its `problem` refuses too.

extension ScalarKind {
  /// Anything, for what the file only passes on.
  static let anyText = ScalarKind(
    expected: "a text", schema: [("type", .array([.string("string"), .string("number"), .string("boolean")]))]
  ) { $0.isEmpty ? Problem("expected a text, found an empty one") : nil }

  /// Text without spaces and control characters, of ASCII.
  static func word(_ expected: String, pattern: String, _ isRight: @escaping @Sendable (String) -> Bool) -> ScalarKind {
    var kind = ScalarKind(
      expected: expected, schema: [("type", .string("string")), ("pattern", .string(pattern))], problem: { _ in nil })
    let complete = kind
    kind.problem = { isRight($0) ? nil : complete.unexpected($0) }
    return kind
  }

  static let boolean: ScalarKind = {
    let wrong = ScalarKind(expected: "true or false", schema: []) { _ in nil }
    return ScalarKind(expected: wrong.expected, schema: [("type", .string("boolean"))], isPlain: true) { text in
      switch text {
      case "true", "false": nil
      case _ where ["yes", "on", "y", "true"].contains(text.lowercased()): wrong.unexpected(text, "write true")
      case _ where ["no", "off", "n", "false"].contains(text.lowercased()): wrong.unexpected(text, "write false")
      default: wrong.unexpected(text)
      }
    }
  }()

  /// The one word `true`, for a key that is there or not.
  static let yes = ScalarKind(expected: "true", schema: [("const", .bool(true))], isPlain: true) { text in
    text == "true" ? nil : Problem("expected true, found \(quoted(text))", "write true, or leave the key out")
  }

  static func whole(_ range: ClosedRange<Int>) -> ScalarKind {
    let expected =
      range.count == 2
      ? "\(range.lowerBound) or \(range.upperBound)" : "a whole number from \(range.lowerBound) to \(range.upperBound)"
    let schema: [(String, JSON)] = [
      ("type", .string("integer")), ("minimum", .number(range.lowerBound)), ("maximum", .number(range.upperBound)),
    ]
    return ScalarKind(expected: expected, schema: schema, isPlain: true) { text in
      if let number = wholeNumber(text) {
        return range.contains(number) ? nil : Problem("expected \(expected), found \(text)")
      }
      return Problem("expected \(expected), found \(quoted(text))")
    }
  }

  /// "a, b or c".
  private static func list(_ words: [String]) -> String {
    guard words.count > 1 else { return words.joined() }
    return words.dropLast().joined(separator: ", ") + " or " + words[words.count - 1]
  }

  /// One of some words, or of some that a later version will know. YAML 1.1 reads a bare off as false, and editors may do so.
  /// - Parameter instead: words that people look for and that are written in another way; with how.
  static func choice(_ words: [String], later: [String] = [], instead: [String: String] = [:]) -> ScalarKind {
    let expected = words.count == 1 ? "'\(words[0])'" : "one of " + words.joined(separator: ", ")
    let schema = words.map { JSON.string($0) } + (words.contains("off") ? [.bool(false)] : [])
    return ScalarKind(expected: expected, schema: [("enum", .array(schema))]) { text in
      if words.contains(text) { return nil }
      if let way = instead[text] { return Problem("'\(text)' is not available here", way) }
      if later.contains(text) { return Problem("'\(text)' is not available in this version", "use \(list(words))") }
      return Problem("expected \(expected), found \(quoted(text))", didYouMean(text, among: words))
    }
  }

  /// - Parameter step: what it has to be a multiple of.
  static func duration(_ range: ClosedRange<Duration>, step: Duration? = nil) -> ScalarKind {
    let schema: [(String, JSON)] = [("type", .string("string")), ("pattern", .string(DurationText.pattern))]
    let wrong = ScalarKind(expected: "a duration such as 100ms", schema: schema) { _ in nil }
    return ScalarKind(expected: wrong.expected, schema: schema) { text in
      guard let duration = DurationText.read(text) else {
        return wrong.unexpected(text, DurationText.suggestion(for: text))
      }
      if duration < range.lowerBound {
        return Problem("\(text) is too short, at least \(DurationText.write(range.lowerBound))")
      }
      if duration > range.upperBound {
        return Problem("\(text) is too long, at most \(DurationText.write(range.upperBound))")
      }
      if let step, duration.nanoseconds % step.nanoseconds != 0 {
        return Problem("\(text) is not a multiple of \(DurationText.write(step))")
      }
      return nil
    }
  }

  /// A duration in whole seconds, because that is how the kernel counts the life of an address; or `off`.
  static let lease: ScalarKind = {
    let seconds = ScalarKind.duration(.seconds(1) ... .seconds(86_400))
    let schema = orOff(seconds.schema)
    let expected = "whole seconds such as 2s, or off"
    return ScalarKind(expected: expected, schema: schema) { text in
      if text == "off" { return nil }
      guard let duration = DurationText.read(text) else {
        return Problem("expected \(expected), found \(quoted(text))", DurationText.suggestion(for: text))
      }
      if duration >= .seconds(1), duration.nanoseconds % 1_000_000_000 != 0 {
        let up = duration.nanoseconds / 1_000_000_000 + 1
        return Problem(
          "\(text) is not whole seconds: the kernel counts the life of an address in seconds", "write \(up)s")
      }
      return seconds.problem(text)
    }
  }()

  /// A duration, or `off`.
  static func durationOrOff(_ range: ClosedRange<Duration>) -> ScalarKind {
    let duration = ScalarKind.duration(range)
    var kind = ScalarKind(
      expected: "a duration such as 60s, or off", schema: orOff(duration.schema), problem: { _ in nil })
    let complete = kind
    kind.problem = { text in
      if text == "off" { return nil }
      if DurationText.read(text) == nil { return complete.unexpected(text, DurationText.suggestion(for: text)) }
      return duration.problem(text)
    }
    return kind
  }

  private static func orOff(_ schema: [(String, JSON)]) -> [(String, JSON)] {
    [("anyOf", .array([.object(schema), .object([("enum", .array([.string("off"), .bool(false)]))])]))]
  }

  /// What a tracker that is bad does to a VIP.
  static let consequence: ScalarKind = {
    let expected = "forbid, or a whole number from 1 to 253"
    let schema: [(String, JSON)] = [
      (
        "anyOf",
        .array([
          .object([("const", .string("forbid"))]),
          .object([("type", .string("integer")), ("minimum", .number(1)), ("maximum", .number(253))]),
        ])
      )
    ]
    return ScalarKind(expected: expected, schema: schema) { text in
      if text == "forbid" || wholeNumber(text).map({ 1...253 ~= $0 }) ?? false { return nil }
      return Problem("expected \(expected), found \(quoted(text))", didYouMean(text, among: ["forbid"]))
    }
  }()

  /// One argument of a command; the first is the program (`CrossChecks`).
  static let argument: ScalarKind = {
    var kind = anyText
    kind.problem = { text in
      if text.unicodeScalars.contains("\0") { return Problem("an argument can't have a zero byte") }
      return text.utf8.count > 4096 ? Problem("an argument has 4096 bytes at most") : anyText.problem(text)
    }
    return kind
  }()

  /// As /proc/PID/comm has it: the kernel keeps 15 bytes.
  static let process = word("the name of a process such as nginx", pattern: "^[!-.0-~]{1,15}$") { text in
    1...15 ~= text.utf8.count && text.utf8.allSatisfy { 33...126 ~= $0 && $0 != UInt8(ascii: "/") }
  }

  static let user = word("the name of a user such as nobody", pattern: "^[A-Za-z_][A-Za-z0-9_.-]{0,31}$") { text in
    let letters = Array(text.utf8)
    return 1...32 ~= letters.count && (isLetter(letters[0]) || letters[0] == UInt8(ascii: "_"))
      && letters.allSatisfy { isAlphanumeric($0) || "._-".utf8.contains($0) }
  }

  static let webAddress: ScalarKind = {
    let expected = "a URL such as http://10.0.0.9:8080/roost"
    let schema: [(String, JSON)] = [("type", .string("string")), ("pattern", .string("^http://[!-~]+$"))]
    return ScalarKind(expected: expected, schema: schema) { text in
      if let address = Configuration.WebAddress(text) {
        guard address.isSecure else { return nil }
        return Problem(
          "https is not available in this version",
          "use http, or a command such as [/usr/bin/curl, -fsS, --json, \"@-\", URL]")
      }
      if text.contains("@") {
        return Problem(
          "a URL with a user's name can't be used",
          "put the value of the Authorization header into a file: authorization: FILE")
      }
      return Problem("expected \(expected), found \(quoted(text))")
    }
  }()

  /// A name that the file's author chooses.
  static func name(of what: String) -> ScalarKind {
    let pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
    let schema: [(String, JSON)] = [("type", .string("string")), ("pattern", .string(pattern))]
    return ScalarKind(expected: "the name of \(what)", schema: schema) { text in
      let letters = Array(text.utf8)
      let isWord =
        1...63 ~= letters.count && isAlphanumeric(letters[0])
        && letters.allSatisfy { isAlphanumeric($0) || "._-".utf8.contains($0) }
      if !isWord {
        return Problem(
          "\(quoted(text)) can't be the name of \(what)",
          "use letters, digits, '.', '_' and '-', beginning with a letter or digit, 63 at most")
      }
      // Other readers of YAML would take these for something else than a name.
      if letters.allSatisfy({ !isLetter($0) }) || yamlWords.contains(text.lowercased()) {
        return Problem(
          "\(quoted(text)) can't be the name of \(what): YAML takes it for something else", "choose another name")
      }
      return nil
    }
  }

  private static let yamlWords: Set<String> = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"]

  /// As Linux allows it, and `ip` prints it.
  static let interface = word("the name of an interface such as eth0", pattern: #"^[^/\s:]{1,15}$"#) { text in
    1...15 ~= text.utf8.count && text != "." && text != ".."
      && text.utf8.allSatisfy { $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ":") }
  }

  static let file: ScalarKind = {
    let expected = "the absolute path of a file"
    return ScalarKind(expected: expected, schema: [("type", .string("string")), ("pattern", .string("^/"))]) { text in
      if text.hasPrefix("/"), !text.unicodeScalars.contains("\0") { return nil }
      return Problem("expected \(expected), found \(quoted(text))", "begin it with /")
    }
  }()

  static let path = word("a path such as /healthz", pattern: "^/[!-~]*$") { text in
    text.hasPrefix("/") && text.utf8.count <= 2048 && text.utf8.allSatisfy { 33...126 ~= $0 }
  }

  static let host = word("a host such as www.example.org", pattern: "^[!-~]+$") { text in
    1...255 ~= text.utf8.count && text.utf8.allSatisfy { 33...126 ~= $0 && $0 != UInt8(ascii: "/") }
  }

  static let status: ScalarKind = {
    let expected = "a status such as 200, or a range such as 200-399"
    let schema: [(String, JSON)] = [
      (
        "anyOf",
        .array([
          .object([("type", .string("integer")), ("minimum", .number(100)), ("maximum", .number(599))]),
          .object([("type", .string("string")), ("pattern", .string("^[1-5][0-9]{2}-[1-5][0-9]{2}$"))]),
        ])
      )
    ]
    return ScalarKind(expected: expected, schema: schema) { text in
      statusRange(text) == nil ? Problem("expected \(expected), found \(quoted(text))") : nil
    }
  }()
}

// MARK: - Texts to values, shared by the checks above and the reader

/// Digits without a leading zero, which YAML 1.1 would take for octal; nine at most.
func wholeNumber(_ text: some StringProtocol) -> Int? {
  let digits = text.utf8
  guard 1...9 ~= digits.count, digits.allSatisfy({ 48...57 ~= $0 }), digits.count == 1 || digits.first != 48 else {
    return nil
  }
  return Int(String(text))
}

func portNumber(_ text: some StringProtocol) -> UInt16? {
  wholeNumber(text).flatMap { UInt16(exactly: $0) }.flatMap { $0 == 0 ? nil : $0 }
}

func statusRange(_ text: String) -> ClosedRange<Int>? {
  let ends = text.split(separator: "-", omittingEmptySubsequences: false).map { wholeNumber($0) }
  guard 1...2 ~= ends.count, let first = ends[0], let last = ends[ends.count - 1] else { return nil }
  return 100...599 ~= first && 100...599 ~= last && first <= last ? first...last : nil
}

extension ScalarKind {
  static func isIPv6(_ text: Substring) -> Bool { IPv6Address(text) != nil }

  /// Letters, digits, '.', '-' and '_': a name or an IPv4 address.
  static func isHostName(_ text: Substring) -> Bool {
    1...253 ~= text.utf8.count && text.utf8.first != UInt8(ascii: "-")
      && text.utf8.allSatisfy { isAlphanumeric($0) || ".-_".utf8.contains($0) }
  }
}

private func isLetter(_ byte: UInt8) -> Bool { 65...90 ~= byte || 97...122 ~= byte }

private func isAlphanumeric(_ byte: UInt8) -> Bool { isLetter(byte) || 48...57 ~= byte }
