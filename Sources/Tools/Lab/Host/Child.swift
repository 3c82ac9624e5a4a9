import CLinux
import Glibc

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
    var status: Int32 = 0
    return clinux_lab_reap(identity.pid, &status) != 0
  }

  /// Kills it if it still runs, and leaves no zombie.
  func end() {
    if hasEnded() { return }
    signal(SIGKILL)
    var status: Int32 = 0
    while waitpid(identity.pid, &status, 0) < 0, errno == EINTR {}
  }
}

extension ProcessIdentity {
  fileprivate init?(zombie pid: Int32) {
    guard let started = ProcessTable.startTime(of: pid, zombies: true) else { return nil }
    self.pid = pid
    self.started = started
  }
}
