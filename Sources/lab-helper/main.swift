import Glibc
import Lab
import Scenario

// The lab by itself, for its tests; `roost lab-helper` is the same as this with `serve` and `probe`.
//
//   lab-helper serve|probe FILE
//   lab-helper hold ROOT           builds a lab with keepalived on every node and waits to be killed
//   lab-helper run SCENARIO [N]    tells a built-in scenario N times to keepalived, and prints the report

func complain(_ text: String) { _ = "\(text)\n".withCString { write(2, $0, strlen($0)) } }

let arguments = Array(CommandLine.arguments.dropFirst())
let programs = Programs(roost: nil, helper: [Programs.itself])
do throws(LabError) {
  switch arguments.first {
  case "hold":
    let manifest = try LabCommands.up(
      nil, programs: programs, keepalived: ["lb1", "lb2"], root: arguments.last ?? LabFolder.defaultRoot, say: complain)
    print(manifest.id)
    fflush(nil)
    while true { pause() }
  case "run":
    guard arguments.count > 1, let scenario = Scenario.builtIn(named: arguments[1]) else {
      throw LabError(.usage, "which scenario? \(Scenario.builtIn.map(\.name).joined(separator: " "))")
    }
    var options = LabRun.Options(programs: programs)
    options.keepalivedNodes = Set(scenario.nodeNames)
    options.repetitions = arguments.count > 2 ? Int(arguments[2]) ?? 1 : 1
    try LabRun.run([scenario], nil, options, say: complain) { report in
      do { print(try report.json()) } catch { complain("\(error)") }
    }
  default: exit(LabHelper.main(arguments))
  }
} catch {
  complain(error.description)
  exit(1)
}
