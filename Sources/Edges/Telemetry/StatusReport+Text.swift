#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif
import Basis
import Linux

extension StatusReport {
  public init(json: [UInt8]) throws {
    self = try JSONDecoder().decode(StatusReport.self, from: Data(json))
  }

  /// The tables of `roost status`, 100 columns or fewer unless names are long.
  /// - Parameter now: for "since"; the host's wall clock.
  public func text(color: Bool, now: WallTime) -> String {
    let paint = Paint(isOn: color)
    var text = "\(paint.bold(printable(node)))  roost \(printable(version))"
    text += "  up \(Self.words(milliseconds: uptime_ms))\n"
    if let guardian {
      let words = "guardian: \(printable(guardian.words))"
      text += (guardian.state == "watching" ? words : paint.red(words)) + "\n"
    }
    if let trouble = journal_trouble { text += paint.red("journal: not written: \(printable(trouble))") + "\n" }
    for split in split_brains ?? [] { text += "\n" + words(split, paint, now) }
    if let words = confirmationWords { text += "\n" + paint.red(printable(words)) + "\n" }
    text += vipTable(paint, now)
    text += serviceTable(paint)
    text += peerTable(paint)
    for service in services where service.state == "down" {
      text += "\n" + paint.red("service \(printable(service.name)): no backend is up; its clients are refused") + "\n"
    }
    return text
  }

  private var confirmationWords: String? {
    if let unconfirmed_trouble {
      return "nobody confirmed the configuration in time, and it can't be taken back yet: \(unconfirmed_trouble)"
    }
    return unconfirmed_ms.map {
      "the configuration is undone in \(Self.words(milliseconds: $0)) unless you run: roost confirm"
    }
  }

  private func words(_ split: SplitBrain, _ paint: Paint, _ now: WallTime) -> String {
    let since = WallTime(split.since).map { " (\(Self.words(from: $0, to: now)) ago)" } ?? ""
    let text =
      "SPLIT BRAIN: \(list(split.owners)) own VIP \(split.vip) at the same time, since \(split.since)\(since)"
    return paint.red(printable(text)) + "\n    = \(printable(split.advice))\n"
  }

  private func vipTable(_ paint: Paint, _ now: WallTime) -> String {
    guard !vips.isEmpty else { return "" }
    var table = Table(["VIP", "STATE", "OWNER", "ADDRESSES", "SINCE", "WHY"])
    for vip in vips {
      let since = vip.since.flatMap { WallTime($0) }.map { Self.words(from: $0, to: now) + " ago" } ?? "-"
      table.add(
        [
          vip.name, vip.state, Self.words(owner: vip), "\(vip.addresses.joined(separator: " ")) on \(vip.interface)",
          since,
          vip.reason,
        ])
    }
    return "\n"
      + table.text(paint) { row, column, cell in
        guard column == 1 else { return cell }
        return switch vips[row].state {
        case "active": paint.green(cell)
        case "fault": paint.red(cell)
        default: cell
        }
      } + warnings(of: vips)
  }

  private static func words(owner vip: VIP) -> String {
    guard let owner = vip.owner else { return "-" }
    guard let address = vip.owner_address, address != owner else { return owner }
    return "\(owner) (\(address))"
  }

  private func warnings(of vips: [VIP]) -> String {
    vips.map { vip in
      (vip.warnings ?? []).map { warning in
        "  \(printable("\(vip.name): \(warning.text)"))\n    = \(printable(warning.advice))\n"
      }.joined()
    }.joined()
  }

  private func serviceTable(_ paint: Paint) -> String {
    guard !services.isEmpty else { return "" }
    var table = Table(["SERVICE", "BACKEND", "STATE", "CONN", "TOTAL", "CHECK"])
    var states: [String] = []
    for service in services {
      table.add(["\(service.name) \(service.listen)", "", service.state, "", "", "\(service.mode), \(service.balance)"])
      states.append(service.state)
      for backend in service.backends {
        table.add([
          "", "\(backend.name) \(backend.address)", backend.state, "\(backend.connections)",
          "\(backend.connections_total)", Self.words(backend.check),
        ])
        states.append(backend.state)
      }
    }
    return "\n"
      + table.text(paint) { row, column, cell in
        guard column == 2 else { return cell }
        return switch states[row] {
        case "up": paint.green(cell)
        case "down": paint.red(cell)
        default: cell
        }
      }
  }

  private func peerTable(_ paint: Paint) -> String {
    guard !peers.isEmpty else { return "" }
    let hasClocks = peers.contains { $0.clock_ahead_ms != nil }
    var table = Table(["PEER", "ADDRESS", "STATE", "HEARD"] + (hasClocks ? ["CLOCK"] : []))
    for peer in peers {
      let heard = peer.last_seen_ms.map { Self.words(milliseconds: $0) + " ago" } ?? "-"
      table.add([peer.name, peer.address, peer.state, heard] + (hasClocks ? [peer.clockWords ?? "-"] : []))
    }
    let warnings = peers.map { peer in
      [peer.warning, peer.clockWarning(window: clock_window_ms)].compactMap(\.self)
        .map { "  \(printable("\(peer.name): \($0)"))\n" }.joined()
    }.joined()
    return "\n" + table.text(paint) { _, _, cell in cell } + warnings
  }

