// Numbers and texts as bytes: LEB128 for what is mostly small, zigzag for what may be negative.

/// Where a recording is not what it should be.
public enum RecordingError: Error, Sendable, Hashable, CustomStringConvertible {
  case notARecording
  /// Made by a program that writes another form.
  case version(UInt8)
  /// The bytes end within something: a recording that was cut off, at that byte.
  case cut(at: Int)
  /// The bytes at that place can't be what stands there.
  case malformed(at: Int, what: String)

  public var description: String {
    switch self {
    case .notARecording: "this is no recording: it doesn't begin as one"
    case .version(let version): "this recording has form \(version), this program reads form \(Recording.version)"
    case .cut(let offset): "the recording is cut off at byte \(offset)"
    case .malformed(let offset, let what): "the recording is damaged at byte \(offset): \(what)"
    }
  }
}

/// Appends to bytes that somebody else keeps.
enum BytesOut {
  static func number(_ value: UInt64, _ bytes: inout [UInt8]) {
    var rest = value
    while rest > 0x7F {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(truncatingIfNeeded: rest))
  }

  static func number(_ value: Int, _ bytes: inout [UInt8]) { number(UInt64(bitPattern: Int64(value)), &bytes) }

  static func signed(_ value: Int64, _ bytes: inout [UInt8]) {
    number(UInt64(bitPattern: (value << 1) ^ (value >> 63)), &bytes)
  }

  /// Exact, where a number of nanoseconds might not be.
  static func duration(_ value: Duration, _ bytes: inout [UInt8]) {
    signed(value.components.seconds, &bytes)
    signed(value.components.attoseconds, &bytes)
  }

  static func flag(_ value: Bool, _ bytes: inout [UInt8]) { bytes.append(value ? 1 : 0) }

  static func text(_ value: String, _ bytes: inout [UInt8]) {
    number(value.utf8.count, &bytes)
    for byte in value.utf8 { bytes.append(byte) }
  }

  static func fixed(_ value: UInt64, _ count: Int, _ bytes: inout [UInt8]) {
    for index in 0..<count { bytes.append(UInt8(truncatingIfNeeded: value >> UInt64(8 * index))) }
  }
}

/// Walks over bytes that may be anything. Nothing is allocated on the word of a length: what is there is counted first.
struct BytesIn {
  let bytes: [UInt8]
  private(set) var offset = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  var isAtEnd: Bool { offset >= bytes.count }
  var left: Int { bytes.count - offset }

  func malformed(_ what: String) -> RecordingError { .malformed(at: offset, what: what) }

  mutating func byte() throws(RecordingError) -> UInt8 {
    guard offset < bytes.count else { throw .cut(at: bytes.count) }
    defer { offset += 1 }
    return bytes[offset]
  }

  mutating func number() throws(RecordingError) -> UInt64 {
    var value: UInt64 = 0
    for shift in stride(from: UInt64(0), through: 63, by: 7) {
      let byte = try byte()
      guard shift < 63 || byte <= 1 else { break }
      value |= UInt64(byte & 0x7F) << shift
      if byte & 0x80 == 0 { return value }
    }
    throw malformed("a number longer than 64 bits")
  }

  mutating func signed() throws(RecordingError) -> Int64 {
    let value = try number()
    return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
  }

  mutating func index() throws(RecordingError) -> Int {
    guard let value = Int(exactly: try number()) else { throw malformed("an index out of all range") }
    return value
  }

  /// How many of something follow, each at least a byte long.
  mutating func count() throws(RecordingError) -> Int {
    let value = try number()
    guard value <= UInt64(left) else { throw .cut(at: bytes.count) }
    return Int(value)
  }

  mutating func duration() throws(RecordingError) -> Duration {
    let seconds = try signed()
    let attoseconds = try signed()
    guard abs(seconds.clamped) <= 1 << 40, abs(attoseconds.clamped) < 1_000_000_000_000_000_000 else {
      throw malformed("a length of time out of all range")
    }
    return Duration(secondsComponent: seconds, attosecondsComponent: attoseconds)
  }

  mutating func flag() throws(RecordingError) -> Bool {
    let value = try byte()
    guard value <= 1 else { throw malformed("neither yes nor no") }
    return value == 1
  }

  mutating func take(_ count: Int) throws(RecordingError) -> ArraySlice<UInt8> {
    guard count >= 0, count <= left else { throw .cut(at: bytes.count) }
    defer { offset += count }
    return bytes[offset..<offset + count]
  }

  mutating func text() throws(RecordingError) -> String {
    let count = try count()
    guard let text = String(validating: try take(count), as: UTF8.self) else {
      throw malformed("a text that is not UTF-8")
    }
    return text
  }

  mutating func fixed(_ count: Int) throws(RecordingError) -> UInt64 {
    try take(count).reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }
}

extension Int64 {
  /// So that its absolute value exists.
  fileprivate var clamped: Int64 { Swift.max(self, -.max) }
}
