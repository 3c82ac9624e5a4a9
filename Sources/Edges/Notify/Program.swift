import Basis
import CLinux
import Glibc
import Linux
import Synchronization

/// Runs a program with an input and a deadline, on the calling thread, which waits.
public enum Program {
  public enum Outcome: Sendable, Hashable {
    /// With its exit code, and the beginning of what it said, in one line.
    case ended(Int32, output: String)
    case killed(signal: Int32)
    /// The deadline came first; it and all that it started in its process group were killed.
    case late
    /// Its leash was cut: the same.
    case unwanted
    case notStarted(SystemError)
  }

  /// Of what it says, in bytes.
  private static let longestOutput = 500

  /// - Parameters:
  ///   - command: the program's absolute path and its arguments. It has a process group of its own, a plain environment, and no
  ///     descriptors but 0, 1 and 2.
  ///   - input: what it reads from its standard input.
  ///   - leash: by which others can end it; nothing that it has started in its group outlives it then, however it ends.
  public static func run(
    _ command: [String], input: [UInt8], until deadline: Instant, leash: Leash? = nil
  ) -> Outcome {
    do throws(SystemError) {
      let (end, said) = try perform(command, input, deadline, keeping: longestOutput, leash)
      if let leash, leash.isCut { return .unwanted }
      // As WIFEXITED, WEXITSTATUS and WTERMSIG take a status apart.
      return switch end {
      case nil: .late
      case let status? where status & 0x7F != 0: .killed(signal: status & 0x7F)
      case let status?: .ended(status >> 8 & 0xFF, output: line(said))
      }
    } catch {
      return .notStarted(error)
    }
  }

  /// All that a program prints, 16 MiB at most; nil where it can't be run, fails, or takes too long.
  public static func output(of command: [String], until deadline: Instant) -> String? {
    guard let (end, said) = try? perform(command, [], deadline, keeping: 16 << 20), end == 0 else { return nil }
    return String(decoding: said, as: UTF8.self)
  }

  /// How it ended (as waitpid(2) says; nil: the deadline came first), and what it said.
  private static func perform(
    _ command: [String], _ input: [UInt8], _ deadline: Instant, keeping limit: Int, _ leash: Leash? = nil
  ) throws(SystemError) -> (end: Int32?, said: [UInt8]) {
    guard let path = command.first else { throw SystemError(call: "run", code: EINVAL) }
    // A file in memory: it can be written whole before anybody reads, and blocks nobody.
    let file = Descriptor(owning: try SystemError.check("memfd_create") { clinux_memory_file("roost-input") })
    var rest = input[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { write(file.rawValue, $0.baseAddress, $0.count) }
      if count < 0, errno != EINTR { throw .last("write", "input") }
      rest = rest.dropFirst(max(0, count))
    }
    lseek(file.rawValue, 0, SEEK_SET)
    var ends: [Int32] = [-1, -1]
    try SystemError.check("pipe2") { clinux_pipe(&ends) }
    let reading = Descriptor(owning: ends[0])
    var process: Int32 = 0
    do {
      let writing = Descriptor(owning: ends[1])
      let environment = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"]
      let arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
      let variables: [UnsafeMutablePointer<CChar>?] = environment.map { strdup($0) } + [nil]
      defer { for text in arguments + variables { free(text) } }
      process = clinux_command_spawn(path, arguments, variables, file.rawValue, writing.rawValue, .max, .max)
      guard process > 0 else { throw SystemError(call: "run", code: -process, subject: path) }
    }
    let entry = RunningPrograms.shared.enter(process, claiming: leash?.vip)
    leash?.hold(process)
    _ = fcntl(reading.rawValue, F_SETFL, O_NONBLOCK)
    return wait(for: process, entry, reading, until: deadline, keeping: limit, leash)
  }

