import ArgumentParser
import Glibc

@main
struct Roost: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "roost",
    abstract: "A virtual IP that always lands on a live server.",
    discussion: """
      Two or more machines run `roost run` with the same configuration file. One of them owns each virtual address (VRRP),
      and its connections are spread over healthy backends. `roost lab run` tries all that on this machine.
      """,
    version: version,
    subcommands: [
      Run.self, Check.self, Schema.self, SecretCommand.self, Status.self, Events.self, Move.self, NodeCommand.self,
      Reload.self, Apply.self, Confirm.self, Upgrade.self, Release.self, Doctor.self, Simulate.self, ReplayCommand.self,
      LabCommand.self,
      LabHelperCommand.self,
    ])

  static let version = "0.1.0"

  /// Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no daemon answers.
  static func main() {
    // A reader that goes away (`roost status | head`) is no reason to die of a signal.
    signal(SIGPIPE, SIG_IGN)
    // Before arguments are parsed: the guardian is to be small.
    if let guardian = GuardianCommand(CommandLine.arguments) { Glibc.exit(guardian.run()) }
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch {
      let code = exitCode(for: error)
      if code == .validationFailure {
        printError(fullMessage(for: error))
        Glibc.exit(ExitStatus.usage.rawValue)
      }
      exit(withError: error)
    }
  }
}

enum ExitStatus: Int32, Error {
  case failed = 1
  case usage = 2
  case noDaemon = 3
}

/// Ends the command: one line on standard error, and an exit code.
func fail(_ message: String, _ status: ExitStatus = .failed) -> ExitCode {
  printError("roost: \(message)")
  return ExitCode(status.rawValue)
}

/// A line on standard output, at once: whoever follows in a pipe gets it when it comes.
func printLine(_ text: String) {
  var rest = Array("\(text)\n".utf8)[...]
  while !rest.isEmpty {
    let count = rest.withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress, $0.count) }
    // Nobody reads any more.
    if count < 0, errno != EINTR { exit(ExitStatus.failed.rawValue) }
    rest = rest.dropFirst(max(0, count))
  }
}

/// A line, or several, on standard error.
func printError(_ text: String) {
  let bytes = Array("\(text)\n".utf8)
  _ = write(STDERR_FILENO, bytes, bytes.count)
}
