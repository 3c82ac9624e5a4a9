import Foundation

/// A promise to put a configuration's file back as it was, unless somebody confirms the new one in time.
///
/// It stands alone: both texts are in it, so nothing else has to be there, or to be what it was, for it to be kept; and where the file
/// is neither of the two, somebody has decided otherwise since, and it is void.
public struct Unconfirmed: Codable, Sendable, Hashable {
  /// The configuration's file.
  public var path: String
  private var old: Data
  private var new: Data
  /// Nanoseconds since the boot that `boot` names. After another boot the time is over.
  public var deadline: Int64
  public var boot: String

  public init(
    path: String, before: [UInt8], after: [UInt8], deadline: Int64, boot: String = Unconfirmed.currentBoot
  ) {
    self.path = path
    old = Data(before)
    new = Data(after)
    self.deadline = deadline
    self.boot = boot
  }

  private enum CodingKeys: String, CodingKey {
    case path, deadline, boot
    case old = "before"
    case new = "after"
  }

  /// What was there.
  public var before: [UInt8] { Array(old) }
  /// What has to be confirmed.
  public var after: [UInt8] { Array(new) }

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

  /// Which of the texts is there. Where both are the same there is nothing to take back.
  public func standing(_ present: [UInt8]?) -> Standing {
    if present == before { return .before }
    return present == after ? .after : .other
  }

  public enum Standing: Sendable, Hashable {
    /// The new text has not been put in place, or is taken back already.
    case before
    case after
    /// Somebody has written another one, or removed it: the promise is void.
    case other
  }
}

/// Exchanges a configuration's file for another, so that a crash or a full disk at any point leaves the old file, or a promise by which the
/// next life puts exactly that back.
///
///     promise      {before, after, deadline}: from here on all is known that an undo needs
///     backup       FILE.previous, for people
///     exchange     FILE, in one step
///     …            the daemon puts it in place; somebody confirms
///     settle       the promise goes
///
/// What a crash has left is told by the file alone: the old text, then nothing has happened yet; the new one, then the promise counts; another
/// one, then it is void. Each step is whole or has not been, and each may be done twice.
public struct FileExchange: Sendable {
  /// Where the file is, symbolic links followed.
  public let path: String
  private let folder: String
  private let disk: any Disk

  /// - Parameters:
  ///   - path: the configuration's file.
  ///   - folder: where the promise is kept.
  public init(_ path: String, promises folder: String, disk: any Disk = RealDisk()) {
    self.path =
      realpath(path, nil).map { resolved in
        defer { free(resolved) }
        return String(cString: resolved)
      } ?? path
    self.folder = folder
    self.disk = disk
  }

  /// What was there before the last exchange, for people; nothing is undone by it.
  public var backup: String { path + ".previous" }
  /// What was taken back, for people.
  public var undone: String { path + ".undone" }
  private var promise: String { folder + "/unconfirmed.json" }

  /// The file that is there.
  public func present() throws(FileFault) -> [UInt8] {
    guard let bytes = try disk.read(path) else { throw FileFault("read", path, ENOENT) }
    return bytes
  }

  /// Puts the new text in the old one's place. Where it throws, `takeBack` and `settle` follow.
  public func exchange(_ promise: Unconfirmed, isPromised: Bool) throws(FileFault) {
    if isPromised { try record(promise) }
    try disk.write(promise.before, to: backup, like: path)
    try disk.write(promise.after, to: path, like: path)
  }

