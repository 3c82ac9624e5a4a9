import Basis
import CLinux
import Glibc
import Synchronization

/// The file of an `AddressJournal`. It is written whole, beside the old one, and put in its place: what is read is the old or the new.
///
/// Each writing has a thread of its own. A disk that hangs must not keep the address thread from renewing what it holds.
final class JournalFile: Sendable {
  let path: String
  /// The number of the last writing that was asked for: an older one that comes late is left out.
  private let newest = Mutex<UInt64>(0)
  private let writing = Mutex<Void>(())

  /// More than a journal of thousands of VIPs has.
  private static let longest = 4 << 20

  init(path: String) { self.path = path }

  enum Reading {
    case none
    case journal(AddressJournal)
    /// Why there is nothing to go by, in words.
    case unreadable(String)
  }

  func read() -> Reading {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard descriptor >= 0 else {
      return errno == ENOENT
        ? .none : .unreadable("\(SystemError.last("open", path)); what an earlier life left may stay")
    }
    let file = Descriptor(owning: descriptor)
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 16 << 10)
    while bytes.count <= Self.longest {
      let count = Glibc.read(file.rawValue, &chunk, chunk.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { return .unreadable("\(SystemError.last("read", path))") }
      if count == 0 { break }
      bytes += chunk[..<count]
    }
    guard bytes.count <= Self.longest, let text = String(validating: bytes, as: UTF8.self),
      let journal = AddressJournal(text: text)
    else {
      return .unreadable(
        "the journal \(path) is damaged and says nothing; addresses that a crash left behind stay unless they are still configured"
      )
    }
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
      // Ends with the writing, however long that takes; nobody joins it.
      _ = try Thread.start(named: "roost-journal", stackSize: 256 << 10) { [self] in
        let error = writing.withLock { _ in
          newest.withLock { $0 == number } ? replace(journal) : nil
        }
        outcome.set(error.map { "\($0); after a crash addresses may stay behind" })
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
      return "\(error)"
    }
  }

  func remove() {
    newest.withLock { $0 += 1 }
    writing.withLock { _ in _ = unlink(path) }
  }

  private func replace(_ journal: AddressJournal) -> SystemError? {
    let temporary = path + ".new"
    do throws(SystemError) {
      let file = Descriptor(
        owning: try SystemError.check("open", temporary) {
          open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        })
      let number = file.rawValue
      var rest = Array(journal.text.utf8)[...]
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
