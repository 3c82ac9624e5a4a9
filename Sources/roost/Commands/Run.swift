import ArgumentParser
import CLinux
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

  static let successor = "--successor"
  static let detach = "--detach"

  /// For `roost upgrade`: this process is to go on in another one's place, and has a socket to it.
  @Flag(name: .customLong("successor"), help: .private)
  var isSuccessor = false

  /// The same, by way of a process that ends at once.
  @Flag(name: .customLong("detach"), help: .private)
  var isDetached = false

  func validate() throws {
    if let workers, !(1...256 ~= workers) { throw ValidationError("--workers takes 1 to 256") }
  }

  func run() throws {
    if isSuccessor, isDetached { return try detach() }
    let options = Daemon.Options(
      configuration: configuration.config, node: node, state: state, socket: socket.socket, record: record,
      workers: workers, isSuccessor: isSuccessor)
    do {
      try Daemon(options: options).run()
    } catch let failure as Daemon.Failure {
      printError("\(failure)")
      throw ExitCode(ExitStatus.failed.rawValue)
    } catch {
      throw fail("\(error)")
    }
  }

  /// Starts the same program again, and ends: the child belongs to whoever adopts orphans, a service manager for one.
  private func detach() throws {
    var arguments: [UnsafeMutablePointer<CChar>?] = CommandLine.arguments.filter { $0 != Self.detach }.map {
      strdup($0)
    }
    arguments.append(nil)
    defer { for argument in arguments { free(argument) } }
    guard clinux_guardian_spawn("/proc/self/exe", arguments, environ, [3], 1) > 0 else {
      throw fail("the new daemon can't be started: \(String(cString: strerror(errno)))")
    }
  }
}
