import CLinux
import Glibc

/// Why the lab could not do something: what happened, where, and what to do.
public struct LabError: Error, Sendable, CustomStringConvertible {
  public enum Kind: Sendable, Hashable {
    /// The host lacks something: a program, a right.
    case host
    /// The configuration, the scenario or an argument asks for what the lab can't do.
    case usage
    /// Something went wrong on the way.
    case failed
    /// A person ended it (SIGINT, SIGTERM).
    case interrupted
  }
  public var kind: Kind
  public var description: String

  public init(_ kind: Kind, _ description: String) {
    self.kind = kind
    self.description = description
  }

  /// A refused system call; `code` is a positive or negative errno.
  static func system(_ what: String, _ code: Int32) -> LabError {
    let number = code.magnitude
    let kind: Kind = number == UInt32(EPERM) || number == UInt32(EACCES) ? .host : .failed
    return LabError(kind, "\(what): \(describe(errno: Int32(number)))")
  }
}

func describe(errno code: Int32) -> String {
  var buffer = [CChar](repeating: 0, count: 128)
  guard strerror_r(code, &buffer, buffer.count) == 0 else { return "error \(code)" }
  return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
