import Basis
import CLinux
import Glibc
import Synchronization

/// The file of an `AddressJournal`. It is written whole, beside the old one, and put in its place: what is read is the old or the new.
///
/// And there is a second one, because what an interface's settings were before is written nowhere else: where one is lost or damaged, or a
/// full disk keeps the old text, the other one tells. It is on another file system where that can be: below /run for a path below /var/lib.
///
/// Each writing has a thread of its own. A disk that hangs must not keep the address thread from renewing what it holds.
final class JournalFile: Sendable {
  let path: String
  let copy: String
  /// The number of the last writing that was asked for: an older one that comes late is left out.
  private let newest = Mutex<UInt64>(0)
  private let writing = Mutex<Void>(())
  private let last = Mutex(State())

  /// What became of the last writing.
  struct State: Sendable {
    /// False while it is under way, which on a disk that hangs may be for ever.
    var isDone = true
    /// Of the last one that ended.
    var trouble: String?
  }

  var state: State { last.withLock { $0 } }

  /// More than a journal of thousands of VIPs has.
  private static let longest = 4 << 20

  init(path: String) {
    self.path = path
    copy = Self.copy(of: path)
  }

  private static func copy(of path: String) -> String {
    let lasting = "/var/lib/"
    return path.hasPrefix(lasting) ? "/run/" + path.dropFirst(lasting.count) : path + ".copy"
  }

  /// What the journal says; nil where there is none that says anything.
  struct Reading {
    var journal: AddressJournal?
    /// What people should know, in words.
    var troubles: [String] = []
  }

  /// What both say together: each names what *may* be there. A damaged one goes aside.
  func read() -> Reading {
    let here = AddressJournal.ofThisHost()
    switch (Self.read(path), Self.read(copy)) {
    case (.journal(let journal), .journal(let other)):
      if journal.boot == other.boot, journal.namespace == other.namespace {
        return Reading(journal: journal.merged(with: other))
      }
      return Reading(journal: other.boot == here.boot && journal.boot != here.boot ? other : journal)
    case (.journal(let journal), let other):
      if case .damaged = other { setAside(copy) }
      return Reading(journal: journal)
    case (.none, .none), (.none, .unreadable): return Reading()
    case (.none, .damaged):
      return Reading(troubles: ["the journal's copy \(copy) is damaged\(setAside(copy)), and there is no other"])
    case (.none, .journal(let other)):
      return Reading(journal: other, troubles: ["the journal \(path) is gone: its copy \(copy) is used"])
    case (.damaged, .journal(let other)):
      return Reading(
        journal: other, troubles: ["the journal \(path) is damaged\(setAside(path)): its copy \(copy) is used"])
    case (.damaged, let other):
      if case .damaged = other { setAside(copy) }
      return Reading(
        troubles: [
          "the journal \(path) is damaged\(setAside(path)) and its copy says nothing; addresses that a crash left behind stay "
            + "unless they are still configured, and an interface's settings stay as they are"
        ])
    case (.unreadable(let why), .journal(let other)):
      return Reading(journal: other, troubles: ["\(why): the journal's copy \(copy) is used"])
    case (.unreadable(let why), _):
      return Reading(troubles: ["\(why); what an earlier life left may stay"])
    }
  }

  /// Kept for whoever wants to know what happened, and in nobody's way.
  /// - Returns: that it was done, for a sentence.
  @discardableResult
  private func setAside(_ path: String) -> String {
    rename(path, path + ".damaged") == 0 ? " (kept as \(path).damaged)" : ""
  }

  private enum Content {
    case none
    case journal(AddressJournal)
    case damaged
    case unreadable(SystemError)
  }

  private static func read(_ path: String) -> Content {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard descriptor >= 0 else {
      // A part of the way that is no folder is as good as a file that is not there.
      return errno == ENOENT || errno == ENOTDIR ? .none : .unreadable(.last("open", path))
    }
    let file = Descriptor(owning: descriptor)
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 16 << 10)
    while bytes.count <= Self.longest {
      let count = Glibc.read(file.rawValue, &chunk, chunk.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { return .unreadable(.last("read", path)) }
      if count == 0 { break }
      bytes += chunk[..<count]
    }
    guard bytes.count <= Self.longest, let text = String(validating: bytes, as: UTF8.self),
      let journal = AddressJournal(text: text)
    else { return .damaged }
    return .journal(journal)
  }

  /// Writes it and waits, but not for longer than that.
  /// - Returns: what went wrong, in words.
  func write(_ journal: AddressJournal, waiting: Duration) -> String? {
    let number = newest.withLock { number in
      number += 1
      return number
    }
    do throws(SystemError) {
      let outcome = Outcome()
      let waker = try Waker()
      last.withLock { $0.isDone = false }
      // Ends with the writing, however long that takes; nobody joins it.
      _ = try Thread.start(named: "roost-journal", stackSize: 256 << 10) { [self] in
        writing.withLock { _ in
          guard newest.withLock({ $0 == number }) else { return }
          let trouble = replaceBoth(journal)
          outcome.set(trouble)
          if newest.withLock({ $0 == number }) { last.withLock { $0 = State(isDone: true, trouble: trouble) } }
        }
        waker.wake()
      }
      guard waiting > .zero else { return nil }
      var entry = pollfd(fd: waker.descriptor, events: Int16(POLLIN), revents: 0)
      let limit = Int32(
        clamping: waiting.components.seconds * 1000 + waiting.components.attoseconds / 1_000_000_000_000_000)
      let end = Clock.now() + waiting
      while poll(&entry, 1, limit) < 0, errno == EINTR, Clock.now() < end {}
      guard entry.revents != 0 else { return "writing \(path) takes long (a slow disk?); going on without" }
      return outcome.value
    } catch {
      last.withLock { $0 = State(isDone: true, trouble: "\(error)") }
      return "\(error)"
    }
  }

  func remove() {
    newest.withLock { $0 += 1 }
    writing.withLock { _ in
      _ = unlink(path)
      _ = unlink(copy)
    }
  }

  /// What went wrong, in words. One that is written is enough to go by.
  private func replaceBoth(_ journal: AddressJournal) -> String? {
    if let end = copy.lastIndex(of: "/") { mkdir(String(copy[..<end]), 0o755) }
    let bytes = Array(journal.text.utf8)
    let trouble = Self.replace(copy, bytes)
    guard let error = Self.replace(path, bytes) else { return nil }
    return trouble == nil
      ? "\(error); the journal's copy \(copy) is written" : "\(error); after a crash addresses may stay behind"
  }

  private static func replace(_ path: String, _ bytes: [UInt8]) -> SystemError? {
    let temporary = path + ".new"
    do throws(SystemError) {
      let file = Descriptor(
        owning: try SystemError.check("open", temporary) {
          open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        })
      let number = file.rawValue
      var rest = bytes[...]
      while !rest.isEmpty {
        let count = try SystemError.check("write", temporary) {
          rest.withUnsafeBytes { Glibc.write(number, $0.baseAddress, $0.count) }
        }
        rest = rest.dropFirst(count)
      }
      try SystemError.check("fsync", temporary) { fsync(number) }
      try SystemError.check("rename", path) { rename(temporary, path) }
      let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
      try SystemError.check("fsync", folder) { clinux_sync_folder(folder) }
      return nil
    } catch {
      unlink(temporary)
      return error
    }
  }

  private final class Outcome: Sendable {
    private let state = Mutex<String?>(nil)
    var value: String? { state.withLock { $0 } }
    func set(_ value: String?) { state.withLock { $0 = value } }
  }
}
