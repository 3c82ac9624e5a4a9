import Foundation

/// A configuration's file, which is replaced as a whole or not at all, and kept beside.
public struct ConfigurationFile: Sendable {
  /// Where the file is, symbolic links followed.
  public let path: String

  public init(_ path: String) {
    self.path =
      realpath(path, nil).map { resolved in
        defer { free(resolved) }
        return String(cString: resolved)
      } ?? path
  }

  /// What was there before the last `replace`.
  public var backup: String { path + ".previous" }
  /// What `restore` has put aside.
  public var undone: String { path + ".undone" }

  /// Why a file could not be read or written, in words.
  public struct Failure: Error, Sendable, Hashable, CustomStringConvertible {
    public var description: String

    init(_ call: String, _ path: String, _ code: Int32) {
      description = "can't \(call) \(path): \(String(cString: strerror(code)))"
    }
  }

  public func bytes() throws(Failure) -> [UInt8] { try Self.bytes(path) }

  /// Keeps what is there as the backup, then puts the new text in its place in one step, on the disk before this returns.
  public func replace(with bytes: [UInt8]) throws(Failure) {
    let status = Self.status(path)
    try Self.write(try Self.bytes(path), to: backup, like: status)
    try Self.write(bytes, to: path, like: status)
  }

  /// Puts the backup back in its place. What is there goes aside, so that nothing that a person wrote is lost.
  public func restore() throws(Failure) {
    let status = Self.status(path)
    let old = try Self.bytes(backup)
    if let current = try? Self.bytes(path) { try Self.write(current, to: undone, like: status) }
    try Self.write(old, to: path, like: status)
  }

  private static func bytes(_ path: String) throws(Failure) -> [UInt8] {
    switch readFile(path, atMost: SourceText.maximumSize + 1) {
    case .success(let bytes): return bytes
    case .failure(let failure): throw Failure("read", path, failure.code)
    }
  }

  private static func status(_ path: String) -> stat? {
    var status = stat()
    return stat(path, &status) == 0 ? status : nil
  }

  /// Writes beside, and renames: whoever reads sees the old or the new. Owner and mode are those of the file that is replaced.
  static func write(_ bytes: [UInt8], to path: String, like status: stat?) throws(Failure) {
    let beside = path + ".new"
    unlink(beside)
    let descriptor = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard descriptor >= 0 else { throw Failure("write", beside, errno) }
    do throws(Failure) {
      defer { close(descriptor) }
      if let status {
        // Only root may give a file away; then it stays this user's.
        if fchown(descriptor, status.st_uid, status.st_gid) != 0, errno != EPERM { throw Failure("own", beside, errno) }
        guard fchmod(descriptor, status.st_mode & 0o777) == 0 else { throw Failure("chmod", beside, errno) }
      }
      var rest = bytes[...]
      while !rest.isEmpty {
        let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
        if count < 0, errno != EINTR { throw Failure("write", beside, errno) }
        rest = rest.dropFirst(max(0, count))
      }
      guard fsync(descriptor) == 0 else { throw Failure("write", beside, errno) }
    } catch {
      unlink(beside)
      throw error
    }
    guard rename(beside, path) == 0 else { throw Failure("replace", path, errno) }
    let folder = open(
      path.hasPrefix("/") ? String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]) + "/" : ".",
      O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if folder >= 0 {
      fsync(folder)
      close(folder)
    }
  }
}

/// A configuration that is in place until somebody confirms it, or the time for that is over: then the one before comes back.
///
/// It is a file in the state folder, so that a daemon that dies and comes back goes on counting.
public struct Unconfirmed: Codable, Sendable, Hashable {
  /// The configuration's file.
  public var path: String
  /// Nanoseconds since the boot that `boot` names. After another boot the time is over.
  public var deadline: Int64
  public var boot: String

  public init(path: String, deadline: Int64, boot: String = Unconfirmed.currentBoot) {
    self.path = path
    self.deadline = deadline
    self.boot = boot
  }

  /// Of this machine, as the kernel names it.
  public static var currentBoot: String {
    guard case .success(let bytes) = readFile("/proc/sys/kernel/random/boot_id", atMost: 64) else { return "" }
    return String(decoding: bytes.filter { $0 > 32 }, as: UTF8.self)
  }

  /// Nanoseconds that are left; zero or less: the time is over.
  public func left(at now: Int64) -> Int64 {
    guard boot == Unconfirmed.currentBoot else { return 0 }
    let (left, overflow) = deadline.subtractingReportingOverflow(now)
    return overflow ? 0 : left
  }

  private static func file(_ folder: String) -> String { folder + "/unconfirmed.json" }

  /// Nil where there is none, or none that can be read.
  public static func read(in folder: String) -> Unconfirmed? {
    guard case .success(let bytes) = readFile(file(folder), atMost: 65_536) else { return nil }
    return try? JSONDecoder().decode(Unconfirmed.self, from: Data(bytes))
  }

  public func write(in folder: String) throws(ConfigurationFile.Failure) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(self) else { return }
    try ConfigurationFile.write(Array(data), to: Self.file(folder), like: nil)
  }

  public static func remove(in folder: String) { unlink(file(folder)) }
}
