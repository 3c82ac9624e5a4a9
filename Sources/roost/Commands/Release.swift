import ArgumentParser
import FoundationEssentials
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

  @Flag(name: .long, help: "Print JSON.")
  var json = false

  /// What was removed, and what could not be, in words.
  struct Report: Codable, Hashable {
    var removed: [String]
    var troubles: [String]
  }

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
    for note in outcome.notes { printError(note) }
    let report = Report(removed: outcome.removed.map { "\($0)" }, troubles: outcome.troubles)
    if json {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
      print(String(decoding: try encoder.encode(report), as: UTF8.self))
      if !report.troubles.isEmpty { throw ExitCode(ExitStatus.failed.rawValue) }
      return
    }
    for removal in report.removed { print("removed \(removal)") }
    guard report.troubles.isEmpty else { throw fail(report.troubles.joined(separator: "\n")) }
  }
}
