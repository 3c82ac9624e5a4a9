import ArgumentParser
import Glibc
import Linux

struct Release: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Remove everything that a dead daemon of this node left on the network.",
    discussion: """
      For service managers (ExecStopPost=roost release): needs no daemon, only the journal in the state folder, and removes \
      nothing that is not in it. While a daemon runs it refuses: stop that one instead.
      """)

  @Option(name: .long, help: "The daemon's state folder.")
  var state = "/var/lib/roost"

  func run() throws {
    if let process = StateFolder.holder(of: state) {
      throw fail("a daemon runs (pid \(process)), and owns what is here: stop it instead")
    }
    let outcome: Sweeper.Outcome
    do throws(SystemError) {
      outcome = try Sweeper.release(journal: StateFolder.journalFile(in: state))
    } catch {
      throw fail("\(error)")
    }
    for removal in outcome.removed { print("removed \(removal)") }
    guard outcome.troubles.isEmpty else { throw fail(outcome.troubles.joined(separator: "\n")) }
  }
}