  public func record(_ promise: Unconfirmed) throws(FileFault) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(promise) else { throw FileFault("write", self.promise, EINVAL) }
    try disk.write(Array(data), to: self.promise, like: nil)
  }

  public func standing(of promise: Unconfirmed) throws(FileFault) -> Unconfirmed.Standing {
    promise.standing(try disk.read(path))
  }

  /// Puts the old text back where the new one is, and touches nothing else.
  /// - Returns: what was there.
  @discardableResult
  public func takeBack(_ promise: Unconfirmed) throws(FileFault) -> Unconfirmed.Standing {
    let standing = try standing(of: promise)
    guard standing == .after else { return standing }
    // A convenience, which must not cost what it is beside of: the undo.
    try? disk.write(promise.after, to: undone, like: path)
    try disk.write(promise.before, to: path, like: path)
    return .after
  }

  /// The promise is kept, void, or not wanted any more.
  public func settle() throws(FileFault) { try disk.remove(promise) }

  // MARK: The next life

  /// The promise that is on the disk.
  public enum Found: Sendable, Hashable {
    case nothing
    case promise(Unconfirmed)
    /// It is of another version, or damaged.
    case senseless
  }

  public func promised() throws(FileFault) -> Found {
    guard let bytes = try disk.read(promise) else { return .nothing }
    guard let found = try? JSONDecoder().decode(Unconfirmed.self, from: Data(bytes)) else { return .senseless }
    return .promise(found)
  }

  /// What a start has to know of what was left unconfirmed.
  public struct Recovery: Sendable, Hashable {
    /// What is still to be confirmed, or still to be taken back.
    public var unconfirmed: Unconfirmed?
    /// What was done about it, in words.
    public var said: String?
    /// Why it can't be taken back now.
    public var trouble: String?

    /// The time is over and the file is still the new one: this text is to be read in its stead.
    public var instead: [UInt8]? { trouble == nil ? nil : unconfirmed?.before }

    public init() {}
  }

  /// Before the configuration is read at a start: takes back what an earlier life was to take back.
  /// - Parameters:
  ///   - now: nanoseconds since boot.
  ///   - mayAct: false while another process lives that sees to it; then it is only looked what counts.
  public func recover(at now: Int64, mayAct: Bool = true) -> Recovery {
    var recovery = Recovery()
    guard mayAct else {
      guard case .promise(let promise)? = try? promised(), promise.path == path,
        (try? standing(of: promise)) == .after
      else { return recovery }
      recovery.unconfirmed = promise
      if promise.left(at: now) <= 0 { recovery.trouble = "the process before this one could not" }
      return recovery
    }
    do throws(FileFault) {
      switch try promised() {
      case .nothing: break
      case .senseless:
        if let bytes = try disk.read(promise) { try? disk.write(bytes, to: promise + ".unreadable", like: nil) }
        recovery.said = "\(promise) makes no sense, so nothing is undone by it; it is kept as \(promise).unreadable"
        try settle()
      case .promise(let promise) where promise.path != path:
        recovery.said =
          "a configuration that nobody confirmed stays in \(promise.path), which this daemon does not read"
        try settle()
      case .promise(let promise): recover(promise, at: now, &recovery)
      }
    } catch {
      recovery.said = [recovery.said, "\(error)"].compactMap { $0 }.joined(separator: "; ")
    }
    return recovery
  }

  private func recover(_ promise: Unconfirmed, at now: Int64, _ recovery: inout Recovery) {
    let isOver = promise.left(at: now) <= 0
    do throws(FileFault) {
      switch isOver ? try takeBack(promise) : try standing(of: promise) {
      case .after where !isOver:
        recovery.unconfirmed = promise
        return
      case .after: recovery.said = "nobody confirmed the configuration: the one before is back in \(path)"
      case .before: recovery.said = "\(path) is what it was before the change that nobody confirmed"
      case .other: recovery.said = Self.void(path)
      }
    } catch {
      recovery.unconfirmed = promise
      guard isOver else { return }
      recovery.trouble = "\(error)"
      recovery.said =
        "nobody confirmed the configuration: the one before counts, but \(path) can't be put back, which is tried again: \(error)"
      return
    }
    // Where it can't go, it is found void, or kept already, again.
    try? settle()
  }

  /// Said once: somebody has decided.
  public static func void(_ path: String) -> String {
    "nobody confirmed the configuration, but \(path) has been changed since: it stays as it is, and nothing is undone"
  }
}
