import Foundation

/// What `FileExchange` needs of a disk. Tests have one that fills up, or dies in between.
public protocol Disk: Sendable {
  /// Nil where there is no such file.
  func read(_ path: String) throws(FileFault) -> [UInt8]?
  /// All of it or nothing, and on the disk, name included, before this returns. Where it throws, the file may be the old or the new one.
  /// - Parameter model: the file whose owner and mode it gets; nil: this user's alone.
  func write(_ bytes: [UInt8], to path: String, like model: String?) throws(FileFault)
  /// It is gone from the disk before this returns. No such file is no fault.
  func remove(_ path: String) throws(FileFault)
}

/// Why a file could not be read or written, in words.
public struct FileFault: Error, Sendable, Hashable, CustomStringConvertible {
  public var description: String

  /// - Parameters:
  ///   - call: what was to be done, as in "can't write".
  ///   - code: of `errno`.
  public init(_ call: String, _ path: String, _ code: Int32) {
    description = "can't \(call) \(path): \(String(cString: strerror(code)))"
  }
}

/// The machine's.
public struct RealDisk: Disk {
  /// Two configurations, as large as they may be, fit into one file.
  private static let largest = 4 * SourceText.maximumSize

  public init() {}

  public func read(_ path: String) throws(FileFault) -> [UInt8]? {
    switch readFile(path, atMost: Self.largest + 1) {
    case .success(let bytes):
      guard bytes.count <= Self.largest else { throw FileFault("read", path, EFBIG) }
      return bytes
    case .failure(let failure) where failure.code == ENOENT: return nil
    case .failure(let failure): throw FileFault("read", path, failure.code)
    }
  }

  /// Writes beside, and renames: whoever reads sees the old or the new.
  public func write(_ bytes: [UInt8], to path: String, like model: String?) throws(FileFault) {
    let beside = path + ".new"
    unlink(beside)
    let descriptor = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard descriptor >= 0 else { throw FileFault("write", beside, errno) }
    do throws(FileFault) {
      defer { close(descriptor) }
      if let model { try Self.dress(descriptor, beside, like: model) }
      try Self.write(bytes, descriptor, beside)
      guard fsync(descriptor) == 0 else { throw FileFault("write", beside, errno) }
      guard rename(beside, path) == 0 else { throw FileFault("replace", path, errno) }
    } catch {
      unlink(beside)
      throw error
    }
    try Self.syncFolder(of: path)
  }

  public func remove(_ path: String) throws(FileFault) {
    guard unlink(path) == 0 || errno == ENOENT else { throw FileFault("remove", path, errno) }
    try Self.syncFolder(of: path)
  }

  private static func dress(_ descriptor: Int32, _ path: String, like model: String) throws(FileFault) {
    var status = stat()
    guard stat(model, &status) == 0 else { return }
    // Only root may give a file away; then it stays this user's.
    if fchown(descriptor, status.st_uid, status.st_gid) != 0, errno != EPERM { throw FileFault("own", path, errno) }
    guard fchmod(descriptor, status.st_mode & 0o777) == 0 else { throw FileFault("chmod", path, errno) }
  }

  private static func write(_ bytes: [UInt8], _ descriptor: Int32, _ path: String) throws(FileFault) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
      if count < 0, errno != EINTR { throw FileFault("write", path, errno) }
      rest = rest.dropFirst(max(0, count))
    }
  }

  /// A name that was changed is on the disk with its folder only.
  private static func syncFolder(of path: String) throws(FileFault) {
    let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
    let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else {
      // Who may change a folder's names need not be one who may read them.
      if errno == EACCES || errno == ENOENT { return }
      throw FileFault("open", folder, errno)
    }
    defer { close(descriptor) }
    // EINVAL: a file system that has nothing to do for it.
    guard fsync(descriptor) == 0 || errno == EINVAL else { throw FileFault("write", folder, errno) }
  }
}
