import Yams

/// Reads the YAML of a file. What YAML can do and a configuration has no use for (aliases, anchors, tags, a key twice,
/// two documents) is a mistake here, so that the rest sees only texts, lists and mappings.
///
/// Two characters of a plane that `SourceText` refuses stand in for others while Yams parses, one for one, so that every
/// place stays right. `*` is replaced everywhere: an alias then never comes to be, and a file of a few lines that expands
/// to gigabytes costs nothing. The first letter of a key that is there twice is replaced, because Yams stops at the first
/// such key, and all are to be reported.
struct YAMLDocument {
  private let source: SourceText
  private var scalars: [Unicode.Scalar]
  /// What the marks of repeated keys stand for.
  private var replaced: [Unicode.Scalar] = []

  private static let asterisk: Unicode.Scalar = "\u{10FFFD}"
  private static let firstMark: UInt32 = 0x10_0000
  /// Each repeated key costs another parse, so that a large file is given fewer.
  private var maximumRepeats: Int { max(2, min(32, (1 << 20) / max(1, scalars.count))) }
  /// Far deeper than any key lies.
  private static let maximumDepth = 32

  /// The file's one value; nil, with a mistake, where there is none.
  static func read(_ source: SourceText, _ mistakes: inout Mistakes) -> Element? {
    var document = YAMLDocument(source: source, scalars: source.scalars.map { $0 == "*" ? asterisk : $0 })
    return document.read(&mistakes)
  }

  private init(source: SourceText, scalars: [Unicode.Scalar]) {
    self.source = source
    self.scalars = scalars
  }

  private mutating func read(_ mistakes: inout Mistakes) -> Element? {
    var repeats: [Place] = []
    while true {
      do {
        let parser = try Yams.Parser(yaml: text, resolver: .basic, encoding: .utf8)
        // Anchors are held weakly by the nodes, and by the parser.
        return try withExtendedLifetime(parser) {
          guard let root = try parser.singleRoot() else {
            mistakes.error("the file is empty", at: nil, suggestion: "it needs at least 'cluster' and 'vips'")
            return nil
          }
          return element(root, depth: 0, &mistakes)
        }
      } catch YamlError.duplicatedKeysInMapping(_, let context) where repeats.count < maximumRepeats {
        let place = Place(line: context.mark.line, column: context.mark.column)
        guard markKey(at: place) else {
          mistakes.error("this key is there twice", at: place)
          return nil
        }
        repeats.append(place)
      } catch YamlError.duplicatedKeysInMapping {
        report(repeats, &mistakes)
        return nil
      } catch let error as YamlError {
        // A mark within an unusual key can make it unreadable; the repeated keys are the news then.
        if repeats.isEmpty { report(error, &mistakes) } else { report(repeats, &mistakes) }
        return nil
      } catch {
        mistakes.error("the file can't be read as YAML: \(error)", at: nil)
        return nil
      }
    }
  }

  private var text: String { String(String.UnicodeScalarView(scalars)) }

  private func report(_ repeats: [Place], _ mistakes: inout Mistakes) {
    for place in repeats { mistakes.error("this key is there twice", at: place, suggestion: "leave one") }
  }

  /// Makes a key differ from its namesake. The marks are unlike each other, and unlike all that a file may hold.
  private mutating func markKey(at place: Place) -> Bool {
    guard let mark = Unicode.Scalar(Self.firstMark + UInt32(replaced.count)) else { return false }
    guard 1...source.starts.count ~= place.line else { return false }
    var index = source.starts[place.line - 1] + place.column - 1
    guard scalars.indices.contains(index) else { return false }
    if scalars[index] == "\"" || scalars[index] == "'" { index += 1 }
    guard scalars.indices.contains(index), scalars[index] != "\n", scalars[index].value < Self.firstMark else {
      return false
    }
    replaced.append(scalars[index])
    scalars[index] = mark
    return true
  }

  /// A text with the original characters instead of the marks.
  private func original(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: { $0.value >= Self.firstMark }) else { return text }
    let restored = text.unicodeScalars.map { scalar -> Unicode.Scalar in
      if scalar == Self.asterisk { return "*" }
      guard scalar.value >= Self.firstMark else { return scalar }
      let index = Int(scalar.value - Self.firstMark)
      return replaced.indices.contains(index) ? replaced[index] : scalar
    }
    return String(String.UnicodeScalarView(restored))
  }
}

