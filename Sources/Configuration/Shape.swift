/// What may stand at a place in the file.
///
/// The whole file is described once, by such values (`Grammar`). The reader's checks of form, its suggestions and the
/// JSON Schema all come from that one description, so that they can't disagree.
indirect enum Shape: Sendable {
  case scalar(ScalarKind)
  /// One value, or a list of one to `most`.
  case oneOrMany(ScalarKind, most: Int)
  /// A list of one to `most` values.
  case list(ScalarKind, most: Int)
  /// A mapping with these keys.
  case keys(of: String, [Key])
  /// A mapping from one to `most` names that the file's author chose.
  case names(of: String, Shape, most: Int)
  /// A mapping from one to `most` numbers of a range.
  case numbers(of: String, ClosedRange<Int>, Shape, most: Int)
  /// A short form in one value, or in a list of one to `most` where that is more than one, and a long form.
  case short(ScalarKind, most: Int = 1, long: Shape)
}

/// A key of a mapping.
struct Key: Sendable {
  var name: String
  var shape: Shape
  var isRequired: Bool
  /// What counts without the key, as the file would say it.
  var `default`: JSON?
  /// For the schema: one or two sentences.
  var documentation: String
  /// Fixed for a later version; until then a mistake of its own.
  var isLater: Bool

  init(_ name: String, _ shape: Shape, required: Bool = false, default: JSON? = nil, _ documentation: String) {
    self.name = name
    self.shape = shape
    isRequired = required
    self.default = `default`
    self.documentation = documentation
    isLater = false
  }

  static func later(_ name: String) -> Key {
    var key = Key(name, .scalar(.anyText), "")
    key.isLater = true
    return key
  }
}

/// A value that is one word or text.
struct ScalarKind: Sendable {
  /// With an article and an example, as a message says it was expected.
  var expected: String
  /// Keywords of JSON Schema.
  var schema: [(String, JSON)]
  /// A number or a truth: in quotes it is a text.
  var isPlain = false
  /// What is wrong with a text; nil if nothing is.
  var problem: @Sendable (String) -> Problem?

  struct Problem: Sendable {
    var message: String
    var suggestion: String?

    init(_ message: String, _ suggestion: String? = nil) {
      self.message = message
      self.suggestion = suggestion
    }
  }
}

extension Shape {
  /// Reports what has the wrong form.
  ///
  /// - Parameters:
  ///   - element: what stands there.
  ///   - owner: the key it belongs to, which is shown where the value itself can't be.
  func check(_ element: Element, owner: Place?, _ mistakes: inout Mistakes) {
    if case .refused = element.content { return }
    if case .nothing = element.content {
      mistakes.error("expected \(expected), found nothing", at: owner ?? element.place)
      return
    }
    switch (self, element.content) {
    case (.scalar(let kind), .scalar), (.oneOrMany(let kind, _), .scalar), (.short(let kind, _, _), .scalar):
      kind.check(element, &mistakes)
    case (.oneOrMany(let kind, let most), .list(let items)), (.list(let kind, let most), .list(let items)),
      (.short(let kind, let most, _), .list(let items)) where most > 1:
      Shape.checkCount(items.count, most: most, of: "items", at: owner ?? element.place, &mistakes)
      for item in items { Shape.scalar(kind).check(item, owner: nil, &mistakes) }
    case (.keys(let what, let keys), .mapping(let entries)):
      Shape.check(entries, of: what, keys, owner: owner ?? element.place, &mistakes)
    case (.names(let what, let shape, let most), .mapping(let entries)):
      Shape.checkCount(entries.count, most: most, of: "entries", at: owner ?? element.place, &mistakes)
      for entry in entries {
        if let problem = ScalarKind.name(of: what).problem(entry.name) {
          mistakes.error(problem.message, at: entry.place, suggestion: problem.suggestion)
        }
        shape.check(entry.value, owner: entry.place, &mistakes)
      }
    case (.numbers(let what, let range, let shape, let most), .mapping(let entries)):
      Shape.checkCount(entries.count, most: most, of: "entries", at: owner ?? element.place, &mistakes)
      for entry in entries {
        if !(wholeNumber(entry.name).map(range.contains) ?? false) {
          mistakes.error(
            "expected the number of \(what), from \(range.lowerBound) to \(range.upperBound), found \(quoted(entry.name))",
            at: entry.place)
        }
        shape.check(entry.value, owner: entry.place, &mistakes)
      }
    case (.short(_, _, let long), .mapping): long.check(element, owner: owner, &mistakes)
    case (.list(let kind, _), .scalar(let text, _)):
      mistakes.error(
        "expected \(expected), found \(element.summary)", at: element.place,
        suggestion: kind.problem(text) == nil ? "write [\(text)]" : nil)
    default: mistakes.error("expected \(expected), found \(element.summary)", at: element.place)
    }
  }

