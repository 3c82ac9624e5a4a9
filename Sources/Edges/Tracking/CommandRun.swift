import Basis
import CLinux
import Glibc
import Linux
import Node

/// A command under way: in a session and a process group of its own, so that what it starts can be ended with it, at its end, at its
/// deadline and at the daemon's death. What leaves the group (`setsid`, a daemon that detaches itself) does so to live on, and does: only a
/// stop of the unit ends that, because systemd knows its control group.
final class CommandRun {
  /// What is kept of the output, for people.
  static let keptOutput = 256
  /// More is taken for a fault of the command, in bytes.
  static let mostOutput = 1 << 20

  let deadline: Instant
  let pidfd: Descriptor
  /// The reading end of its output and error output.
  let pipe: Descriptor
  var exit: Reactor.Registration?
  var output: Reactor.Registration?

  private let process: Int32
  private let entry: RunningPrograms.Entry
  private let name: String
  private var kept: [UInt8] = []
  private var count = 0
  private var isReaped = false

  /// - Throws: it can't be started.
  init(_ arguments: [String], user: String?, deadline: Instant) throws(SystemError) {
    guard let program = arguments.first, !program.isEmpty else {
      throw SystemError(call: "execve", code: ENOENT, subject: "a command without a name")
    }
    self.deadline = deadline
    name = program
    let path = try Self.path(of: program)
    let (uid, gid) = try Self.identity(user)
    var ends: [Int32] = [-1, -1]
    let made = clinux_tracking_pipe(&ends)
    guard made == 0 else { throw SystemError(call: "pipe2", code: -made, subject: program) }
    let reading = Descriptor(owning: ends[0])
    let writing = Descriptor(owning: ends[1])
    let child = Self.spawn(path, arguments, writing.rawValue, uid, gid)
    guard child > 0 else { throw SystemError(call: "execve", code: -child, subject: program) }
    let handle = clinux_lab_pidfd_open(child)
    guard handle >= 0 else {
      _ = Glibc.kill(-child, SIGKILL)
      var status: Int32 = 0
      waitpid(child, &status, 0)
      throw SystemError(call: "pidfd_open", code: -handle, subject: program)
    }
    process = child
    entry = RunningPrograms.shared.enter(child)
    pidfd = Descriptor(owning: handle)
    pipe = reading
  }

  deinit { kill() }

  private static func spawn(
    _ path: String, _ arguments: [String], _ output: Int32, _ user: UInt32, _ group: UInt32
  ) -> Int32 {
    let environment = ["PATH=" + folders.joined(separator: ":"), "LANG=C.UTF-8"]
    var words = arguments.map { strdup($0) } + [nil]
    var variables = environment.map { strdup($0) } + [nil]
    defer {
      for word in words + variables { free(word) }
    }
    return clinux_command_spawn(path, &words, &variables, -1, output, user, group)
  }

  private static let folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]

  private static func path(of program: String) throws(SystemError) -> String {
    if program.contains("/") { return program }
    for folder in folders where access(folder + "/" + program, X_OK) == 0 { return folder + "/" + program }
    throw SystemError(call: "execve", code: ENOENT, subject: program)
  }

  /// Nobody, unless the configuration names a user. A process that may not choose runs it as itself.
  private static func identity(_ user: String?) throws(SystemError) -> (UInt32, UInt32) {
    guard geteuid() == 0 else {
      if let user { throw SystemError(call: "setresuid", code: EPERM, subject: user) }
      return (.max, .max)
    }
    var (uid, gid): (UInt32, UInt32) = (65534, 65534)
    let code = clinux_tracking_user(user ?? "nobody", &uid, &gid)
    if let user, code != 0 { throw SystemError(call: "getpwnam", code: -code, subject: user) }
    return (uid, gid)
  }

  /// Takes what it wrote. False at the end.
  func read() -> Bool {
    var chunk = [UInt8](repeating: 0, count: 16 << 10)
    // Not for ever: others wait for this thread.
    for _ in 0..<4 {
      let length = Glibc.read(pipe.rawValue, &chunk, chunk.count)
      if length == 0 { return false }
      guard length > 0 else { return errno == EAGAIN || errno == EINTR }
      count += length
      if kept.count < Self.keptOutput { kept += chunk[..<min(length, Self.keptOutput - kept.count)] }
    }
    return true
  }

  var isFlooding: Bool { count > Self.mostOutput }

  /// Of a command that has ended.
  func verdict() -> TrackReport {
    // What it left behind is ended before its number can be another process's.
    _ = Glibc.kill(-process, SIGKILL)
    entry.leave()
    var status: Int32 = 0
    let reaped = clinux_lab_reap(process, &status)
    guard reaped == 1 else { return .unknown("its end can't be read: \(SystemError.message(-reaped))") }
    isReaped = true
    var code: Int32 = 0
    guard clinux_lab_exited(status, &code) else { return .bad("\(name) was ended by a signal") }
    if code == 0 { return .good }
    let said = Words.line(kept)
    return .bad(said.isEmpty ? "\(name) exited with \(code)" : "\(name) exited with \(code): \(said)")
  }

  /// Ends it and all of its group, at once.
  func kill() {
    guard !isReaped else { return }
    isReaped = true
    _ = Glibc.kill(-process, SIGKILL)
    entry.leave()
    var status: Int32 = 0
    // It dies at once, unless the kernel holds it; then a later child's end is no reason to wait here for it.
    for _ in 0..<50 {
      if clinux_lab_reap(process, &status) != 0 { return }
      usleep(1000)
    }
    Reaper.shared.add(process)
  }
}

/// Children that were killed and have not ended yet: the kernel holds them, as with a file system that hangs.
final class Reaper: Sendable {
  static let shared = Reaper()

  /// A thread that waits for this one child, and for nothing else.
  func add(_ process: Int32) {
    _ = try? Thread.start(named: "roost-reaper", stackSize: 64 * 1024) {
      var status: Int32 = 0
      while waitpid(process, &status, 0) < 0, errno == EINTR {}
    }
  }
}

enum Words {
  /// One line for people of what a stranger wrote, without control characters.
  static func line(_ bytes: [UInt8]) -> String {
    let first = bytes.prefix { $0 != 10 && $0 != 13 }
    return String(decoding: first.map { $0 < 32 || $0 == 127 ? 32 : $0 }, as: UTF8.self)
  }
}
