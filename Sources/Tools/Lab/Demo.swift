import Basis
import FoundationEssentials
import Glibc
import Linux
import Scenario

/// `roost lab demo`: the faults that matter, caused for real, and what the client saw, as a table that fills while one watches.
public enum LabDemo {
  private static let rows: [(scenario: String, steps: [(word: String, name: String)])] = [
    ("polite-stop", [("stop", "polite stop")]), ("owner-killed", [("kill", "owner killed")]),
    ("node-dead", [("node-dead", "node dead")]), ("partition", [("partition", "partition"), ("heal", "healed")]),
    ("backend-killed", [("backend-kill", "backend killed")]),
  ]

  /// - Parameters:
  ///   - folder: where report.json goes.
  ///   - color: whether the terminal's colours are used.
  ///   - live: whether the last line may be rewritten while waiting (a terminal).
  public static func run(
    programs: Programs, folder: String = ".roost-demo", root: String = LabFolder.defaultRoot, color: Bool, live: Bool
  ) throws(LabError) {
    let terminal = Terminal(color: color, isLive: live)
    let begun = Clock.now()
    var options = LabRun.Options(programs: programs)
    options.root = root
    options.comparesWithKeepalived = programs.keepalived != nil
    options.pace = .brisk
    let bench = try LabBench(LabPlan(DemoConfiguration()), options) { terminal.status($0) }
    defer { bench.remove() }

    let table = DemoTable(hasKeepalived: options.comparesWithKeepalived)
    terminal.line(table.picture)
    terminal.line("")
    for line in table.heading { terminal.line(line, .bold) }
    var reports: [ScenarioReport] = []
    for (name, steps) in rows {
      guard let scenario = Scenario.builtIn(named: name) else { continue }
      // keepalived has no backends that could die.
      let report = try bench.measure(scenario, withRival: name != "backend-killed") { terminal.status($0) }
      reports.append(report)
      for step in steps { terminal.row(table.row(step.name, step.word, report)) }
    }
    let path = try write(reports, to: folder)
    terminal.line("")
    for line in table.closing(path: path, reports: reports, took: Clock.now() - begun) { terminal.line(line) }
  }

  private struct Report: Encodable {
    var scenarios: [ScenarioReport]
  }

  private static func write(_ reports: [ScenarioReport], to folder: String) throws(LabError) -> String {
    let path = "\(folder)/report.json"
    do {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      let encoder = JSONEncoder()
      encoder.keyEncodingStrategy = .convertToSnakeCase
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
      try encoder.encode(Report(scenarios: reports)).write(to: URL(filePath: path))
    } catch {
      throw LabError(.failed, "\(path) can't be written: \(error)")
    }
    return path
  }
}

/// The words and columns of the demo, made from figures only.
struct DemoTable {
  var hasKeepalived: Bool

  struct Cell: Sendable, Hashable {
    var text: String
    var style = Terminal.Style.plain
  }

  static let widths = [17, 10, 11, 9, 14, 11, 0]

  var picture: String {
    "client ──▶ \(DemoConfiguration.vip) ──▶ lb1 (owner) · lb2 ──▶ app1 · app2 · app3    on this machine, real packets"
  }

  var heading: [String] {
    let last = hasKeepalived ? ("keepalived", "outage, owners") : ("keepalived", "not installed")
    return [
      DemoTable.padded(["fault", "outage", "requests", "failed", "connections", "owner", last.0]),
      DemoTable.padded(["", "", "", "", "broken/100", "after", last.1]),
    ]
  }

  func row(_ name: String, _ word: String, _ report: ScenarioReport) -> [Cell] {
    guard let figures = report.runs.first(where: { $0.fault == word }) else { return [Cell(text: name)] }
    let owners = figures.ownersAtEnd
    let peer = report.peers?["keepalived"]?.runs.first { $0.fault == word }
    return [
      Cell(text: name), Cell(text: DemoTable.time(DemoTable.outage(figures)), style: .bold),
      Cell(text: DemoTable.grouped(figures.requests)),
      Cell(text: DemoTable.grouped(figures.requestsFailed), style: figures.requestsFailed == 0 ? .good : .plain),
      Cell(text: "\(figures.connectionsBroken)", style: figures.connectionsBroken == 0 ? .good : .plain),
      Cell(
        text: owners.isEmpty ? "nobody" : owners.joined(separator: "+"),
        style: owners.count == 1 || word == "partition" ? .plain : .bad),
      Cell(text: peer.map { "\(DemoTable.time(DemoTable.outage($0))), \($0.ownersAtEnd.count)" } ?? "–", style: .dim),
    ]
  }

