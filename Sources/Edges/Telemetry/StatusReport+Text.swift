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
    text += vipTable(paint, now)
    text += serviceTable(paint)
    text += peerTable(paint)
    for service in services where service.state == "down" {
      text += "\n" + paint.red("service \(printable(service.name)): no backend is up; its clients are refused") + "\n"
    }
    return text
  }

  private func vipTable(_ paint: Paint, _ now: WallTime) -> String {
    guard !vips.isEmpty else { return "" }
    var table = Table(["VIP", "STATE", "OWNER", "ADDRESSES", "SINCE", "WHY"])
    for vip in vips {
      let since = vip.since.flatMap { WallTime($0) }.map { Self.words(from: $0, to: now) + " ago" } ?? "-"
      table.add(
        [
          vip.name, vip.state, vip.owner ?? "-", "\(vip.addresses.joined(separator: " ")) on \(vip.interface)", since,
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
      }
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
    var table = Table(["PEER", "ADDRESS", "STATE", "HEARD"])
    for peer in peers {
      let heard = peer.last_seen_ms.map { Self.words(milliseconds: $0) + " ago" } ?? "-"
      table.add([peer.name, peer.address, peer.state, heard])
    }
    let warnings = peers.compactMap { peer in peer.warning.map { "  \(printable("\(peer.name): \($0)"))\n" } }.joined()
    return "\n" + table.text(paint) { _, _, cell in cell } + warnings
  }

  private static func words(_ check: Check?) -> String {
    guard let check else { return "no check" }
    guard let message = check.message else { return "not checked yet" }
    guard let latency = check.last_ms else { return message }
    return "\(message), \((held(latency) * 10).rounded(.down) / 10) ms"
  }

  private static func words(from start: WallTime, to end: WallTime) -> String {
    words(milliseconds: (Double(end.nanoseconds) - Double(start.nanoseconds)) / 1_000_000)
  }

  /// What the daemon said may be anything: no number that it can say is one too many.
  private static func held(_ milliseconds: Double) -> Double {
    milliseconds > 0 ? min(milliseconds, longest) : 0
  }

  /// 100 million days.
  private static let longest = 86_400e3 * 1e8

  /// "340 ms", "12 s", "3 min 4 s", "2 h 10 min", "5 d 3 h".
  static func words(milliseconds: Double) -> String {
    let milliseconds = Int(held(milliseconds))
    let seconds = milliseconds / 1000
    if seconds < 1 { return "\(milliseconds) ms" }
    if seconds < 60 { return "\(seconds) s" }
    if seconds < 3600 { return "\(seconds / 60) min \(seconds % 60) s" }
    if seconds < 86_400 { return "\(seconds / 3600) h \(seconds / 60 % 60) min" }
    return "\(seconds / 86_400) d \(seconds / 3600 % 24) h"
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
