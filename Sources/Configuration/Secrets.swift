import Foundation

extension Reading {
  /// What is wrong with the files that the configuration names as secrets. Reads them; what it read is not kept.
  public func secretMistakes() -> [Mistake] {
    guard let source else { return [] }
    var mistakes = Mistakes(source: source)
    for secret in draft.secrets {
      switch Secret.read(secret.value) {
      case .success: break
      case .failure(let failure):
        if failure.isOnlyUnchecked {
          mistakes.warning(
            failure.message(secret.value), at: secret.place, suggestion: failure.suggestion(secret.value))
        } else {
          mistakes.error(failure.message(secret.value), at: secret.place, suggestion: failure.suggestion(secret.value))
        }
      }
    }
    return mistakes.sorted
  }
}

/// A secret that the nodes share.
public enum Secret {
  /// In bytes.
  public static let minimumLength = 32
  private static let maximumLength = 65_536

  public enum Failure: Error, Sendable, Hashable {
    /// An errno.
    case unreadable(Int32)
    case notAFile
    /// Its mode.
    case readableByAll(UInt32)
    /// Its length in bytes.
    case tooShort(Int)
    case tooLong

    /// This user can't tell; another may.
    var isOnlyUnchecked: Bool { self == .unreadable(EACCES) }

    public func message(_ path: String) -> String {
      switch self {
      case .unreadable(let code): "\(quoted(path)) can't be read: \(String(cString: strerror(code)))"
      case .notAFile: "\(quoted(path)) is no file"
      case .readableByAll(let mode):
        "\(quoted(path)) may be read by every user (mode \(String(mode & 0o777, radix: 8)))"
      case .tooShort(let length): "\(quoted(path)) holds \(length) bytes, a secret has \(Secret.minimumLength) or more"
      case .tooLong: "\(quoted(path)) is too long for a secret"
      }
    }

    public func suggestion(_ path: String) -> String? {
      switch self {
      case .unreadable(EACCES): "check as a user who may read it"
      case .unreadable(ENOENT), .tooShort:
        "make one: head -c 32 /dev/urandom | base64 > \(path), and copy it to each node"
      case .readableByAll: "chmod 600 \(path)"
      case .unreadable, .notAFile, .tooLong: nil
      }
    }
  }

  /// The bytes of a secret's file, without the newline at its end.
  public static func read(_ path: String) -> Result<[UInt8], Failure> {
    var status = stat()
    guard stat(path, &status) == 0 else { return .failure(.unreadable(errno)) }
    guard status.st_mode & S_IFMT == S_IFREG else { return .failure(.notAFile) }
    guard status.st_mode & 0o007 == 0 else { return .failure(.readableByAll(status.st_mode)) }
    switch readFile(path, atMost: maximumLength + 1) {
    case .failure(let failure): return .failure(.unreadable(failure.code))
    case .success(var bytes):
      guard bytes.count <= maximumLength else { return .failure(.tooLong) }
      if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
      return bytes.count < minimumLength ? .failure(.tooShort(bytes.count)) : .success(bytes)
    }
  }
}