  func closing(path: String, reports: [ScenarioReport], took: Duration) -> [String] {
    let noise =
      Spread(reports.flatMap(\.runs).map(\.noiseFloorMs)).map {
        " (idle noise of \(DemoTable.time($0.median)) taken off)"
      } ?? ""
    let interval = reports.first.map { DemoTable.time($0.intervalMs) } ?? "?"
    var lines = [
      "Each fault was caused for real; the client probed every millisecond\(noise).",
      "Outage: of the address or of the service behind it, whichever was longer. Adverts every \(interval).",
      "A partition leaves an owner on each side; healed, they are one again.",
    ]
    if hasKeepalived {
      lines.append("keepalived had the same timers. It forwards nothing: its nodes answered the client themselves.")
    }
    return lines + [
      "Done in \(Int((took.milliseconds / 1000).rounded())) s. Details: \(path)",
      "Next: roost lab up, then break it yourself: roost lab exec lb1 ip link set eth0 down; roost lab down",
    ]
  }

  /// As the client saw it: whichever was gone for longer, the address or the service behind it.
  static func outage(_ figures: ScenarioReport.StepFigures) -> Double {
    max(figures.outageMs, figures.serviceOutageMs ?? 0)
  }

  /// `3 ms`, `1.2 s`; below a millisecond `< 1 ms`.
  static func time(_ milliseconds: Double) -> String {
    if milliseconds < 0.95 { return "< 1 ms" }
    if milliseconds < 999.5 { return "\(Int(milliseconds.rounded())) ms" }
    return "\((milliseconds / 100).rounded() / 10) s"
  }

  /// `20 114`
  static func grouped(_ number: Int) -> String {
    var groups: [String] = []
    var rest = number
    while rest >= 1000 {
      let group = String(rest % 1000)
      groups.insert(String(repeating: "0", count: 3 - group.count) + group, at: 0)
      rest /= 1000
    }
    return ([String(rest)] + groups).joined(separator: " ")
  }

  static func padded(_ texts: [String]) -> String {
    let cells = zip(texts, widths).map { text, width in text + String(repeating: " ", count: max(0, width - text.count))
    }
    return String(cells.joined().reversed().drop { $0 == " " }.reversed())
  }
}

/// Standard output: lines that stay, and below them one that tells what is going on.
struct Terminal {
  enum Style: Sendable { case plain, bold, dim, good, bad }

  var color: Bool
  var isLive: Bool

  func status(_ text: String) {
    if isLive { put("\r\u{1B}[2K\(styled("… \(text)", .dim))") } else { put("… \(text)\n") }
  }

  func line(_ text: String, _ style: Style = .plain) {
    put((isLive ? "\r\u{1B}[2K" : "") + styled(text, style) + "\n")
  }

  func row(_ cells: [DemoTable.Cell]) {
    var text = ""
    for (cell, width) in zip(cells, DemoTable.widths) {
      text += styled(cell.text, cell.style) + String(repeating: " ", count: max(0, width - cell.text.count))
    }
    line(text)
  }

  private func styled(_ text: String, _ style: Style) -> String {
    guard color else { return text }
    switch style {
    case .plain: return text
    case .bold: return "\u{1B}[1m\(text)\u{1B}[0m"
    case .dim: return "\u{1B}[2m\(text)\u{1B}[0m"
    case .good: return "\u{1B}[32m\(text)\u{1B}[0m"
    case .bad: return "\u{1B}[31m\(text)\u{1B}[0m"
    }
  }

  private func put(_ text: String) { writeAll(1, Array(text.utf8)) }
}
