/// Something in a configuration that a person should change, and where it stands.
public struct Mistake: Sendable, Hashable {
  public enum Severity: String, Sendable, Hashable {
    /// The file is not used.
    case error
    /// The file is used, but it likely does not do what its author wants.
    case warning
  }

  public var severity: Severity
  public var file: String
  /// Nil where the mistake is about the file as a whole.
  public var place: Place?
  /// What is wrong, in one line without a full stop.
  public var message: String
  /// What to do, in one line without a full stop.
  public var suggestion: String?
  /// The line of the file that `place` points at.
  public var excerpt: Excerpt?

  public init(
    _ severity: Severity = .error, file: String, place: Place? = nil, message: String, suggestion: String? = nil,
    excerpt: Excerpt? = nil
  ) {
    self.severity = severity
    self.file = file
    self.place = place
    self.message = message
    self.suggestion = suggestion
    self.excerpt = excerpt
  }

  /// A line of the file, or as much of it as is readable.
  public struct Excerpt: Sendable, Hashable {
    public var text: String
    /// How many characters of the line are left out before `text`.
    public var skipped: Int

    /// Of a long line, the part around a place.
    init(_ line: ArraySlice<Unicode.Scalar>, around place: Place) {
      let width = 110
      skipped = line.count <= width ? 0 : max(0, min(place.column - 1 - width / 3, line.count - width))
      text = String(String.UnicodeScalarView(line.dropFirst(skipped).prefix(width)))
    }
  }
}

/// A stretch of one line of a file.
public struct Place: Sendable, Hashable, Comparable {
  /// From 1.
  public var line: Int
  /// From 1, in characters (Unicode scalars).
  public var column: Int
  /// In characters, 1 or more: how much the carets underline.
  public var length: Int

  public init(line: Int, column: Int, length: Int = 1) {
    self.line = line
    self.column = column
    self.length = length
  }

  public static func < (left: Place, right: Place) -> Bool {
    (left.line, left.column) < (right.line, right.column)
  }
}
