import CLinux
import Glibc
import Synchronization

/// A process of the lab: its number, and its start time, which together never name another process.
public struct ProcessIdentity: Sendable, Hashable, Codable {
  public var pid: Int32
  /// Clock ticks after boot, field 22 of /proc/PID/stat.
  public var started: UInt64

  /// Nil where no such process runs.
  init?(pid: Int32) {
    guard let started = ProcessTable.startTime(of: pid) else { return nil }
    self.pid = pid
    self.started = started
  }

  /// It runs (and is no zombie).
  var isAlive: Bool { ProcessTable.startTime(of: pid) == started }

  /// Sends the signal to this very process, or to nobody.
  func signal(_ number: Int32) {
    let descriptor = clinux_lab_pidfd_open(pid)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    // The start time is read after the descriptor is held: the number can't be handed on in between.
    guard ProcessTable.startTime(of: pid) == started else { return }
    _ = clinux_lab_pidfd_send_signal(descriptor, number)
  }
}

/// How a program is started.
struct Launch: Sendable {
  var arguments: [String]
  var environment: [String] = Launch.inherited
  /// Descriptors of the caller; negative is /dev/null.
  var input: Int32 = -1
  var output: Int32 = -1
  var errors: Int32 = -1

  static var inherited: [String] {
    var list: [String] = []
    var cursor = environ
    while let entry = cursor.pointee {
      list.append(String(cString: entry))
      cursor += 1
    }
    return list
  }

  /// Starts it in the calling thread's network namespace.
  func start() throws(LabError) -> Int32 {
    guard let program = arguments.first else { throw LabError(.usage, "no program to start") }
    var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
    argv.append(nil)
    var envp: [UnsafeMutablePointer<CChar>?] = environment.map { strdup($0) }
    envp.append(nil)
    defer {
      for pointer in argv { free(pointer) }
      for pointer in envp { free(pointer) }
    }
    let pid = clinux_lab_spawn(program, argv, envp, input, output, errors)
    guard pid > 0 else { throw .system("starting \(program)", pid) }
    return pid
  }
}

/// A child of this process.
final class Child: Sendable {
  let identity: ProcessIdentity
  let name: String
  private let status = Mutex<Int32?>(nil)

  init(name: String, namespace: Namespace, launch: Launch) throws(LabError) {
    let pid = try namespace.attempt { () throws(LabError) in try launch.start() }
    // A child that is gone already is a zombie of ours, so its entry is still there to be read.
    guard let identity = ProcessIdentity(pid: pid) ?? ProcessIdentity(zombie: pid) else {
      throw LabError(.failed, "\(name): its process \(pid) vanished at once")
    }
    self.identity = identity
    self.name = name
  }

  func signal(_ number: Int32) { identity.signal(number) }

  /// Reaps it if it has ended; true once it has.
  func hasEnded() -> Bool {
    status.withLock { status in
      if status != nil { return true }
      var raw: Int32 = 0
      let outcome = clinux_lab_reap(identity.pid, &raw)
      if outcome == 0 { return false }
      status = outcome == 1 ? raw : 0
      return true
    }
  }

  /// What it ended with, 128 and the signal's number if a signal ended it; nil while it runs.
  var exitCode: Int32? {
    guard hasEnded() else { return nil }
    var code: Int32 = 0
    let isExit = clinux_lab_exited(status.withLock { $0 ?? 0 }, &code)
    return isExit ? code : 128 + code
  }

  /// Kills it if it still runs, and leaves no zombie.
  func end() {
    if hasEnded() { return }
    signal(SIGKILL)
    var raw: Int32 = 0
    while waitpid(identity.pid, &raw, 0) < 0, errno == EINTR {}
    let ended = raw
    status.withLock { $0 = ended }
  }
}

extension ProcessIdentity {
  fileprivate init?(zombie pid: Int32) {
    guard let started = ProcessTable.startTime(of: pid, zombies: true) else { return nil }
    self.pid = pid
    self.started = started
  }
}
