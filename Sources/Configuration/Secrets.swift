import Foundation

extension Reading {
  /// What is wrong with the files that the configuration names as secrets. Reads them; what it read is not kept.
  public func secretMistakes() -> [Mistake] {
    guard let source else { return [] }
    var mistakes = Mistakes(source: source)
    for secret in draft.secrets { report(secret, Secret.read(secret.value), &mistakes) }
    for key in draft.keyFiles { report(key, Secret.readKey(key.value), &mistakes) }
    for token in draft.tokenFiles { report(token, Secret.readToken(token.value), &mistakes) }
    return mistakes.sorted
  }

  private func report<Value>(
    _ file: Draft.Located<String>, _ result: Result<Value, Secret.Failure>, _ mistakes: inout Mistakes
  ) {
    if case .success = result, let caution = Secret.caution(file.value) {
      mistakes.warning(caution, at: file.place, suggestion: "chmod 600 \(file.value)")
    }
    guard case .failure(let failure) = result else { return }
    if failure.isOnlyUnchecked {
      mistakes.warning(failure.message(file.value), at: file.place, suggestion: failure.suggestion(file.value))
    } else {
      mistakes.error(failure.message(file.value), at: file.place, suggestion: failure.suggestion(file.value))
    }
  }

  /// The programs that the configuration names and that this machine can't run. Looks at their files only.
  public func programMistakes() -> [Mistake] {
    guard let source else { return [] }
    var mistakes = Mistakes(source: source)
    for program in draft.programs where access(program.value, X_OK) != 0 {
      let code = errno
      if code == EACCES, access(program.value, F_OK) == 0 {
        mistakes.error(
          "\(quoted(program.value)) may not be run", at: program.place, suggestion: "chmod +x \(program.value)")
      } else {
        mistakes.error(
          "\(quoted(program.value)) can't be run: \(String(cString: strerror(code)))", at: program.place,
          suggestion: "install it, or correct the path")
      }
    }
    return mistakes.sorted
  }
}

extension Draft {
  fileprivate var keyFiles: [Located<String>] {
    vips.flatMap { vip in
      (vip.element["vrrp"]?["auth"]?["keys"]?.entries ?? []).compactMap { entry in
        entry.value.text.map { Located(value: $0, place: entry.value.place) }
      }
    }
  }

  fileprivate var tokenFiles: [Located<String>] {
    notificationEntries.compactMap { entry in
      entry.value["authorization"].flatMap { item in item.text.map { Located(value: $0, place: item.place) } }
    }
  }

  fileprivate var programs: [Located<String>] {
    let commands =
      vips.compactMap { $0.element["before-announcing"]?["command"] }
      + trackerEntries.compactMap { $0.value["command"] } + notificationEntries.compactMap { $0.value["command"] }
    return commands.compactMap { command in
      command.items.first.flatMap { item in item.text.map { Located(value: $0, place: item.place) } }
    }
  }
}

