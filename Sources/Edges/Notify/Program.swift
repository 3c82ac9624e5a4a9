import Basis
import CLinux
import Glibc
import Linux

/// Runs a program with an input and a deadline, on the calling thread, which waits.
public enum Program {
  public enum Outcome: Sendable, Hashable {
    /// With its exit code, and the beginning of what it said, in one line.
    case ended(Int32, output: String)
    case killed(signal: Int32)
    /// The deadline came first; it and all that it started in its process group were killed.
    case late
    case notStarted(SystemError)
  }

  /// Of what it says, in bytes.
  private static let longestOutput = 500

  /// - Parameters:
  ///   - command: the program's absolute path and its arguments. It has a process group of its own, a plain environment, and no
  ///     descriptors but 0, 1 and 2.
  ///   - input: what it reads from its standard input.
  public static func run(_ command: [String], input: [UInt8], until deadline: Instant) -> Outcome {
    do throws(SystemError) {
      let (end, said) = try perform(command, input, deadline, keeping: longestOutput)
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
    _ command: [String], _ input: [UInt8], _ deadline: Instant, keeping limit: Int
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
      var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) }
      arguments.append(nil)
      defer { for argument in arguments { free(argument) } }
      let code = clinux_run(path, arguments, file.rawValue, writing.rawValue, writing.rawValue, &process)
      guard code == 0 else { throw SystemError(call: "run", code: code, subject: path) }
    }
    _ = fcntl(reading.rawValue, F_SETFL, O_NONBLOCK)
    return wait(for: process, reading, until: deadline, keeping: limit)
  }

  private static func wait(
    for process: Int32, _ output: borrowing Descriptor, until deadline: Instant, keeping limit: Int
  )
    -> (end: Int32?, said: [UInt8])
  {
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
      poll(&entries, 2, Int32(clamping: max(0, min(longest, left.nanoseconds / 1_000_000 + 1))))
      isOpen = isOpen && read(output, into: &said, limit)
      var status: Int32 = 0
      if waitpid(process, &status, WNOHANG) == process {
        if isOpen { _ = read(output, into: &said, limit) }
        return (status, said)
      }
      if Clock.now() >= deadline {
        kill(-process, SIGKILL)
        while waitpid(process, &status, 0) < 0, errno == EINTR {}
        return (nil, said)
      }
    }
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
