extension Duration {
  /// For people, in the unit that fits: "0.04 ms", "3.1 ms", "330 ms", "3.6 s", "3 min 4 s". What a line of the log, an event or an
  /// answer says of a time is written by this, and no other way.
  public var words: String {
    let nanoseconds = nanoseconds
    guard nanoseconds >= 0 else { return "-\(Duration.nanoseconds(nanoseconds == .min ? .max : -nanoseconds).words)" }
    switch nanoseconds {
    case ..<1_000_000: return Self.decimal(nanoseconds / 10_000, places: 2, "ms")
    case ..<10_000_000: return Self.decimal(nanoseconds / 100_000, places: 1, "ms")
    case ..<1_000_000_000: return "\(nanoseconds / 1_000_000) ms"
    case ..<60_000_000_000: return Self.decimal(nanoseconds / 100_000_000, places: 1, "s")
    default: return wholeWords
    }
  }

  /// The same where only the size matters: "340 ms", "12 s", "3 min 4 s", "2 h 10 min", "5 d 3 h". Below zero is zero.
  public var wholeWords: String {
    let milliseconds = max(0, nanoseconds / 1_000_000)
    let seconds = milliseconds / 1000
    switch seconds {
    case ..<1: return "\(milliseconds) ms"
    case ..<60: return "\(seconds) s"
    case ..<3600: return "\(seconds / 60) min \(seconds % 60) s"
    case ..<86_400: return "\(seconds / 3600) h \(seconds / 60 % 60) min"
    default: return "\(seconds / 86_400) d \(seconds / 3600 % 24) h"
    }
  }

  /// A number of tenths or hundredths, without zeros at its end.
  private static func decimal(_ number: Int64, places: Int, _ unit: String) -> String {
    var (number, places) = (number, places)
    while places > 0, number % 10 == 0 {
      number /= 10
      places -= 1
    }
    guard places > 0 else { return "\(number) \(unit)" }
    let scale: Int64 = places == 2 ? 100 : 10
    let fraction = number % scale
    return "\(number / scale).\(places == 2 && fraction < 10 ? "0" : "")\(fraction) \(unit)"
  }
}