/// A secret that the nodes share, and other files that nobody else may read.
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
    /// The number of the user, who could put another one in its place.
    case ofAnotherUser(UInt32)
    /// Its length in bytes.
    case tooShort(Int)
    case tooLong
    /// A key for adverts, and its length in bytes.
    case notAKey(Int)
    case notAToken

    /// This user can't tell; another may.
    var isOnlyUnchecked: Bool { self == .unreadable(EACCES) }

    public func message(_ path: String) -> String {
      switch self {
      case .unreadable(let code): "\(quoted(path)) can't be read: \(String(cString: strerror(code)))"
      case .notAFile: "\(quoted(path)) is no file"
      case .readableByAll(let mode):
        "\(quoted(path)) may be read by every user (mode \(String(mode & 0o777, radix: 8)))"
      case .ofAnotherUser(let user):
        "\(quoted(path)) belongs to user \(user), who is neither root nor the one who runs this"
      case .tooShort(let length): "\(quoted(path)) holds \(length) bytes, a secret has \(Secret.minimumLength) or more"
      case .tooLong: "\(quoted(path)) is too long for a secret"
      case .notAKey(let length):
        "\(quoted(path)) holds \(length) bytes, a key has \(Secret.keyLengths.lowerBound) to \(Secret.keyLengths.upperBound)"
      case .notAToken: "\(quoted(path)) holds no value of an Authorization header: one line of visible ASCII"
      }
    }

    public func suggestion(_ path: String) -> String? {
      switch self {
      case .unreadable(EACCES): "check as a user who may read it"
      case .unreadable(ENOENT), .tooShort:
        "make one: roost secret \(path), and copy it to each node"
      case .notAKey: "make one: head -c 32 /dev/urandom | base64 -w 0 > \(path), and copy it to each node"
      case .readableByAll: "chmod 600 \(path)"
      case .ofAnotherUser: "chown root \(path)"
      case .unreadable, .notAFile, .tooLong, .notAToken: nil
      }
    }
  }

  /// The bytes of a secret's file, without the newline at its end.
  public static func read(_ path: String) -> Result<[UInt8], Failure> {
    switch readPrivate(path) {
    case .success(let bytes) where bytes.count < minimumLength: .failure(.tooShort(bytes.count))
    case let result: result
    }
  }

  /// Of a key for adverts, in bytes (draft-cassen-vrrp-auth-hmac-00).
  static let keyLengths = 32...64

  /// The bytes of a file with a key for adverts, without the newline at its end; or those that hexadecimal digits behind `hex:` say,
  /// as keepalived writes them.
  public static func readKey(_ path: String) -> Result<[UInt8], Failure> {
    switch readPrivate(path).map({ bytes in bytesOfHexadecimal(bytes) ?? bytes }) {
    case .success(let bytes) where !keyLengths.contains(bytes.count): .failure(.notAKey(bytes.count))
    case let result: result
    }
  }

  private static func bytesOfHexadecimal(_ text: [UInt8]) -> [UInt8]? {
    guard text.starts(with: "hex:".utf8), text.count % 2 == 0 else { return nil }
    let digits = text.dropFirst(4).compactMap { Character(UnicodeScalar($0)).hexDigitValue }
    guard digits.count == text.count - 4 else { return nil }
    return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
  }

  /// What should be otherwise with a file that can be used.
  static func caution(_ path: String) -> String? {
    var status = stat()
    guard stat(path, &status) == 0, status.st_mode & 0o070 != 0 else { return nil }
    return "\(quoted(path)) may be read or changed by its group (mode \(String(status.st_mode & 0o777, radix: 8)))"
  }

  /// The value of an Authorization header.
  public static func readToken(_ path: String) -> Result<String, Failure> {
    readPrivate(path).flatMap { bytes in
      1...4096 ~= bytes.count && bytes.allSatisfy { 32...126 ~= $0 }
        ? .success(String(decoding: bytes, as: UTF8.self)) : .failure(.notAToken)
    }
  }

  /// The bytes of a file that not everybody may read, without the newline at its end.
  private static func readPrivate(_ path: String) -> Result<[UInt8], Failure> {
    var status = stat()
    guard stat(path, &status) == 0 else { return .failure(.unreadable(errno)) }
    guard status.st_mode & S_IFMT == S_IFREG else { return .failure(.notAFile) }
    guard status.st_mode & 0o007 == 0 else { return .failure(.readableByAll(status.st_mode)) }
    guard status.st_uid == 0 || status.st_uid == geteuid() else { return .failure(.ofAnotherUser(status.st_uid)) }
    switch readFile(path, atMost: maximumLength + 1) {
    case .failure(let failure): return .failure(.unreadable(failure.code))
    case .success(var bytes):
      guard bytes.count <= maximumLength else { return .failure(.tooLong) }
      if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
      return .success(bytes)
    }
  }
}
