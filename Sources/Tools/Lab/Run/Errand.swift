import Basis
import Glibc
import Linux

/// A command that a person would give, run beside the story: what it asks for takes as long as it takes, and is looked at afterwards.
final class Errand {
  private let child: Child
  private let words: String
  private let log: String

  init(_ arguments: [String], on host: String, of machines: Machines, number: Int) throws(LabError) {
    log = "\(machines.cluster.folder.hostFolder(host))/command-\(number).log"
    unlink(log)
    let program = arguments.first?.split(separator: "/").last.map(String.init) ?? ""
    words = "`\(([program] + arguments.dropFirst()).joined(separator: " "))` on \(host)"
    child = try machines.start(host, arguments, log: log)
  }

  /// Throws if it failed, or does not end.
  func finish(by deadline: Instant) throws(LabError) {
    while child.exitCode == nil {
      guard Clock.now() < deadline else {
        child.end()
        throw LabError(.failed, "\(words) did not end")
      }
      usleep(2_000)
    }
    guard let code = child.exitCode, code != 0 else { return }
    let said = (readSmallFile(log) ?? "").split(separator: "\n").prefix(4).joined(separator: "; ")
    throw LabError(.failed, "\(words) failed (\(code)): \(said)")
  }

  deinit { child.end() }
}

/// A process that disturbs, until it is no longer held: it ends with its input.
final class Disturbance {
  private let child: Child
  private let input: Int32

  init(_ arguments: [String], on host: String, of machines: Machines) throws(LabError) {
    let ends = try Command.pipe()
    input = ends.writing
    defer { close(ends.reading) }
    do throws(LabError) {
      child = try machines.start(
        host, arguments, log: "\(machines.cluster.folder.hostFolder(host))/disturbance.log", input: ends.reading)
    } catch {
      close(ends.writing)
      throw error
    }
  }

  /// It has failed by itself.
  var hasEnded: Bool { child.hasEnded() }

  deinit {
    close(input)
    child.end()
  }
}
