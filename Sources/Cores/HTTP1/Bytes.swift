/// The byte classes of RFC 9110 §5.6.2 and RFC 9112, and what is asked of a stretch of bytes.

let carriageReturn: UInt8 = 0x0D
let lineFeed: UInt8 = 0x0A
let space: UInt8 = 0x20
let tab: UInt8 = 0x09
let colon: UInt8 = 0x3A
let comma: UInt8 = 0x2C

extension UInt8 {
  /// tchar of RFC 9110 §5.6.2: letters, digits and ``!#$%&'*+-.^_`|~``.
  var isToken: Bool {
    switch self {
    case 0x30...0x39, 0x41...0x5A, 0x5E...0x7A, 0x21, 0x23...0x27, 0x2A, 0x2B, 0x2D, 0x2E, 0x7C, 0x7E: true
    default: false
    }
  }

  /// What a field value or a reason may have: visible characters, space, tab and obs-text (RFC 9110 §5.5).
  var isFieldContent: Bool { (self >= 0x20 && self != 0x7F) || self == tab }

  var isBlank: Bool { self == space || self == tab }
  var isDigit: Bool { self >= 0x30 && self <= 0x39 }
  var isVisible: Bool { self > 0x20 && self < 0x7F }
  var lowercased: UInt8 { self >= 0x41 && self <= 0x5A ? self | 0x20 : self }

  var hexValue: UInt64? {
    switch self {
    case 0x30...0x39: UInt64(self - 0x30)
    case 0x41...0x46: UInt64(self - 0x41 + 10)
    case 0x61...0x66: UInt64(self - 0x61 + 10)
    default: nil
    }
  }
}

extension Span<UInt8> {
  /// The bytes of that range as text, with replacement characters where they are not UTF-8.
  public func text(_ range: Range<Int>) -> String {
    var copy: [UInt8] = []
    copy.reserveCapacity(range.count)
    for index in range.clamped(to: indices) { copy.append(self[index]) }
    return String(decoding: copy, as: UTF8.self)
  }

  /// Whether the bytes of that range are this ASCII text, in either case.
  public func equalsIgnoringCase(_ range: Range<Int>, _ text: StaticString) -> Bool {
    guard range.count == text.utf8CodeUnitCount, range.lowerBound >= 0, range.upperBound <= count else { return false }
    // A static string is ASCII or UTF-8 bytes of a known length that live for ever.
    let pointer = unsafe text.utf8Start
    for index in 0..<range.count where unsafe self[range.lowerBound + index].lowercased != pointer[index].lowercased {
      return false
    }
    return true
  }

  /// That range without spaces and tabs at its ends.
  func trimmed(_ range: Range<Int>) -> Range<Int> {
    var (start, end) = (range.lowerBound, range.upperBound)
    while start < end, self[start].isBlank { start += 1 }
    while end > start, self[end - 1].isBlank { end -= 1 }
    return start..<end
  }

  func first(_ byte: UInt8, in range: Range<Int>) -> Int? {
    for index in range where self[index] == byte { return index }
    return nil
  }

  func all(in range: Range<Int>, _ matches: (UInt8) -> Bool) -> Bool {
    for index in range where !matches(self[index]) { return false }
    return true
  }
}
