import ArgumentParser
import Basis
import FoundationEssentials

struct Move: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Hand a VIP over to another node.",
    discussion: """
      The new owner is ready before the old one lets go. Waits until it is done, and says how long nobody owned the VIP.
      Asked on a node that does not own it, it goes to the owner; where --to owns it already, nothing is done. The VIP stays where it was moved until that node fails, \
      or it is moved again.
      """)

  @Argument(help: "The VIP's name.")
  var vip: String

  @Option(name: .long, help: "The node that is to have it (default: the most preferred that can).")
  var to: String?

  @OptionGroup var socket: SocketOption
  @OptionGroup var output: OutputOptions

  private struct Wish: Encodable {
    var to: String?
  }

  func run() throws {
    let body = try JSONEncoder().encode(Wish(to: to))
    // Connections may be let finish first (`drain`), so it waits for as long as the daemon does.
    let (answer, bytes) = try Asking(socket: socket, timeout: .seconds(310))
      .ask("POST", "/vips/\(Asking.escaped(vip))/move", body: Array(body), as: CommandRoutes.Answer.self)
    if output.json { return print(String(decoding: bytes, as: UTF8.self), terminator: "") }
    if answer.already == true { return print("\(answer.owner ?? "it") owns \(vip) already; nothing was done") }
    let vacant = answer.vacant_ms.map { "; nobody owned it for \(Duration.nanoseconds($0 * 1e6).words) at most" } ?? ""
    let pending =
      answer.announced_within_ms.map {
        "; its neighbours are told when the command before-announcing has ended there, after \(Duration.nanoseconds($0 * 1e6).words) at most"
      } ?? ""
    print("\(vip) is on \(answer.owner ?? "its new owner")\(vacant)\(pending)")
  }
}
