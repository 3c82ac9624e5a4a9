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
  public var source: String?

  public init(
    _ severity: Severity = .error, file: String, place: Place? = nil, message: String, suggestion: String? = nil,
    source: String? = nil
  ) {
    self.severity = severity
    self.file = file
    self.place = place
    self.message = message
    self.suggestion = suggestion
    self.source = source
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
    (left.line, left.column, left.length) < (right.line, right.column, right.length)
  }
}
