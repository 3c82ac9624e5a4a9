import ArgumentParser
import Configuration
import Glibc
import Lab
import Scenario

struct LabCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "lab",
    abstract: "The whole cluster on this machine, in network namespaces, with real packets.",
    subcommands: [Up.self, Down.self, LabStatus.self, Exec.self, LabRunCommand.self, Demo.self])
}

/// What the subcommands share.
private struct LabOptions: ParsableArguments {
  @Option(name: .long, help: "The folder where labs are kept track of.")
  var state = LabFolder.defaultRoot
}

private var programs: Programs { Programs(roost: Programs.itself, helper: [Programs.itself, "lab-helper"]) }

/// The configuration of a file, for a lab: what depends on this machine's own interfaces does not matter there.
private func read(_ file: String?) throws -> (value: Configuration, file: String)? {
  guard let file else { return nil }
  let reading = Configuration.read(path: file)
  guard let value = reading.configuration else {
    printError(reading.mistakes.text())
    throw ExitCode(ExitStatus.failed.rawValue)
  }
  return (value, file)
}

/// A `LabError` as one line and an exit code.
private func orFail<Result>(_ body: () throws(LabError) -> Result) throws -> Result {
  do throws(LabError) {
    return try body()
  } catch {
    throw fail("\(error)", error.kind == .usage ? .usage : .failed)
  }
}

