import Lab
import Telemetry

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

func text(_ labs: [LabCommands.Status]) throws -> String {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
  return String(decoding: try encoder.encode(labs), as: UTF8.self)
}

extension LabCommands.Status {
  /// A few lines for people: the hosts, what they hold and run.
  var text: String {
    var table = Table(["HOST", "ROLE", "ADDRESSES", "HOLDS", "RUNS"])
    for host in hosts {
      let programs = host.processes.map(\.label)
      table.add([
        host.name, host.role.rawValue, host.addresses.joined(separator: " "), host.vips.joined(separator: " "),
        programs.joined(separator: "; "),
      ])
    }
    return "lab \(id)\(isStale ? " (left behind; roost lab down)" : "")\n"
      + table.text(Paint(isOn: false)) { _, _, cell in cell }
  }
}

extension ScenarioReport {
  /// What was measured, a line each, and the expectations.
  var text: String {
    var table = Table([
      "FAULT", "OUTAGE ms", "OF SERVICE ms", "TWO OWNERS ms", "NOBODY ms", "REQUESTS FAILED", "CONNECTIONS BROKEN",
      "OWNER AFTER", "OF",
    ])
    func append(_ runs: [StepFigures], _ daemon: String) {
      var faults: [String] = []
      for run in runs where !faults.contains(run.fault) { faults.append(run.fault) }
      for fault in faults {
        let figures = runs.filter { $0.fault == fault }
        func spread(_ value: (StepFigures) -> Double) -> String {
          let values = figures.map(value).sorted()
          let median = values[values.count / 2]
          return values.count == 1
            ? number(median) : "\(number(median)) (\(number(values[0]))–\(number(values[values.count - 1])))"
        }
        let owners = Set(figures.map { $0.ownersAtEnd.joined(separator: "+") }).sorted().joined(separator: ", ")
        table.add([
          fault, spread(\.outageMs), spread { $0.serviceOutageMs ?? 0 }, spread(\.twoOwnersMs),
          spread(\.noOwnerMs), spread { Double($0.requestsFailed) },
          spread { Double($0.connectionsBroken) }, owners, daemon,
        ])
      }
    }
    append(runs, daemon)
    for (name, peer) in (peers ?? [:]).sorted(by: { $0.key < $1.key }) { append(peer.runs, name) }
    var text = "\(scenario): \(title)\n" + table.text(Paint(isOn: false)) { _, _, cell in cell }
    text += used(usage, daemon)
    for (name, peer) in (peers ?? [:]).sorted(by: { $0.key < $1.key }) { text += used(peer.usage, name) }
    for verdict in expectations {
      let mark = verdict.outcome == .held ? "held   " : verdict.outcome == .failed ? "FAILED " : "skipped"
      text += "  \(mark)  \(verdict.text)\(verdict.detail.map { "  (\($0))" } ?? "")\n"
    }
    return text
  }

  /// What the owner and a backup used before anything was broken, in the median.
  private func used(_ usage: [Usage], _ daemon: String) -> String {
    func median(_ value: (Usage) -> Double, _ owns: Bool) -> Double {
      let values = usage.filter { $0.owns == owns }.map(value).sorted()
      return values.isEmpty ? 0 : values[values.count / 2]
    }
    guard usage.contains(where: \.owns) else { return "" }
    let memory = median({ Double($0.memoryKb) / 1024 }, true)
    return "  \(daemon): owner \(number(median(\.processorPercent, true))) % of a processor, \(number(memory)) MiB; "
      + "backup \(number(median(\.processorPercent, false))) %\n"
  }

  private func number(_ value: Double) -> String {
    value >= 10 || value == value.rounded() ? "\(Int(value.rounded()))" : "\(Double(Int(value * 10)) / 10)"
  }
}
