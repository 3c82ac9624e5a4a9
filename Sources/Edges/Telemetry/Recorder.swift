import Basis
import Glibc
import Linux
import Node
import Synchronization
import VRRP

/// Records every input of the control plane into a file, for `roost replay`.
///
/// It belongs to the loop's thread, and neither allocates nor waits there: full buffers go to a thread that writes them and come
/// back empty. Where the disk is too slow for that, or the file is full, the recording ends and the log says so: one with a hole
/// would replay to something that never happened.
public final class Recorder {
  /// Longer than a minute of adverts of a busy node.
  private static let bufferSize = 1 << 16
  private static let buffers = 16
  /// Of the file, in bytes; months of one VIP at 100 ms, hours of hundreds.
  public static let longest = 256 << 20
  /// What a crash loses at most.
  private static let flushInterval = Duration.seconds(1)

  private let disk: RecordingFile
  private let log: Log
  private var writer = RecordingWriter()
  private var buffer: [UInt8]
  private var length: Int
  private var flushAt = Instant(nanoseconds: 0)
  public private(set) var isRecording = true

  /// Makes the file anew; its mode is 0600, because it tells of the network.
  public init(path: String, settings: NodeSettings, seed: UInt64, log: Log) throws(SystemError) {
    disk = try RecordingFile(path: path, log: log, buffers: Self.buffers, of: Self.bufferSize)
    self.log = log
    let header = Recording.header(settings, seed: seed)
    length = header.count
    buffer = header
    buffer.reserveCapacity(header.count + Self.bufferSize)
  }

  /// An event, before the node is given it.
  public func record(_ event: Event, at now: Instant) {
    write(at: now) { writer.write(event, at: now, into: &$0) }
  }

  /// A VRRP message, before the node is given it.
  public func record(_ message: RawSpan, in envelope: Envelope, at now: Instant) {
    guard isRecording else { return }
    if !writer.write(message, in: envelope, at: now, into: &buffer) {
      hand(over: now, isFull: true)
      if isRecording { _ = writer.write(message, in: envelope, at: now, into: &buffer) }
    } else if now >= flushAt {
      hand(over: now)
    }
  }

  /// An effect of the event that was recorded last.
  public func decided(_ effect: Effect) { writer.decided(effect) }

  /// Writes what is left, and waits until it is on the disk.
  public func close() {
    if isRecording {
      var end: [UInt8] = []
      end.reserveCapacity(64)
      _ = writer.finish(into: &end)
      disk.send(buffer + end)
    }
    disk.close()
  }

  private func write(at now: Instant, _ body: (inout [UInt8]) -> Bool) {
    guard isRecording else { return }
    if !body(&buffer) {
      hand(over: now, isFull: true)
      if isRecording { _ = body(&buffer) }
    } else if now >= flushAt {
      hand(over: now)
    }
  }

  /// Gives the buffer to the disk. One that is not full may as well wait, where the disk has all the others.
  private func hand(over now: Instant, isFull: Bool = false) {
    flushAt = now + Self.flushInterval
    guard !buffer.isEmpty else { return }
    let empty = disk.takeEmpty()
    if empty == nil, !isFull, !disk.hasFailed { return }
    guard length < Self.longest, !disk.hasFailed, let empty else {
      isRecording = false
      log.write(.warning, "the recording ends here: its file is full, or the disk is too slow for it")
      return
    }
    length += buffer.count
    let full = buffer
    buffer = empty
    disk.send(full)
  }
}

/// The file and the thread that writes it.
private final class RecordingFile: Sendable {
  private enum Job: Sendable {
    case bytes([UInt8])
    case end
  }

  private let jobs: Mailbox<Job>
  private let empties: Mutex<[[UInt8]]>
  private let failed = Atomic<Bool>(false)
  private let descriptor: Int32
  private let thread = Mutex<Thread?>(nil)

  init(path: String, log: Log, buffers: Int, of size: Int) throws(SystemError) {
    descriptor = try SystemError.check("open", path) {
      open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
    }
    jobs = try Mailbox()
    empties = Mutex(
      (0..<buffers).map { _ in
        var buffer: [UInt8] = []
        buffer.reserveCapacity(size)
        return buffer
      })
    let thread = try Thread.start(named: "roost-recorder") { [self] in run(path, log) }
    self.thread.withLock { $0 = thread }
  }

  var hasFailed: Bool { failed.load(ordering: .relaxed) }

  func takeEmpty() -> [UInt8]? { empties.withLock { $0.popLast() } }

  func send(_ bytes: [UInt8]) { jobs.send(.bytes(bytes)) }

  func close() {
    jobs.send(.end)
    thread.withLock { $0 }?.join()
    Glibc.close(descriptor)
  }

  private func run(_ path: String, _ log: Log) {
    var isEnding = false
    while !isEnding {
      var ready = pollfd(fd: jobs.waker.descriptor, events: Int16(POLLIN), revents: 0)
      while poll(&ready, 1, -1) < 0, errno == EINTR {}
      jobs.waker.acknowledge()
      jobs.drain { job in
        switch job {
        case .end: isEnding = true
        case .bytes(var bytes):
          if !hasFailed, !write(bytes) {
            failed.store(true, ordering: .relaxed)
            log.write(.error, "the recording \(path) can't be written: \(SystemError.message(errno))")
          }
          bytes.removeAll(keepingCapacity: true)
          empties.withLock { $0.append(bytes) }
        }
      }
    }
  }

  private func write(_ bytes: [UInt8]) -> Bool {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      if count < 0, errno != EINTR { return false }
      rest = rest.dropFirst(max(0, count))
    }
    return true
  }
}
