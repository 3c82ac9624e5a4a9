import Basis
import Glibc
import Node
import Synchronization
import Testing

@testable import Linux
@testable import Tracking

let isRoot = geteuid() == 0

/// What a runner reported, in order.
final class Reports: Sendable {
  private let list = Mutex<[(tracker: Int, report: TrackReport)]>([])

  func add(_ tracker: Int, _ report: TrackReport) { list.withLock { $0.append((tracker, report)) } }
  func forget() { list.withLock { $0 = [] } }

  func of(_ tracker: Int) -> [TrackReport] {
    list.withLock { $0.filter { $0.tracker == tracker }.map(\.report) }
  }

  /// Polls until the last report of a tracker is as wanted.
  func become(_ tracker: Int = 0, _ matches: (TrackReport) -> Bool) -> Bool {
    eventually { of(tracker).last.map(matches) ?? false }
  }
}

extension TrackReport {
  var isGood: Bool { self == .good }
  var isBad: Bool { if case .bad = self { true } else { false } }
  var isUnknown: Bool { if case .unknown = self { true } else { false } }
  func says(_ text: String) -> Bool {
    switch self {
    case .good: false
    case .bad(let message), .unknown(let message): message.contains(text)
    }
  }
}

/// Runs a runner for the length of a story.
func track(_ targets: [TrackerTarget], _ story: (TrackerRunner, Reports) throws -> Void) throws {
  let reports = Reports()
  let runner = try TrackerRunner(targets) { reports.add($0, $1) }
  defer { runner.stop() }
  try story(runner, reports)
}

/// Polls until the condition holds; false after a generous while.
func eventually(within seconds: Int = 20, _ condition: () -> Bool) -> Bool {
  let end = Clock.now() + .seconds(seconds)
  while Clock.now() < end {
    if condition() { return true }
    usleep(5000)
  }
  return false
}

/// A folder of its own, which everybody may enter, gone when the story is over.
func withFolder(_ story: (String) throws -> Void) throws {
  var template = Array("/tmp/roost-tracking-XXXXXX".utf8CString)
  let made = template.withUnsafeMutableBufferPointer { mkdtemp($0.baseAddress!) != nil }
  try #require(made)
  let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  chmod(folder, 0o755)
  defer { _ = try? shell("rm -rf \(folder)") }
  try story(folder)
}

func write(_ text: String, to path: String, mode: mode_t = 0o644) throws {
  let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)
  try #require(file >= 0)
  let descriptor = Descriptor(owning: file)
  _ = text.withCString { Glibc.write(descriptor.rawValue, $0, strlen($0)) }
  chmod(path, mode)
}

/// The number that a file holds, once it does.
func number(in path: String) -> Int32? {
  var found: Int32?
  _ = eventually {
    found = Looks.read(path, atMost: 64).flatMap { Int32(Words.line($0)) }
    return found != nil
  }
  return found
}

/// Whether a process is there, and is no zombie.
func lives(_ process: Int32) -> Bool {
  guard let status = Looks.read("/proc/\(process)/stat", atMost: 512) else { return false }
  let text = String(decoding: status, as: UTF8.self)
  guard let end = text.lastIndex(of: ")") else { return false }
  return !text[end...].hasPrefix(") Z")
}

struct ShellFailure: Error {
  var command: String
  var output: String
}

/// Runs a command in the calling thread's namespace, and gives what it printed.
@discardableResult
func shell(_ command: String) throws -> String {
  let run = try CommandRun(["/bin/sh", "-c", command], user: geteuid() == 0 ? "root" : nil, deadline: Clock.now())
  var output: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 4096)
  while true {
    let count = read(run.pipe.rawValue, &chunk, chunk.count)
    if count == 0 { break }
    if count > 0 { output += chunk[..<count] } else { usleep(2000) }
  }
  var entry = pollfd(fd: run.pidfd.rawValue, events: Int16(POLLIN), revents: 0)
  poll(&entry, 1, 20_000)
  let text = String(decoding: output, as: UTF8.self)
  guard run.verdict() == .good else { throw ShellFailure(command: command, output: text) }
  return text
}

/// Runs a story with the calling thread in a network namespace of its own, and brings it back.
func withNamespace(_ story: () throws -> Void) throws {
  let home = try NetworkNamespace.current()
  defer {
    do { try home.enter() } catch { fatalError("a thread of the pool is lost in a namespace: \(error)") }
  }
  _ = try NetworkNamespace.enterNew()
  try story()
}
