/// A value of the file and where it stands: what YAML says, before it means anything.
struct Element: Sendable {
  var place: Place
  var content: Content

  indirect enum Content: Sendable {
    /// `isPlain`: written without quotes, so that it may be a number or true.
    case scalar(String, isPlain: Bool)
    case list([Element])
    case mapping([Entry])
    /// A key without a value, `~` or `null`.
    case nothing
    /// Something that was reported already, and that nobody should complain of again.
    case refused
  }

  struct Entry: Sendable {
    var name: String
    var place: Place
    var value: Element
  }
}

extension Element {
  /// The value of a key of a mapping.
  subscript(_ name: String) -> Element? { entry(name)?.value }

  /// The first entry of that name, where this is a mapping.
  func entry(_ name: String) -> Entry? { entries.first { $0.name == name } }

  /// The entries of a mapping, none of anything else.
  var entries: [Entry] {
    if case .mapping(let entries) = content { entries } else { [] }
  }

  /// The items of a list, or the value itself, for what may be written either way.
  var items: [Element] {
    switch content {
    case .list(let items): items
    case .nothing, .refused: []
    case .scalar, .mapping: [self]
    }
  }

  /// The characters of a word or a text.
  var text: String? {
    if case .scalar(let text, _) = content { text } else { nil }
  }

  /// What a message says was found.
  var summary: String {
    switch content {
    case .scalar(let text, _): quoted(text)
    case .list: "a list"
    case .mapping: "a mapping"
    case .nothing, .refused: "nothing"
    }
  }
}
