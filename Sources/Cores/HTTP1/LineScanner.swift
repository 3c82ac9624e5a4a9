/// Cuts a head into lines and its lines into fields, and notes what decides about body and connection.
struct LineScanner: Sendable {
  let limits: Limits
  private(set) var fields: [Field] = []
  private(set) var summary = Summary()
  /// Everything before it is done with: the next line starts here.
  private(set) var position = 0
  private var searched = 0
  private var inStartLine = true

  init(_ limits: Limits) { self.limits = limits }

  mutating func startLineIsRead() { inStartLine = false }

  mutating func reset() {
    fields.removeAll(keepingCapacity: true)
    summary = Summary()
    position = 0
    searched = 0
    inStartLine = true
  }

  /// The next line without its CR LF, if all of it is there.
  ///
  /// What lies beyond the limit is not looked at, however much of it there is: so the same bytes fail in the same way,
  /// whether they come at once or one by one.
  mutating func next(_ bytes: Span<UInt8>) throws(MessageError) -> Range<Int>? {
    let bound = inStartLine ? min(limits.startLine, limits.head) : limits.head
    let end = min(bytes.count, bound)
    var index = searched
    defer { searched = index }
    while index < end {
      let byte = bytes[index]
      if byte > carriageReturn || (byte != carriageReturn && byte != lineFeed) {
        index += 1
        continue
      }
      // The LF of a CR LF is never come upon by itself.
      if byte == lineFeed { throw .bareLineFeed }
      guard index + 1 < end else { break }
      guard bytes[index + 1] == lineFeed else { throw .bareCarriageReturn }
      let line = position..<index
      index += 2
      position = index
      return line
    }
    guard bytes.count >= bound else { return nil }
    throw inStartLine && limits.startLine < limits.head
      ? .startLineTooLong(limit: limits.startLine) : .headTooLarge(limit: limits.head)
  }

  /// `field-name ":" OWS field-value OWS` (RFC 9112 §5).
  mutating func field(_ bytes: Span<UInt8>, _ line: Range<Int>) throws(MessageError) {
    guard fields.count < limits.fields else { throw .tooManyFields(limit: limits.fields) }
    if bytes[line.lowerBound].isBlank { throw .foldedField }
    var end = line.lowerBound
    while end < line.upperBound, bytes[end].isToken { end += 1 }
    guard end > line.lowerBound, end < line.upperBound else { throw .invalidFieldName }
    guard bytes[end] == colon else { throw bytes[end].isBlank ? .spaceBeforeColon : .invalidFieldName }
    let value = bytes.trimmed(end + 1..<line.upperBound)
    guard bytes.all(in: value, { $0.isFieldContent }) else { throw .invalidFieldValue }
    let field = Field(name: line.lowerBound..<end, value: value)
    fields.append(field)
    try summary.note(field, bytes)
  }
}

/// What the fields say of the body and of the connection.
struct Summary: Sendable {
  private(set) var hosts = 0
  private(set) var expectsContinue = false
  private var contentLength: UInt64?
  private var chunked = false
  private var closes = false
  private var persists = false

  mutating func note(_ field: Field, _ bytes: Span<UInt8>) throws(MessageError) {
    // The length of a name tells most of them apart, so that ordinary fields cost one comparison.
    switch field.name.count {
    case 4 where bytes.equalsIgnoringCase(field.name, "host"):
      guard hosts == 0 else { throw .repeatedHost }
      hosts = 1
      guard bytes.all(in: field.value, Summary.isHost) else { throw .invalidHost }
    case 6 where bytes.equalsIgnoringCase(field.name, "expect"):
      expectsContinue = bytes.equalsIgnoringCase(field.value, "100-continue")
    case 10 where bytes.equalsIgnoringCase(field.name, "connection"):
      noteConnection(field.value, bytes)
    case 14 where bytes.equalsIgnoringCase(field.name, "content-length"):
      guard contentLength == nil else { throw .repeatedContentLength }
      contentLength = try Summary.decimal(field.value, bytes)
    case 17 where bytes.equalsIgnoringCase(field.name, "transfer-encoding"):
      // A list, a repetition, a parameter or another coding: whoever forwards it and whoever reads it may disagree.
      guard !chunked, bytes.equalsIgnoringCase(field.value, "chunked") else { throw .unsupportedTransferEncoding }
      chunked = true
    default: break
    }
  }

  /// Nil where the fields say nothing.
  func framing(minorVersion: Int) throws(MessageError) -> Framing? {
    if chunked {
      if contentLength != nil { throw .lengthAndTransferEncoding }
      if minorVersion == 0 { throw .unexpectedTransferEncoding }
      return .chunked
    }
    return contentLength.map { $0 == 0 ? .none : .length($0) }
  }

  func keepsAlive(minorVersion: Int) -> Bool { !closes && (minorVersion > 0 || persists) }

  private mutating func noteConnection(_ value: Range<Int>, _ bytes: Span<UInt8>) {
    var start = value.lowerBound
    while start < value.upperBound {
      let end = bytes.first(comma, in: start..<value.upperBound) ?? value.upperBound
      let option = bytes.trimmed(start..<end)
      if bytes.equalsIgnoringCase(option, "close") { closes = true }
      if bytes.equalsIgnoringCase(option, "keep-alive") { persists = true }
      start = end + 1
    }
  }

  private static func decimal(_ value: Range<Int>, _ bytes: Span<UInt8>) throws(MessageError) -> UInt64 {
    guard !value.isEmpty, value.count <= 19 else { throw .invalidContentLength }
    var number: UInt64 = 0
    for index in value {
      guard bytes[index].isDigit else { throw .invalidContentLength }
      // 19 digits stay below 10¹⁹ and so below 2⁶⁴.
      number = number * 10 + UInt64(bytes[index] - 0x30)
    }
    guard number <= UInt64(Int64.max) else { throw .invalidContentLength }
    return number
  }

  /// uri-host and port (RFC 3986 §3.2.2) are of these; in particular no space, comma, slash, `@`, `?`, `#` or quote.
  private static func isHost(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
    // - . _ ~ % ! $ & ' ( ) * + ; = : [ ]
    case 0x2D, 0x2E, 0x5F, 0x7E, 0x25, 0x21, 0x24, 0x26...0x2B, 0x3B, 0x3D, 0x3A, 0x5B, 0x5D: true
    default: false
    }
  }
}
