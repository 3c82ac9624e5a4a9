import ArgumentParser
import Glibc
import Linux

struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run this node, in the foreground.",
    discussion: """
      Works in the current network namespace. SIGTERM and SIGINT stop it politely: connections are finished or reset, another \
      node takes over, the addresses go. SIGHUP has the configuration read and judged.
      """)

  @OptionGroup var configuration: ConfigurationOption
  @OptionGroup var socket: SocketOption

  @Option(
    name: .long, help: "Which node this is (default: the one whose address is local, else the one of the host's name).")
  var node: String?

  @Option(name: .long, help: "The folder for what outlives a start.")
  var state = "/var/lib/roost"

  @Option(name: .long, help: "Record every input of the control plane into this file, for `roost replay`.")
  var record: String?

  @Option(name: .long, help: "Threads that carry proxied connections (default: one for each processor).")
  var workers: Int?

  func validate() throws {
    if let workers, !(1...256 ~= workers) { throw ValidationError("--workers takes 1 to 256") }
  }

  func run() throws {
    let options = Daemon.Options(
      configuration: configuration.config, node: node, state: state, socket: socket.socket, record: record,
      workers: workers)
    do {
      try Daemon(options: options).run()
    } catch let failure as Daemon.Failure {
      printError("\(failure)")
      throw ExitCode(ExitStatus.failed.rawValue)
    } catch {
      throw fail("\(error)")
    }
  }
}