extension YAMLDocument {
  private func element(_ node: Yams.Node, depth: Int, _ mistakes: inout Mistakes) -> Element {
    var result = Element(place: node.mark.map { Place($0) } ?? Place(line: 1, column: 1), content: .nothing)
    guard depth < Self.maximumDepth else {
      mistakes.error("nested too deeply", at: result.place, suggestion: "\(Self.maximumDepth) levels at most")
      result.content = .refused
      return result
    }
    if let anchor = node.anchor {
      mistakes.error(
        "anchors such as \(quoted("&" + anchor.rawValue)) can't be used in a configuration", at: result.place,
        suggestion: "remove it")
    }
    if let tag = tag(of: node), !["", "!"].contains(tag), !tag.hasPrefix("tag:yaml.org,2002:") {
      mistakes.error(
        "tags such as \(quoted(tag)) can't be used in a configuration", at: result.place, suggestion: "remove it")
    }
    switch node {
    case .scalar(let scalar):
      let text = original(scalar.string)
      let isPlain = scalar.style == .plain
      result.place.length = source.length(of: isPlain ? text : "", at: result.place)
      if isPlain, text.hasPrefix("*"), scalar.string.unicodeScalars.first == Self.asterisk {
        mistakes.error(
          "aliases such as \(quoted(text)) can't be used in a configuration", at: result.place,
          suggestion: "write the value out, or in quotes if it begins with an asterisk")
        result.content = .refused
      } else if !isPlain || !["", "~", "null", "Null", "NULL"].contains(text) {
        result.content = .scalar(text, isPlain: isPlain)
      }
    case .sequence(let sequence):
      result.content = .list(sequence.map { element($0, depth: depth + 1, &mistakes) })
    case .mapping(let mapping):
      result.content = .mapping(entries(mapping, depth: depth, &mistakes))
    case .alias(let alias):
      mistakes.error(
        "aliases such as \(quoted("*" + alias.anchor.rawValue)) can't be used in a configuration", at: result.place)
      result.content = .refused
    }
    return result
  }

  /// As written, or as resolved.
  private func tag(of node: Yams.Node) -> String? {
    switch node {
    case .scalar(let scalar): scalar.tag.rawValue
    case .sequence(let sequence): sequence.tag.rawValue
    case .mapping(let mapping): mapping.tag.rawValue
    case .alias: nil
    }
  }

  private func entries(_ mapping: Yams.Node.Mapping, depth: Int, _ mistakes: inout Mistakes) -> [Element.Entry] {
    var entries: [Element.Entry] = []
    var lines: [String: Int] = [:]
    for (key, value) in mapping {
      let name = element(key, depth: depth + 1, &mistakes)
      let content = element(value, depth: depth + 1, &mistakes)
      if case .refused = name.content { continue }
      guard let text = name.text else {
        mistakes.error("a key has to be a word, found \(name.summary)", at: name.place)
        continue
      }
      if text == "<<" {
        mistakes.error(
          "merging with '<<' can't be used in a configuration", at: name.place, suggestion: "write the keys out")
        continue
      }
      if let line = lines[text] {
        mistakes.error(
          "key \(quoted(text)) is there twice: first on line \(line)", at: name.place, suggestion: "leave one")
        continue
      }
      lines[text] = name.place.line
      entries.append(Element.Entry(name: text, place: name.place, value: content))
    }
    return entries
  }
}

extension YAMLDocument {
  /// A mistake in the YAML itself. The parser can't go on behind it, so there is one.
  private func report(_ error: YamlError, _ mistakes: inout Mistakes) {
    switch error {
    case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
      .composer(let context, let problem, let mark, _):
      var place = Place(line: mark.line, column: mark.column)
      // Behind the last line there is nothing to show.
      if place.line > 1, source.line(place.line).isEmpty, let context { place = Place(context.mark) }
      let advice = advice(problem, at: place, context)
      mistakes.error(advice.message, at: place, suggestion: advice.suggestion)
    case .reader(let problem, _, _, _): mistakes.error("the file can't be read: \(problem)", at: nil)
    default: mistakes.error("the file can't be read as YAML: \(error)", at: nil)
    }
  }

  private func advice(_ problem: String, at place: Place, _ context: YamlError.Context?) -> (
    message: String, suggestion: String?
  ) {
    let line = String(String.UnicodeScalarView(source.line(place.line)))
    let rest = source.rest(line: place.line, column: place.column)
    if rest.first == "\t" || line.hasPrefix("\t") { return ("a tab can't indent in YAML", "use spaces") }
    if line.contains("]:") {
      return ("not YAML: \(problem)", "write an IPv6 address with a port in quotes: \"[2001:db8::1]:80\"")
    }
    if problem.contains("another document") {
      return ("a second document begins here", "one file holds one configuration: remove '---' and what follows")
    }
    if problem.contains("nesting level") { return ("nested too deeply", "\(Self.maximumDepth) levels at most") }
    if problem.contains("mapping values are not allowed") {
      return ("a ':' can't be here", "put a key on a line of its own, or a text that contains ': ' in quotes")
    }
    if let first = rest.first, "%@`".unicodeScalars.contains(first) {
      return ("a text can't begin with '\(first)'", "put it in quotes")
    }
    if problem.contains("expected ',' or"), let context {
      let bracket = source.rest(line: context.mark.line, column: context.mark.column).first ?? "["
      return (
        "expected ',' or '\(bracket == "{" ? "}" : "]")'", "the '\(bracket)' on line \(context.mark.line) is not closed"
      )
    }
    if problem.contains("did not find expected key") || problem.contains("expected <block end>") {
      return ("this line doesn't continue what is above it", "check how far it and the lines above are indented")
    }
    if problem.contains("could not find expected ':'") { return ("a key without ':'", "write KEY: VALUE") }
    if problem.contains("unexpected end of stream") { return ("a quote or bracket isn't closed", nil) }
    return ("not YAML: \(problem)", nil)
  }
}

extension Place {
  init(_ mark: Mark) { self.init(line: mark.line, column: mark.column) }
}
