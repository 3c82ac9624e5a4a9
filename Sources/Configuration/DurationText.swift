import Basis

/// Durations as the file writes them: a number and a unit, `100ms`, `1.5s`, `5m`, `1h`.
enum DurationText {
  /// In nanoseconds, the longest first.
  private static let units: [(name: String, nanoseconds: Int64)] = [
    ("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000),
  ]
  /// What people write for a unit.
  private static let slips: [String: String] = [
    "msec": "ms", "msecs": "ms", "millis": "ms", "millisecond": "ms", "milliseconds": "ms", "sec": "s", "secs": "s",
    "second": "s", "seconds": "s", "min": "m", "mins": "m", "minute": "m", "minutes": "m", "hr": "h", "hour": "h",
    "hours": "h",
  ]

  /// Digits, at most six of them behind a point, and a unit. The whole part has at most nine digits, so nothing overflows.
  static let pattern = #"^[0-9]{1,9}(\.[0-9]{1,6})?(ms|s|m|h)$"#

  static func read(_ text: String) -> Duration? {
    let bytes = Array(text.utf8)
    let number = bytes.prefix { $0 == UInt8(ascii: ".") || isDigit($0) }
    let unit = String(decoding: bytes.dropFirst(number.count), as: UTF8.self)
    guard let scale = units.first(where: { $0.name == unit })?.nanoseconds else { return nil }
    let parts = number.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard 1...2 ~= parts.count, 1...9 ~= parts[0].count, parts.count == 1 || 1...6 ~= parts[1].count else { return nil }
    var total = value(parts[0]) * Int64(scale)
    if parts.count == 2 {
      // At most six digits: below 10⁶ × 3.6 × 10¹², and exact, because each unit is a multiple of 10⁶.
      let power = (0..<parts[1].count).reduce(Int64(1)) { power, _ in power * 10 }
      total += value(parts[1]) * (scale / power)
    }
    return .nanoseconds(total)
  }

  /// In the largest unit that gives a whole number; below a millisecond with a point.
  static func write(_ duration: Duration) -> String {
    let nanoseconds = duration.nanoseconds
    for unit in units where nanoseconds >= unit.nanoseconds && nanoseconds % unit.nanoseconds == 0 {
      return "\(nanoseconds / unit.nanoseconds)\(unit.name)"
    }
    guard nanoseconds % 1_000_000 != 0 else { return "0s" }
    let fraction = String(1_000_000 + abs(nanoseconds % 1_000_000)).dropFirst()
    let digits = fraction.lastIndex { $0 != "0" }.map { fraction[...$0] } ?? "0"
    return "\(nanoseconds / 1_000_000).\(digits)ms"
  }

  /// What a text that is no duration was likely meant to be.
  static func suggestion(for text: String) -> String? {
    let bytes = Array(text.utf8)
    let number = bytes.prefix { $0 == UInt8(ascii: ".") || isDigit($0) }
    let digits = String(decoding: number, as: UTF8.self)
    guard !digits.isEmpty, digits.utf8.count <= 16 else { return nil }
    let rest = String(decoding: bytes.dropFirst(number.count), as: UTF8.self).lowercased()
    let unit = String(rest.drop { $0 == " " })
    if unit.isEmpty { return read(digits + "s").map { _ in "write \(digits)ms or \(digits)s" } }
    let guess = digits + (slips[unit] ?? unit)
    return read(guess).map { _ in "write \(guess)" }
  }

  private static func isDigit(_ byte: UInt8) -> Bool { 48...57 ~= byte }

  private static func value(_ digits: ArraySlice<UInt8>) -> Int64 { digits.reduce(0) { $0 * 10 + Int64($1 - 48) } }
}

extension Duration {
  /// Reads a duration as the configuration writes them: `100ms`, `1.5s`, `5m`, `1h`.
  public init?(written text: String) {
    guard let duration = DurationText.read(text) else { return nil }
    self = duration
  }
}