  private static func words(_ check: Check?) -> String {
    guard let check else { return "no check" }
    guard let message = check.message else { return "not checked yet" }
    guard let latency = check.last_ms else { return message }
    return "\(message), \(max(.zero, Duration(said: latency)).words)"
  }

  private static func words(from start: WallTime, to end: WallTime) -> String {
    words(milliseconds: (Double(end.nanoseconds) - Double(start.nanoseconds)) / 1_000_000)
  }

  /// "340 ms", "12 s", "3 min 4 s", "2 h 10 min", "5 d 3 h".
  static func words(milliseconds: Double) -> String { Duration(said: milliseconds).wholeWords }
}

extension StatusReport.Guardian {
  /// "watching (4711)", "none: restarting in 5 s".
  public var words: String {
    switch (state, pid, again_ms) {
    case ("watching", let pid?, _): "watching (\(pid))"
    case ("none", _, let again?): "none: restarting in \(max(.zero, Duration(said: again)).words)"
    default: state
    }
  }
}

extension StatusReport.Peer {
  /// "0.3 ms (± 0.1 ms) ahead"; nil where nothing is known of its clock.
  public var clockWords: String? {
    guard let ahead = clock_ahead_ms else { return nil }
    let offset = Duration(said: ahead)
    let way = offset < .zero ? "behind" : "ahead"
    let error = clock_error_ms.map { " (± \(Duration(said: $0).words))" } ?? ""
    return "\((offset < .zero ? .zero - offset : offset).words)\(error) \(way)"
  }

  /// How much of what clocks may differ it does: 1 is where its adverts are refused. Nil where nothing depends on it, or nothing is known.
  public func clockShare(of window: Double?) -> Double? {
    guard let window, window > 0, let ahead = clock_ahead_ms, ahead.isFinite else { return nil }
    return abs(ahead) / window
  }

  func clockWarning(window: Double?) -> String? {
    guard let window, let share = clockShare(of: window), share >= 0.5, let words = clockWords else { return nil }
    let limit = Duration(said: window).words
    return
      "its clock is \(words) of this node's; signed adverts \(share > 1 ? "are" : "will be") refused beyond \(limit), and two owners follow: run chrony, or systemd-timesyncd, on each node"
  }
}

extension Duration {
  /// What a daemon said, in milliseconds. It may be anything: no number that it can say is one too many.
  init(said milliseconds: Double) {
    let longest = 86_400e3 * 1e5  // 100,000 days: as nanoseconds they fit into 64 bits
    guard !milliseconds.isNaN else {
      self = .zero
      return
    }
    self = .nanoseconds(Int64(max(-longest, min(milliseconds, longest)) * 1e6))
  }
}

/// The text without what a terminal would obey: control characters (C0, DEL, C1), each shown as U+FFFD. For text that comes from
/// another program.
public func printable(_ text: String) -> String {
  func isControl(_ scalar: Unicode.Scalar) -> Bool { scalar.value < 0x20 || 0x7F...0x9F ~= scalar.value }
  guard text.unicodeScalars.contains(where: isControl) else { return text }
  var shown = String.UnicodeScalarView()
  for scalar in text.unicodeScalars { shown.append(isControl(scalar) ? "\u{FFFD}" : scalar) }
  return String(shown)
}

/// Terminal colours, or none.
public struct Paint: Sendable {
  public let isOn: Bool
  public init(isOn: Bool) { self.isOn = isOn }
  public func bold(_ text: String) -> String { wrap(text, "1") }
  public func dim(_ text: String) -> String { wrap(text, "2") }
  public func red(_ text: String) -> String { wrap(text, "31") }
  public func green(_ text: String) -> String { wrap(text, "32") }
  public func yellow(_ text: String) -> String { wrap(text, "33") }

  private func wrap(_ text: String, _ code: String) -> String { isOn ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text }
}

/// Rows of cells, printed in columns as wide as their widest cell.
public struct Table: Sendable {
  private let header: [String]
  private var rows: [[String]] = []

  public init(_ header: [String]) { self.header = header }

  /// As many cells as the header has. Each is made printable.
  public mutating func add(_ row: [String]) { rows.append(row.map(printable)) }

  /// - Parameter style: may put colour around a cell that is padded already.
  public func text(_ paint: Paint, _ style: (_ row: Int, _ column: Int, _ cell: String) -> String) -> String {
    let widths = header.indices.map { column in
      rows.reduce(header[column].count) { max($0, $1[column].count) }
    }
    func pad(_ cell: String, _ column: Int) -> String {
      column == header.count - 1 ? cell : cell + String(repeating: " ", count: widths[column] - cell.count)
    }
    var text = paint.dim(header.indices.map { pad(header[$0], $0) }.joined(separator: "  ")) + "\n"
    for (index, row) in rows.enumerated() {
      text += row.indices.map { style(index, $0, pad(row[$0], $0)) }.joined(separator: "  ") + "\n"
    }
    return text
  }
}
