import ArgumentParser
import Configuration
import Glibc

struct Reload: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Have the daemon read its configuration again.",
    discussion: "What is the same is not touched. A file with a mistake changes nothing; the mistakes are shown.")

  @OptionGroup var socket: SocketOption
  @OptionGroup var output: OutputOptions

  func run() throws {
    let (report, bytes) = try Asking(socket: socket, timeout: .seconds(60))
      .ask("POST", "/reload", as: ReloadCoordinator.Report.self)
    report.tell(bytes, output)
  }
}

struct Apply: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Put a configuration in place of the daemon's.",
    discussion: """
      The daemon judges it first; one with a mistake changes nothing. Its file is replaced, and what was there is kept beside it as \
      FILE.previous. With --confirm everything is put back as it was unless `roost confirm` comes in that time, also if the daemon \
      or the machine is restarted meanwhile.
      """)

  @Argument(help: "The new configuration.")
  var file: String

  @Option(name: .long, help: "Undo it unless it is confirmed within that time, such as 60s.")
  var confirm: String?

  @OptionGroup var socket: SocketOption
  @OptionGroup var output: OutputOptions

  func validate() throws {
    guard let limit = try Self.duration("confirm", confirm) else { return }
    guard .seconds(1) ... .seconds(86_400) ~= limit else {
      throw ValidationError("--confirm takes 1s to 24h, not \(confirm ?? "")")
    }
  }

  func run() throws {
    guard let bytes = readFile(file) else { throw fail("\(file) can't be read: \(String(cString: strerror(errno)))") }
    let limit = try Self.duration("confirm", confirm)
    let query = limit.map { "?confirm_ms=\($0.nanoseconds / 1_000_000)" } ?? ""
    let (report, answer) = try Asking(socket: socket, timeout: .seconds(60))
      .ask("POST", "/apply\(query)", body: bytes, as: ReloadCoordinator.Report.self)
    report.tell(answer, output)
    if !output.json, let confirm { print("it is undone in \(confirm) unless you run: roost confirm") }
  }
}

struct Confirm: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Keep what `roost apply --confirm` has put in place.")

  @OptionGroup var socket: SocketOption

  func run() throws {
    _ = try Asking(socket: socket).ask("POST", "/confirm")
    print("the configuration stays")
  }
}

extension ReloadCoordinator.Report {
  fileprivate func tell(_ bytes: [UInt8], _ output: OutputOptions) {
    if output.json { return print(String(decoding: bytes, as: UTF8.self), terminator: "") }
    if let warnings { printError(warnings) }
    if changed.isEmpty, at_restart.isEmpty { return print("the configuration says the same as before") }
    for line in changed { print(line) }
    for line in at_restart { print("\(line) (takes effect at the next start of the daemon)") }
  }
}
