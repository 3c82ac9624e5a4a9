import ArgumentParser
import FoundationEssentials
import Glibc

struct Upgrade: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Replace the running daemon by another binary, letting go of nothing.",
    discussion: """
      The new process reads the configuration and gets ready beside the old one; then it goes on with the adverts, the addresses and \
      the listening sockets within a few milliseconds. Connections that are open stay with the old process, which ends when they \
      have ended, after ten minutes at the latest. If the new one can't run, the old one goes on as if nothing had been. Up to \
      \(Predecessors.most) processes may still be finishing their connections when another upgrade begins.
      """)

  @Option(name: .long, help: "The new binary (default: what is now in the running one's place on the disk).")
  var program: String?

  @Flag(
    name: .long,
    help:
      "Where \(Predecessors.most) earlier processes still finish their connections: end the oldest one, and what it has."
  )
  var force = false

  @OptionGroup var socket: SocketOption
  @OptionGroup var output: OutputOptions

  func run() throws {
    // As this command's user sees it, not as the daemon does.
    let path = try program.map { name in
      guard let resolved = realpath(name, nil) else {
        throw fail("\(name) can't be found: \(String(cString: strerror(errno)))")
      }
      defer { free(resolved) }
      return String(cString: resolved)
    }
    let body = try JSONEncoder().encode(Upgrader.Wish(program: path, force: force))
    let (report, bytes) = try Asking(socket: socket, timeout: .seconds(30))
      .ask("POST", "/upgrade", body: Array(body), as: Upgrader.Report.self)
    if output.json { return print(String(decoding: bytes, as: UTF8.self), terminator: "") }
    let silent = Int((report.silent_ms * 10).rounded())
    print(
      "version \(report.version) runs as process \(report.pid); nothing was said for \(silent / 10).\(silent % 10) ms"
    )
  }
}
