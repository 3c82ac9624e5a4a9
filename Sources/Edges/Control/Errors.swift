import Basis
import HTTP1
import Linux

/// Why the control socket could not be opened, or why no answer came. Each says what to do.
public enum ControlError: Error, Sendable, Hashable {
  /// A live daemon answers at that path.
  case anotherRuns(path: String, process: Int32)
  /// Something else has that name, and is not ours to remove.
  case pathTaken(path: String)
  /// Another process holds the lock of the folder for longer than a start takes.
  case folderBusy(path: String)
  /// Nobody listens there.
  case noDaemon(path: String)
  case permissionDenied(path: String)
  case timedOut(path: String, after: Duration)
  /// The daemon ended the connection before its answer was complete.
  case disconnected(path: String)
  case answerTooLarge(path: String, limit: Int)
  /// What came is no HTTP answer.
  case invalidAnswer(path: String, MessageError)
  /// The request cannot be written as HTTP.
  case invalidRequest(MessageError)
  /// Nobody reads any more what the answer is for.
  case unread
  case system(SystemError)

  /// Whether no daemon answers, as against one that refuses or a request that cannot be made.
  public var isAbsence: Bool {
    switch self {
    case .noDaemon, .timedOut, .disconnected: true
    default: false
    }
  }

  /// The exit code of a command that ends with this error: 3 where no daemon answers, 1 for the rest.
  public var exitCode: Int32 { isAbsence ? 3 : 1 }
}

extension ControlError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .anotherRuns(let path, let process):
      "another roost runs here (pid \(process)) and answers at \(path): stop it, or give this one its own --socket"
    case .pathTaken(let path):
      "\(path) exists and is no socket: remove it, or choose another path with --socket"
    case .folderBusy(let path):
      "the folder of \(path) is locked by another process: is another roost starting there?"
    case .noDaemon(let path):
      "no daemon answers at \(path): start one with `roost run`, or name its socket with --socket"
    case .permissionDenied(let path):
      "permission denied for \(path): run this as the user that runs the daemon (sudo), or name another socket with --socket"
    case .timedOut(let path, let duration):
      "the daemon at \(path) gave no answer within \(duration.words): is it stopped, or very busy?"
    case .disconnected(let path):
      "the daemon at \(path) ended the connection before it had answered: did it just stop?"
    case .answerTooLarge(let path, let limit):
      "the answer of the daemon at \(path) is longer than \(limit) bytes"
    case .invalidAnswer(let path, let error):
      "what listens at \(path) does not answer as a roost daemon does: \(error)"
    case .invalidRequest(let error): "the request cannot be sent: \(error)"
    case .unread: "nobody reads the answer"
    case .system(let error): error.description
    }
  }
}
