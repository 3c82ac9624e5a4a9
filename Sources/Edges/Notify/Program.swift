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
      return try start(command, input, deadline)
    } catch {
      return .notStarted(error)
    }
  }

  private static func start(_ command: [String], _ input: [UInt8], _ deadline: Instant) throws(SystemError) -> Outcome {
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
    return wait(for: process, reading, until: deadline)
  }

  private static func wait(for process: Int32, _ output: borrowing Descriptor, until deadline: Instant) -> Outcome {
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
      isOpen = isOpen && read(output, into: &said)
      var status: Int32 = 0
      if waitpid(process, &status, WNOHANG) == process {
        _ = read(output, into: &said)
        return ended(status, said)
      }
      if Clock.now() >= deadline {
        kill(-process, SIGKILL)
        while waitpid(process, &status, 0) < 0, errno == EINTR {}
        return .late
      }
    }
  }

  private static func ended(_ status: Int32, _ said: [UInt8]) -> Outcome {
    // As WIFEXITED, WEXITSTATUS and WTERMSIG take a status apart.
    if status & 0x7F != 0 { return .killed(signal: status & 0x7F) }
    let words = String(decoding: said, as: UTF8.self).split { $0.isWhitespace || $0.isNewline }
    let line = words.joined(separator: " ").unicodeScalars.filter {
      !$0.properties.isDefaultIgnorableCodePoint && $0.value >= 32 && $0.value != 127
    }
    return .ended(status >> 8 & 0xFF, output: String(String.UnicodeScalarView(line)))
  }

  /// False when nobody will say more.
  private static func read(_ output: borrowing Descriptor, into said: inout [UInt8]) -> Bool {
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = Glibc.read(output.rawValue, &buffer, buffer.count)
      if count > 0 {
        said += buffer[..<min(count, max(0, longestOutput - said.count))]
      } else if count == 0 {
        return false
      } else if errno != EINTR {
        return errno == EAGAIN
      }
    }
  }
}
