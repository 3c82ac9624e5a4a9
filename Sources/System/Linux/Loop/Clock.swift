import Basis
import CLinux

/// The clocks of this host. Edges read them and hand the instant to the cores.
public enum Clock {
  /// The time since boot, suspended time included (CLOCK_BOOTTIME).
  public static func now() -> Instant { Instant(nanoseconds: clinux_boottime_ns()) }
  /// The time of day, for people. It may jump.
  public static func wall() -> WallTime { WallTime(nanoseconds: clinux_realtime_ns()) }
}

/// A time of day, in nanoseconds since 1970 without leap seconds; written and read as RFC 3339.
public struct WallTime: Sendable, Hashable, Comparable {
  public var nanoseconds: Int64

  public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

  public static func < (left: Self, right: Self) -> Bool { left.nanoseconds < right.nanoseconds }
  public static func - (left: Self, right: Duration) -> Self { Self(nanoseconds: left.nanoseconds - right.nanoseconds) }
  public static func - (left: Self, right: Self) -> Duration { .nanoseconds(left.nanoseconds - right.nanoseconds) }
}

extension WallTime: CustomStringConvertible, LosslessStringConvertible {
  /// In UTC with microseconds: `2026-11-22T13:14:23.000042Z`.
  public var description: String {
    let second = 1_000_000_000 as Int64
    let seconds = nanoseconds.floored(by: second)
    let date = CivilDate(daysSince1970: Int(seconds.floored(by: 86_400)))
    let ofDay = Int(seconds - seconds.floored(by: 86_400) * 86_400)
    let fraction = Int((nanoseconds - seconds * second) / 1000)
    return "\(padded(date.year, 4))-\(padded(date.month, 2))-\(padded(date.day, 2))"
      + "T\(padded(ofDay / 3600, 2)):\(padded(ofDay / 60 % 60, 2)):\(padded(ofDay % 60, 2)).\(padded(fraction, 6))Z"
  }

  /// Any RFC 3339 date-time (§5.6), whatever its offset and the digits of its fraction.
  public init?(_ description: String) {
    var reader = DigitReader(rest: Array(description.utf8)[...])
    guard let year = reader.number(4), reader.take("-"), let month = reader.number(2), reader.take("-"),
      let day = reader.number(2), reader.take("Tt "), let hour = reader.number(2), reader.take(":"),
      let minute = reader.number(2), reader.take(":"), let second = reader.number(2),
      1...12 ~= month, 1...CivilDate.days(ofMonth: month, year: year) ~= day, hour < 24, minute < 60, second <= 60
    else { return nil }
    var fraction: Int64 = 0
    if reader.take(".") {
      guard let value = reader.fraction() else { return nil }
      fraction = value
    }
    guard let offset = reader.offset(), reader.rest.isEmpty else { return nil }
    let days = CivilDate(year: year, month: month, day: day).daysSince1970
    let seconds = Int64(days * 86_400 + hour * 3600 + minute * 60 + second - offset * 60)
    let (scaled, overflowed) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    let (sum, carried) = scaled.addingReportingOverflow(fraction)
    if overflowed || carried { return nil }
    nanoseconds = sum
  }
}

/// A day of the Gregorian calendar. Years are counted from March, so that the leap day is a year's last.
private struct CivilDate {
  var year: Int
  var month: Int
  var day: Int

  init(year: Int, month: Int, day: Int) {
    self.year = year
    self.month = month
    self.day = day
  }

  init(daysSince1970 days: Int) {
    let sinceMarch0 = days + 719_468  // 0000-03-01 to 1970-01-01
    let era = sinceMarch0.floored(by: 146_097)  // 400 years
    let ofEra = sinceMarch0 - era * 146_097
    let yearOfEra = (ofEra - ofEra / 1460 + ofEra / 36_524 - ofEra / 146_096) / 365
    let ofYear = ofEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthFromMarch = (5 * ofYear + 2) / 153
    day = ofYear - (153 * monthFromMarch + 2) / 5 + 1
    month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
    year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  }

  var daysSince1970: Int {
    let fromMarch = month <= 2 ? year - 1 : year
    let era = fromMarch.floored(by: 400)
    let yearOfEra = fromMarch - era * 400
    let ofYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + ofYear - 719_468
  }

  static func days(ofMonth month: Int, year: Int) -> Int {
    switch month {
    case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
    case 4, 6, 9, 11: 30
    default: 31
    }
  }
}

private struct DigitReader {
  var rest: ArraySlice<UInt8>

  mutating func take(_ anyOf: String) -> Bool {
    guard let first = rest.first, anyOf.utf8.contains(first) else { return false }
    rest = rest.dropFirst()
    return true
  }

  mutating func digit() -> Int? {
    guard let first = rest.first, 48...57 ~= first else { return nil }
    rest = rest.dropFirst()
    return Int(first - 48)
  }

  mutating func number(_ digits: Int) -> Int? {
    var value = 0
    for _ in 0..<digits {
      guard let digit = digit() else { return nil }
      value = value * 10 + digit
    }
    return value
  }

  /// Nanoseconds; what is finer is dropped.
  mutating func fraction() -> Int64? {
    guard var value = digit().map(Int64.init) else { return nil }
    var digits = 1
    while let next = digit() {
      if digits < 9 { value = value * 10 + Int64(next) }
      digits += 1
    }
    for _ in min(digits, 9)..<9 { value *= 10 }
    return value
  }

  /// Minutes east of Greenwich.
  mutating func offset() -> Int? {
    if take("Zz") { return 0 }
    let isEast = rest.first == UInt8(ascii: "+")
    guard take("+-"), let hours = number(2), take(":"), let minutes = number(2), hours < 24, minutes < 60 else {
      return nil
    }
    return (hours * 60 + minutes) * (isEast ? 1 : -1)
  }
}

private func padded(_ value: Int, _ width: Int) -> String {
  let digits = String(value)
  return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
}

extension BinaryInteger {
  /// The quotient rounded towards minus infinity.
  fileprivate func floored(by divisor: Self) -> Self {
    let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
    return remainder < 0 ? quotient - 1 : quotient
  }
}
