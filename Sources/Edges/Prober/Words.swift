import Basis
import Glibc
import HTTP1
import Linux

/// The words of a result: one line, short, and never a control character that a hostile server chose.
enum Words {
  private static let limit = 120

  /// What the network said.
  static func remote(_ code: Int32) -> String {
    switch code {
    case ECONNREFUSED: "connection refused"
    case ECONNRESET, EPIPE: "connection reset"
    case ETIMEDOUT: "connection timed out"
    case EHOSTUNREACH: "host unreachable"
    case ENETUNREACH: "network unreachable"
    default: SystemError.message(code).lowercased()
    }
  }

  /// What this host could not do, and what to do about it.
  static func local(_ error: SystemError) -> String { clean("not checked: \(error)", limit: 240) }

  static func status(_ status: Int, _ reason: String) -> String {
    let words = clean(reason.isEmpty ? standardReason(of: status) : reason)
    return words.isEmpty ? "\(status)" : "\(status) \(words)"
  }

  /// Without line ends, control and formatting characters (a terminal would obey them), and no longer than the limit.
  static func clean(_ text: String, limit: Int = limit) -> String {
    var result = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
      guard result.count < limit else {
        result.append("…")
        break
      }
      switch scalar.properties.generalCategory {
      case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned:
        result.append("?")
      default: result.append(scalar)
      }
    }
    return String(result)
  }
}
