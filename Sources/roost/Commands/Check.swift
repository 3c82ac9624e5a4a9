import ArgumentParser
import Configuration
import Glibc
import Linux

struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Find every mistake in the configuration.",
    discussion: "Exit code 1 if there is one. Warnings are shown, and do not count.")

  @OptionGroup var configuration: ConfigurationOption
  @OptionGroup var output: OutputOptions

  @Option(name: .long, help: "Check it for this node (default: the one whose address is local).")
  var node: String?

  @Flag(
    name: .long,
    help: "Leave out what depends on this machine: its interfaces, its name, the files of secrets and programs.")
  var noHost = false

  func run() throws {
    let reading = Configuration.read(path: configuration.config)
    var mistakes = reading.mistakes
    if let checked = reading.configuration, !noHost {
      let host: HostFacts
      do throws(SystemError) {
        host = try HostFacts.current(node: node, vips: Set(checked.vips.flatMap(\.addresses)))
      } catch {
        throw fail("\(error)")
      }
      mistakes += reading.mistakes(on: host) + reading.secretMistakes() + reading.programMistakes()
    }
    if output.json {
      print(mistakes.json)
    } else if !mistakes.isEmpty {
      printError(mistakes.text(colour: output.wantsColor(on: STDERR_FILENO)))
    }
    if mistakes.hasError { throw ExitCode(ExitStatus.failed.rawValue) }
    if !output.json, let checked = reading.configuration {
      print(
        "\(configuration.config) is right: \(checked.cluster.nodes.count) nodes, \(checked.vips.count) VIPs, "
          + "\(checked.services.count) services")
    }
  }
}