  private static func wait(
    for process: Int32, _ entry: RunningPrograms.Entry, _ output: borrowing Descriptor, until deadline: Instant,
    keeping limit: Int, _ leash: Leash?
  ) -> (end: Int32?, said: [UInt8]) {
    let handle = clinux_pidfd_open(process)
    defer { if handle >= 0 { close(handle) } }
    var said: [UInt8] = []
    var isOpen = true
    while true {
      var entries = [
        pollfd(fd: handle, events: Int16(POLLIN), revents: 0),
        pollfd(fd: isOpen ? output.rawValue : -1, events: Int16(POLLIN), revents: 0),
      ]
      let left = deadline - Clock.now()
      // Without a handle on the child, it is looked at every few milliseconds.
      let longest = handle >= 0 ? left.nanoseconds / 1_000_000 + 1 : 5
      let soon = leash == nil ? longest : min(longest, Leash.pause)
      poll(&entries, 2, Int32(clamping: max(0, min(soon, left.nanoseconds / 1_000_000 + 1))))
      isOpen = isOpen && read(output, into: &said, limit)
      if let leash, !leash.isWanted() { leash.cut() }
      let isLate = Clock.now() >= deadline
      if isLate { kill(-process, SIGKILL) }
      guard isLate || hasEnded(process) else { continue }
      if leash != nil { kill(-process, SIGKILL) }
      // While the number is still its own.
      leash?.letGo()
      entry.leave()
      var status: Int32 = 0
      while waitpid(process, &status, 0) < 0, errno == EINTR {}
      if isOpen { _ = read(output, into: &said, limit) }
      return (isLate ? nil : status, said)
    }
  }

  /// It waits to be reaped.
  private static func hasEnded(_ process: Int32) -> Bool {
    var information = siginfo_t()
    return waitid(P_PID, id_t(bitPattern: process), &information, WEXITED | WNOHANG | WNOWAIT) == 0
      && information.si_signo == SIGCHLD
  }

  private static func line(_ said: [UInt8]) -> String {
    let words = String(decoding: said, as: UTF8.self).split { $0.isWhitespace || $0.isNewline }
    let line = words.joined(separator: " ").unicodeScalars.filter {
      !$0.properties.isDefaultIgnorableCodePoint && $0.value >= 32 && $0.value != 127
    }
    return String(String.UnicodeScalarView(line))
  }

  /// False when nobody will say more.
  private static func read(_ output: borrowing Descriptor, into said: inout [UInt8], _ limit: Int) -> Bool {
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = Glibc.read(output.rawValue, &buffer, buffer.count)
      if count > 0 {
        said += buffer[..<min(count, max(0, limit - said.count))]
      } else if count == 0 {
        return false
      } else if errno != EINTR {
        return errno == EAGAIN
      }
    }
  }
}

/// Holds a program that is wanted only as long as something is so.
public final class Leash: Sendable {
  private struct State {
    var process: Int32 = 0
    var isCut = false
  }

  /// How often the holder is asked whether it is still wanted, milliseconds.
  fileprivate static let pause: Int64 = 10

  /// The VIP that it makes a claim on for this node.
  let vip: Int?
  fileprivate let isWanted: @Sendable () -> Bool
  private let state = Mutex(State())

  public init(vip: Int?, while isWanted: @escaping @Sendable () -> Bool) {
    self.vip = vip
    self.isWanted = isWanted
  }

  /// Where it is no longer wanted, it is killed with its group, now. From any thread, and without waiting.
  public func review() { if !isWanted() { cut() } }

  /// Kills it with its group; one that is only about to be started, as soon as it is.
  public func cut() {
    state.withLock { state in
      state.isCut = true
      if state.process > 1 { kill(-state.process, SIGKILL) }
    }
  }

  var isCut: Bool { state.withLock { $0.isCut } }

  fileprivate func hold(_ process: Int32) {
    state.withLock { state in
      state.process = process
      if state.isCut { kill(-process, SIGKILL) }
    }
  }

  fileprivate func letGo() { state.withLock { $0.process = 0 } }
}
