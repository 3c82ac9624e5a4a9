/// Reads the head of a request, in however many pieces it comes.
///
/// The caller keeps the bytes together and shows all that it has of the message, from its first byte, each time; what was
/// looked at is not looked at again. So nothing is copied, and how the bytes were split cannot matter.
public struct RequestScanner: Sendable {
  private var lines: LineScanner
  private var line: RequestLine?

  public init(_ limits: Limits = Limits()) { lines = LineScanner(limits) }

  /// The head, once all of it is there.
  public mutating func scan(_ bytes: Span<UInt8>) throws(MessageError) -> RequestHead? {
    while let range = try lines.next(bytes) {
      guard let line else {
        // RFC 9112 §2.2: an empty line before a request is passed over, for old clients' sake.
        if range.isEmpty, range.lowerBound == 0 { continue }
        self.line = try RequestLine(bytes, range)
        lines.startLineIsRead()
        continue
      }
      if range.isEmpty { return try head(line) }
      try lines.field(bytes, range)
    }
    return nil
  }

  /// Forgets the message that was read, and is ready for the next. Keeps its storage.
  public mutating func reset() {
    line = nil
    lines.reset()
  }

  private func head(_ line: RequestLine) throws(MessageError) -> RequestHead {
    let summary = lines.summary
    if summary.hosts == 0, line.minorVersion > 0 { throw .missingHost }
    let framing = try summary.framing(minorVersion: line.minorVersion) ?? .none
    return RequestHead(
      method: line.method, target: line.target, minorVersion: line.minorVersion, fields: lines.fields, framing: framing,
      keepsAlive: summary.keepsAlive(minorVersion: line.minorVersion),
      expectsContinue: summary.expectsContinue && line.minorVersion > 0, length: lines.position)
  }
}

/// Reads the head of an answer, as `RequestScanner` reads that of a request.
public struct ResponseScanner: Sendable {
  private var lines: LineScanner
  private var line: StatusLine?

  public init(_ limits: Limits = Limits()) { lines = LineScanner(limits) }

  /// The head, once all of it is there. An interim answer (1xx) is one as well: `reset`, and read on behind it.
  public mutating func scan(_ bytes: Span<UInt8>) throws(MessageError) -> ResponseHead? {
    while let range = try lines.next(bytes) {
      guard let line else {
        self.line = try StatusLine(bytes, range)
        lines.startLineIsRead()
        continue
      }
      if range.isEmpty { return try head(line) }
      try lines.field(bytes, range)
    }
    return nil
  }

  /// Forgets the message that was read, and is ready for the next. Keeps its storage.
  public mutating func reset() {
    line = nil
    lines.reset()
  }

  private func head(_ line: StatusLine) throws(MessageError) -> ResponseHead {
    let summary = lines.summary
    let framing = try summary.framing(minorVersion: line.minorVersion)
    // RFC 9112 §6.1: no Transfer-Encoding in an answer that cannot have a body.
    if framing == .chunked, line.status < 200 || line.status == 204 { throw .unexpectedTransferEncoding }
    return ResponseHead(
      status: line.status, reason: line.reason, minorVersion: line.minorVersion, fields: lines.fields,
      keepsAlive: summary.keepsAlive(minorVersion: line.minorVersion), length: lines.position,
      declared: framing ?? .untilClose)
  }
}

/// `method SP request-target SP HTTP-version` (RFC 9112 §3).
struct RequestLine: Sendable {
  var method: Range<Int>
  var target: Range<Int>
  var minorVersion: Int

  init(_ bytes: Span<UInt8>, _ line: Range<Int>) throws(MessageError) {
    guard let first = bytes.first(space, in: line),
      let second = bytes.first(space, in: first + 1..<line.upperBound), second > first + 1
    else { throw .invalidRequestLine }
    method = line.lowerBound..<first
    target = first + 1..<second
    guard !method.isEmpty, bytes.all(in: method, { $0.isToken }) else { throw .invalidMethod }
    guard bytes.all(in: target, { $0.isVisible }) else { throw .invalidTarget }
    minorVersion = try RequestLine.minorVersion(bytes, second + 1..<line.upperBound)
    guard hasRightForm(bytes) else { throw .invalidTarget }
  }

  /// The n of `HTTP/1.n`, case and all (RFC 9112 §2.3).
  static func minorVersion(_ bytes: Span<UInt8>, _ range: Range<Int>) throws(MessageError) -> Int {
    let expected: [8 of UInt8] = [0x48, 0x54, 0x54, 0x50, 0x2F, 0x31, 0x2E, 0]
    guard range.count == 8 else { throw .unsupportedVersion }
    for index in 0..<7 where bytes[range.lowerBound + index] != expected[index] { throw .unsupportedVersion }
    let digit = bytes[range.lowerBound + 7]
    guard digit.isDigit else { throw .unsupportedVersion }
    return Int(digit - 0x30)
  }

  /// RFC 9112 §3.2: CONNECT asks for an authority, OPTIONS may ask for `*`, everything else is a path or an absolute URI.
  private func hasRightForm(_ bytes: Span<UInt8>) -> Bool {
    let first = bytes[target.lowerBound]
    // Methods know case (RFC 9110 §9.1); one that merely looks like these is treated with the same care.
    if bytes.equalsIgnoringCase(method, "CONNECT") {
      return first != 0x2F && bytes.first(colon, in: target) != nil && bytes.first(0x2F, in: target) == nil
    }
    if first == 0x2F { return true }
    if first == 0x2A { return target.count == 1 && bytes.equalsIgnoringCase(method, "OPTIONS") }
    guard let end = bytes.first(colon, in: target), end + 2 < target.upperBound else { return false }
    return bytes[end + 1] == 0x2F && bytes[end + 2] == 0x2F && end > target.lowerBound
  }
}

/// `HTTP-version SP status-code SP [reason-phrase]` (RFC 9112 §4).
struct StatusLine: Sendable {
  var status: Int
  var reason: Range<Int>
  var minorVersion: Int

  init(_ bytes: Span<UInt8>, _ line: Range<Int>) throws(MessageError) {
    guard line.count >= 12 else { throw .invalidStatusLine }
    let start = line.lowerBound
    minorVersion = try RequestLine.minorVersion(bytes, start..<start + 8)
    var status = 0
    for index in start + 9..<start + 12 {
      guard bytes[index].isDigit else { throw .invalidStatusLine }
      status = status * 10 + Int(bytes[index] - 0x30)
    }
    guard bytes[start + 8] == space, (100...599).contains(status) else { throw .invalidStatusLine }
    // Servers leave out the space before an absent reason; no one can be misled by that.
    guard line.count == 12 || bytes[start + 12] == space else { throw .invalidStatusLine }
    reason = min(start + 13, line.upperBound)..<line.upperBound
    guard bytes.all(in: reason, { $0.isFieldContent }) else { throw .invalidStatusLine }
    self.status = status
  }
}
