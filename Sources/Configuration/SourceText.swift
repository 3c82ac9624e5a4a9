/// The text of a file, split into lines, so that a place in it can be shown.
struct SourceText: Sendable {
  let file: String
  /// All characters, line ends included, without a byte order mark.
  let scalars: [Unicode.Scalar]
  /// Where each line starts in `scalars`.
  let starts: [Int]

  /// Far above any real configuration (tens of thousands of backends), and still read in a moment.
  static let maximumSize = 1 << 20

  /// Nil, and a mistake, where the bytes aren't the text of a configuration.
  init?(_ bytes: [UInt8], file: String, mistake: (Mistake) -> Void) {
    self.file = file
    guard bytes.count <= Self.maximumSize else {
      let size = "\(bytes.count) bytes, \(Self.maximumSize) at most"
      mistake(Mistake(file: file, message: "the file is too large: \(size)"))
      return nil
    }
    if bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF]) {
      mistake(
        Mistake(
          file: file, place: Place(line: 1, column: 1), message: "the file is UTF-16",
          suggestion: "save it as UTF-8"))
      return nil
    }
    let text = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? bytes.dropFirst(3) : bytes[...]
    var scalars: [Unicode.Scalar] = []
    scalars.reserveCapacity(text.count)
    var starts = [0]
    var decoder = Unicode.UTF8()
    var iterator = text.makeIterator()
    var wrong: (message: String, suggestion: String)?
    decoding: while wrong == nil {
      switch decoder.decode(&iterator) {
      case .emptyInput: break decoding
      case .error: wrong = ("a byte that is not UTF-8", "save the file as UTF-8")
      case .scalarValue(let scalar):
        if let name = Self.nameOfForbidden(scalar) {
          wrong = ("\(name) has no place in a configuration", "remove it")
          break
        }
        // YAML takes a carriage return alone for the end of a line; nothing writes such files any more.
        if scalars.last == "\r", scalar != "\n" {
          wrong = ("a carriage return without a line feed", "end lines with a line feed")
          break
        }
        scalars.append(scalar)
        if scalar == "\n" { starts.append(scalars.count) }
      }
    }
    self.scalars = scalars
    self.starts = starts
    if let wrong {
      let place = Place(line: starts.count, column: scalars.count - (starts.last ?? 0) + 1)
      // What follows was not read: the excerpt ends where the trouble begins.
      let excerpt = Mistake.Excerpt(scalars[(starts.last ?? 0)...], around: place)
      mistake(
        Mistake(file: file, place: place, message: wrong.message, suggestion: wrong.suggestion, excerpt: excerpt))
      return nil
    }
  }

  /// What YAML 1.2 §5.1 doesn't print, the line ends that editors don't count, and the plane that `YAMLDocument` marks with.
  private static func nameOfForbidden(_ scalar: Unicode.Scalar) -> String? {
    switch scalar.value {
    case 0x09, 0x0A, 0x0D, 0x20...0x7E, 0xA0...0x2027, 0x202A...0xD7FF, 0xE000...0xFEFE, 0xFF00...0xFFFD,
      0x1_0000...0xF_FFFF:
      return nil
    case 0x00...0x1F, 0x7F...0x9F: return "the control character \(code(scalar))"
    default: return "the character \(code(scalar))"
    }
  }

  private static func code(_ scalar: Unicode.Scalar) -> String {
    let digits = String(scalar.value, radix: 16, uppercase: true)
    return "U+" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits
  }

  /// The characters of a line, from 1, without its end.
  func line(_ number: Int) -> ArraySlice<Unicode.Scalar> {
    guard 1...starts.count ~= number else { return [] }
    let start = starts[number - 1]
    var end = number < starts.count ? starts[number] : scalars.count
    if end > start, scalars[end - 1] == "\n" { end -= 1 }
    if end > start, scalars[end - 1] == "\r" { end -= 1 }
    return scalars[start..<end]
  }

  /// The characters of a line from a column on.
  func rest(line number: Int, column: Int) -> ArraySlice<Unicode.Scalar> {
    line(number).dropFirst(max(0, column - 1))
  }

  /// How much of the line a value occupies that starts there: a word, a text in quotes, or else one character.
  func length(of text: String, at place: Place) -> Int {
    let rest = rest(line: place.line, column: place.column)
    guard let first = rest.first else { return 1 }
    if first == "\"" || first == "'" {
      guard let end = rest.dropFirst().firstIndex(of: first) else { return max(1, rest.count) }
      return end - rest.startIndex + 1
    }
    if !text.isEmpty, rest.starts(with: text.unicodeScalars) { return text.unicodeScalars.count }
    let trimmed = rest.lastIndex { $0 != " " && $0 != "\t" } ?? rest.startIndex
    return max(1, trimmed - rest.startIndex + 1)
  }
}

/// Collects the mistakes of one file.
struct Mistakes {
  let source: SourceText
  private(set) var all: [Mistake] = []
  /// Mistakes beyond `maximum`, counted only.
  private(set) var left = 0
  /// More are of no use to a person, and a hostile file must not fill the memory.
  static let maximum = 200

  init(source: SourceText) { self.source = source }

  var isFull: Bool { all.count >= Self.maximum }

  mutating func error(_ message: String, at place: Place?, suggestion: String? = nil) {
    add(.error, message, place, suggestion)
  }

  mutating func warning(_ message: String, at place: Place?, suggestion: String? = nil) {
    add(.warning, message, place, suggestion)
  }

  private mutating func add(_ severity: Mistake.Severity, _ message: String, _ place: Place?, _ suggestion: String?) {
    guard !isFull else {
      left += 1
      return
    }
    let excerpt = place.map { Mistake.Excerpt(source.line($0.line), around: $0) }
    all.append(
      Mistake(severity, file: source.file, place: place, message: message, suggestion: suggestion, excerpt: excerpt))
  }

  /// All, by place; those about the file as a whole first.
  var sorted: [Mistake] {
    // Swift's sort is stable: mistakes at one place stay in the order in which they were found.
    var result = all.sorted { ($0.place ?? Place(line: 0, column: 0)) < ($1.place ?? Place(line: 0, column: 0)) }
    if left > 0 { result.append(Mistake(file: source.file, message: "and \(left) mistakes more")) }
    return result
  }
}

/// A text from a file as a message quotes it: in one line, and not without end.
func quoted(_ text: some StringProtocol) -> String {
  let line = text.unicodeScalars.map { $0 == "\n" || $0 == "\t" ? " " : $0 }
  guard line.count > 60 else { return "'\(String(String.UnicodeScalarView(line)))'" }
  return "'\(String(String.UnicodeScalarView(line.prefix(57))))...'"
}
