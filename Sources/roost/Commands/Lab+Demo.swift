import ArgumentParser
import Glibc
import Lab

extension LabCommand {
  struct Demo: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Cause the faults that matter and show, in a minute, what the client saw.",
      discussion: "A cluster of two nodes and three backends is built, broken in five ways, and removed.")

    @Option(name: .long, help: "The folder for report.json.")
    var output = ".roost-demo"
    @Option(name: .long, help: "Colour the output: auto, always or never.")
    var color = ColorChoice.auto
    @Option(name: .long, help: "The folder where labs are kept track of.")
    var state = LabFolder.defaultRoot

    func run() throws {
      let isTerminal = isatty(STDOUT_FILENO) == 1
      let hasColor = color == .always || (color == .auto && isTerminal && getenv("NO_COLOR") == nil)
      do throws(LabError) {
        try LabDemo.run(
          programs: Programs(roost: Programs.itself, helper: [Programs.itself, "lab-helper"]), folder: output,
          root: state,
          color: hasColor, live: isTerminal)
      } catch {
        throw fail("\(error)", error.kind == .usage ? .usage : .failed)
      }
    }
  }
}