  private static func checkCount(
    _ count: Int, most: Int, of what: String, at place: Place, _ mistakes: inout Mistakes
  ) {
    if count == 0 { mistakes.error("expected at least one entry, found none", at: place) }
    if count > most { mistakes.error("\(count) \(what), \(most) at most", at: place) }
  }

  private static func check(
    _ entries: [Element.Entry], of what: String, _ keys: [Key], owner: Place, _ mistakes: inout Mistakes
  ) {
    // A slip for a key that is required is one mistake, not two.
    var meant: [String] = []
    for entry in entries {
      guard let key = keys.first(where: { $0.name == entry.name }) else {
        let advice = mistakes.isFull ? nil : advice(on: entry.name, among: keys)
        mistakes.error("unknown key \(quoted(entry.name)) of \(what)", at: entry.place, suggestion: advice?.text)
        if let name = advice?.meant { meant.append(name) }
        continue
      }
      if key.isLater {
        mistakes.error("'\(key.name)' is not available in this version", at: entry.place, suggestion: "remove it")
      } else {
        key.shape.check(entry.value, owner: entry.place, &mistakes)
      }
    }
    for key in keys
    where key.isRequired && !meant.contains(key.name) && !entries.contains(where: { $0.name == key.name }) {
      mistakes.error(
        "missing key '\(key.name)' of \(what)", at: owner, suggestion: "add \(key.name): \(key.shape.sketch)")
    }
  }

  /// What to do about an unknown key, and which key it likely was meant to be.
  private static func advice(on name: String, among keys: [Key]) -> (text: String, meant: String?) {
    let known = keys.filter { !$0.isLater }
    if let key = known.first(where: { $0.shape.keyNames.contains(name) }) {
      return ("write it under '\(key.name)'", nil)
    }
    if let guess = nearest(name, among: known.map(\.name)) { return ("did you mean '\(guess)'?", guess) }
    return ("known are " + known.map(\.name).joined(separator: ", "), nil)
  }

  /// The names of the keys of a mapping of this shape.
  private var keyNames: [String] {
    switch self {
    case .keys(_, let keys): keys.map(\.name)
    case .short(_, _, let long): long.keyNames
    case .scalar, .oneOrMany, .list, .names, .numbers: []
    }
  }

  /// For messages: what is expected, with an article.
  private var expected: String {
    switch self {
    case .scalar(let kind): kind.expected
    case .oneOrMany(let kind, _): "\(kind.expected), or a list"
    case .list(let kind, _): "a list, each item \(kind.expected)"
    case .keys(let what, _): "a mapping with the keys of \(what)"
    case .names(let what, _, _): "a mapping from names, each that of \(what)"
    case .numbers(let what, _, _, _): "a mapping from numbers, each that of \(what)"
    case .short(let kind, let most, let long): "\(kind.expected), \(most > 1 ? "a list, " : "")or \(long.expected)"
    }
  }

  /// A placeholder for a missing value.
  private var sketch: String {
    switch self {
    case .scalar, .oneOrMany, .short: "…"
    case .list: "[…]"
    case .keys, .names, .numbers: "{ … }"
    }
  }
}

extension ScalarKind {
  func check(_ element: Element, _ mistakes: inout Mistakes) {
    guard case .scalar(let text, let isPlain) = element.content else { return }
    if self.isPlain, !isPlain {
      let suggestion = problem(text) == nil ? "write \(text) without quotes" : nil
      mistakes.error("expected \(expected), found text in quotes", at: element.place, suggestion: suggestion)
    } else if let problem = problem(text) {
      mistakes.error(problem.message, at: element.place, suggestion: problem.suggestion)
    }
  }

  /// The usual problem: it is something else.
  func unexpected(_ text: String, _ suggestion: String? = nil) -> Problem {
    Problem("expected \(expected), found \(text.isEmpty ? "an empty text" : quoted(text))", suggestion)
  }
}