extension LabCommand {
  struct Up: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Build a cluster that stays, with everything running in it.",
      discussion: "Without --config: two nodes, three backends and a client, VIP 10.77.0.100.")

    @Option(name: .long, help: "The cluster's configuration, with the addresses it has in real life.")
    var config: String?
    @Option(name: .long, help: "A node that runs keepalived instead of roost; may be given several times.")
    var keepalived: [String] = []
    @OptionGroup private var lab: LabOptions

    func run() throws {
      let configuration = try read(config)
      let manifest = try orFail { () throws(LabError) in
        try LabCommands.up(configuration, programs: programs, keepalived: Set(keepalived), root: lab.state) {
          printError($0)
        }
      }
      print("lab \(manifest.id) is up: \(manifest.hosts.map(\.name).joined(separator: ", "))")
      for node in manifest.hosts where node.role == .node {
        print("  roost status --socket \(lab.state)/\(manifest.id)/\(node.name)/roost.sock")
      }
      print("  roost lab exec client curl -s http://\(manifest.vips.first ?? "VIP")/")
      print("  roost lab exec \(manifest.hosts.first { $0.role == .node }?.name ?? "NODE") ip link set eth0 down")
      print("  roost lab down")
    }
  }

  struct Down: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Remove labs, also those that a killed run left behind.")

    @Argument(help: "The lab to remove (default: all that nobody is running).")
    var id: String?
    @OptionGroup private var lab: LabOptions

    func run() throws {
      let removed = try orFail { () throws(LabError) in try LabCommands.down(id, root: lab.state) }
      print(removed.isEmpty ? "no lab was up" : "removed \(removed.joined(separator: ", "))")
    }
  }

  struct LabStatus: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "status", abstract: "Show the labs that are up.")

    @OptionGroup var output: OutputOptions
    @OptionGroup private var lab: LabOptions

    func run() throws {
      let labs = try orFail { () throws(LabError) in try LabCommands.status(root: lab.state) }
      if output.json {
        print(try text(labs))
      } else {
        print(labs.isEmpty ? "no lab is up: roost lab up\n" : labs.map(\.text).joined(separator: "\n"), terminator: "")
      }
    }
  }

  struct Exec: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Run a command on a host of the lab: a node, a backend, \"client\" or \"switch\".")

    @Option(name: .customLong("lab"), help: "Which lab, where several are up.")
    var id: String?
    @Argument(help: "The host.")
    var host: String
    @Argument(parsing: .captureForPassthrough, help: "The command and its arguments (default: a shell).")
    var command: [String] = []
    @OptionGroup private var lab: LabOptions

    func run() throws {
      _ = try orFail { () throws(LabError) -> Never in try LabCommands.exec(host, command, lab: id, root: lab.state) }
    }
  }

  struct LabRunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "run",
      abstract: "Break a cluster as scenarios tell, and measure what its client saw.",
      discussion: """
        Built-in scenarios: \(Scenario.builtIn.map(\.name).joined(separator: ", ")). A file of your own is given by its path. \
        Exit code 1 if an expectation did not hold.
        """)

    @Option(name: .long, help: "The cluster's configuration (default: as the scenario says).")
    var config: String?
    @Option(name: .long, help: "A built-in scenario, a file, or \"all\"; may be given several times.")
    var scenario: [String] = ["all"]
    @Option(name: .customLong("repeat"), help: "How often each is run.")
    var repetitions = 1
    @Option(name: .long, help: "Write the figures into this file as JSON (\"-\": standard output).")
    var json: String?
    @Option(name: .long, help: "A node that runs keepalived instead of roost; may be given several times.")
    var keepalived: [String] = []
    @Flag(name: .long, help: "Put keepalived through the same, each repetition after one of roost's.")
    var compare = false
    @Option(name: .long, help: "Between two adverts, such as 10ms, instead of the scenario's (without --config).")
    var interval: String?
    @Option(name: .long, help: "Let expectations about time hold this much later, such as 2s: for a busy machine.")
    var slack: String?
    @Flag(name: .long, help: "Wait no longer between faults than the demo does.")
    var brisk = false
    @Option(
      name: .long,
      help:
        "Long-lived connections of the client. Each takes two of the owner's open files; it may have as many as ulimit -n says."
    )
    var connections = 100
    @Option(
      name: .customLong("for"),
      help: "How long the last step goes on and is watched, such as 10m, instead of as the scenario says.")
    var length: String?
    @OptionGroup private var lab: LabOptions

    func validate() throws {
      if !(1...100_000 ~= repetitions) { throw ValidationError("--repeat takes 1 to 100000") }
      if !(0...10_000 ~= connections) { throw ValidationError("--connections takes 0 to 10000") }
      _ = try Self.duration("slack", slack)
      _ = try Self.duration("for", length)
      if try Self.interval(interval) != nil, config != nil {
        throw ValidationError("--interval is for the built-in cluster: write it into the file instead")
      }
    }

    func run() throws {
      let configuration = try read(config)
      var options = LabRun.Options(programs: programs)
      options.configurationFile = config
      options.root = lab.state
      options.repetitions = repetitions
      options.keepalivedNodes = Set(keepalived)
      options.comparesWithKeepalived = compare
      options.connections = connections
      options.length = length.flatMap { Duration(written: $0) }
      if brisk { options.pace = .brisk }
      if compare, Programs.installedKeepalived == nil { printError("keepalived is not installed: it is left out") }
      // Of all, those that real packets can tell; one that was named is refused with the reason.
      var chosen = try scenario.flatMap { name in
        try scenarios([name]).filter { name != "all" || LabRun.canTell($0) }
      }
      for index in chosen.indices {
        if let interval = interval.flatMap({ Duration(written: $0) }) { chosen[index].interval = interval }
        if let slack = slack.flatMap({ Duration(written: $0) }) { chosen[index] = chosen[index].loosened(by: slack) }
      }
      var reports: [ScenarioReport] = []
      let outcome = Result {
        try orFail { () throws(LabError) in
          try LabRun.run(
            chosen, configuration?.value, options, say: { printError("  \($0)") },
            done: { report in
              if json != "-" { print(report.text, terminator: "") }
              reports.append(report)
            })
        }
      }
      // What was measured is kept, also where a later scenario can't be run.
      if let json, !reports.isEmpty { try write(reports, to: json) }
      _ = try outcome.get()
      let failed = reports.filter { !$0.didHold }.map(\.scenario)
      if !failed.isEmpty { throw fail("expectations did not hold: \(failed.joined(separator: ", "))") }
    }

    private func write(_ reports: [ScenarioReport], to file: String) throws {
      let text =
        reports.count == 1
        ? try reports[0].json() : "[\n" + (try reports.map { try $0.json() }).joined(separator: ",\n") + "\n]"
      if file == "-" {
        print(text)
      } else {
        try writeFile(text + "\n", to: file)
      }
    }
  }
}

/// Built-in scenarios by name, files by path; "all" is every built-in one.
func scenarios(_ names: [String]) throws -> [Scenario] {
  try names.flatMap { try scenarios(named: $0) }
}

private func scenarios(named name: String) throws -> [Scenario] {
  if name == "all" { return Scenario.builtIn }
  if let builtIn = Scenario.builtIn(named: name) { return [builtIn] }
  guard let bytes = readFile(name) else {
    throw fail(
      "no scenario is called \(name), and there is no such file; built in are "
        + Scenario.builtIn.map(\.name).joined(separator: ", "), .usage)
  }
  do {
    return [try Scenario(reading: bytes, file: name)]
  } catch {
    printError("\(error)")
    throw ExitCode(ExitStatus.failed.rawValue)
  }
}

/// The lab's own small programs, which run inside its namespaces.
struct LabHelperCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "lab-helper", shouldDisplay: false)

  @Argument(parsing: .captureForPassthrough) var arguments: [String] = []

  func run() throws { throw ExitCode(LabHelper.main(arguments)) }
}
