import Basis

// How a frame is written and read. Numbers are most significant byte first; a text is its length in 2 bytes and UTF-8; an optional
// value is a byte, 0 or 1, and then the value.

extension PeerFrame {
  /// Of a name or a number of a version in bytes: a longer one is cut when it is written, and refused when it is read.
  static let longestName = 255
  /// Of a sentence for people.
  static let longestSentence = 1024
  static let mostVIPs = 4096
  static let mostKeys = 255

  /// The whole frame, its length included.
  public var encoded: [UInt8] {
    var writer = FrameWriter()
    switch self {
    case .hello(let hello): writer.put(hello)
    case .ping(let number): writer.put(.ping, number)
    case .pong(let number, let wall):
      writer.put(.pong, number)
      if let wall { writer.put(wall) }
    case .message(let message): writer.put(message)
    case .unknown(let kind): writer.begin(kind)
    }
    return writer.finished
  }

  /// A frame without its length.
  init(_ bytes: ArraySlice<UInt8>) throws(PeeringError) {
    guard bytes.count >= 2, let version = bytes.first else { throw .tooShort(bytes.count) }
    let number = bytes[bytes.startIndex + 1]
    guard version == Self.version, let kind = Kind(rawValue: number) else {
      self = .unknown(kind: number)
      return
    }
    var reader = FieldReader(rest: bytes.dropFirst(2), kind: number)
    let frame: PeerFrame? =
      switch kind {
      case .hello: .hello(try Hello(&reader))
      case .ping: .ping(try reader.number())
      case .pong: .pong(try reader.number(), wall: try reader.added())
      default: try PeerMessage(kind, &reader).map(PeerFrame.message)
      }
    self = frame ?? .unknown(kind: number)
  }
}

// MARK: - Writing

private struct FrameWriter {
  private var bytes = [UInt8](repeating: 0, count: PeerFrame.lengthOfLength)

  mutating func begin(_ kind: UInt8) {
    bytes.append(PeerFrame.version)
    bytes.append(kind)
  }

  mutating func put(_ kind: PeerFrame.Kind, _ number: UInt64) {
    begin(kind.rawValue)
    put(number)
  }

  var finished: [UInt8] {
    var bytes = bytes
    let length = UInt32(truncatingIfNeeded: bytes.count - PeerFrame.lengthOfLength)
    for offset in 0..<PeerFrame.lengthOfLength {
      bytes[offset] = UInt8(truncatingIfNeeded: length >> (24 - 8 * UInt32(offset)))
    }
    return bytes
  }

  mutating func put<Number: FixedWidthInteger>(_ number: Number) {
    var shift = Number.bitWidth - 8
    while shift >= 0 {
      bytes.append(UInt8(truncatingIfNeeded: number >> Number(shift)))
      shift -= 8
    }
  }

  mutating func put(_ text: String, most: Int = PeerFrame.longestName) {
    var utf8 = Array(text.utf8.prefix(most))
    // Not in the middle of a character.
    while !utf8.isEmpty, String(validating: utf8, as: UTF8.self) == nil { utf8.removeLast() }
    put(UInt16(utf8.count))
    bytes += utf8
  }

  mutating func put(_ text: String?, most: Int = PeerFrame.longestName) {
    put(UInt8(text == nil ? 0 : 1))
    if let text { put(text, most: most) }
  }

  mutating func put(_ hello: Hello) {
    begin(PeerFrame.Kind.hello.rawValue)
    put(hello.node)
    put(hello.software)
    put(hello.protocols.lowerBound)
    put(hello.protocols.upperBound)
    put(hello.configuration)
    put(hello.life)
    put(UInt16(min(hello.advertKeys.count, PeerFrame.mostKeys)))
    bytes += hello.advertKeys.prefix(PeerFrame.mostKeys)
  }

  mutating func put(_ message: PeerMessage) {
    begin(message.kind.rawValue)
    switch message {
    case .vips(let reports):
      put(UInt16(min(reports.count, PeerFrame.mostVIPs)))
      for report in reports.prefix(PeerFrame.mostVIPs) { put(report) }
    case .successor(let vip, let node):
      put(vip)
      put(node)
    case .prepare(let vip, let move), .ready(let vip, let move), .taken(let vip, let move):
      put(move)
      put(vip)
    case .refused(let vip, let move, let reason):
      put(move)
      put(vip)
      put(reason, most: PeerFrame.longestSentence)
    case .moved(let vip, let node, let move, let freshness):
      put(move)
      put(vip)
      put(node)
      put(UInt8(freshness == nil ? 0 : 1))
      if let freshness {
        put(freshness.after.nanoseconds)
        put(freshness.within.nanoseconds)
      }
    case .leave(let vip, let node, let move):
      put(move)
      put(vip)
      put(node)
    case .moveRequest(let vip, let node, let move):
      put(move)
      put(vip)
      put(node)
    case .moveEnded(let move, let error, let vacant):
      put(move)
      put(error, most: PeerFrame.longestSentence)
      put(UInt8(vacant == nil ? 0 : 1))
      if let vacant { put(vacant.nanoseconds) }
    }
  }

  /// With its own length, so that a report can grow.
  private mutating func put(_ report: PeerMessage.VIPReport) {
    let start = bytes.count
    put(UInt16(0))
    put(report.name)
    put(report.state.rawValue)
    put(report.priority)
    put(UInt8(report.isEligible ? 1 : 0))
    if let router = report.router {
      put(router.id)
      put(router.version)
      put(UInt8((router.usesIPv6 ? 1 : 0) | (router.isUnicast ? 2 : 0)))
      if let linkLocal = report.linkLocal { put(linkLocal) }
    }
    let length = bytes.count - start - 2
    bytes[start] = UInt8(truncatingIfNeeded: length >> 8)
    bytes[start + 1] = UInt8(truncatingIfNeeded: length)
  }
}

extension PeerMessage {
  var kind: PeerFrame.Kind {
    switch self {
    case .vips: .vips
    case .successor: .successor
    case .prepare: .prepare
    case .ready: .ready
    case .refused: .refused
    case .moved: .moved
    case .taken: .taken
    case .moveRequest: .moveRequest
    case .moveEnded: .moveEnded
    case .leave: .leave
    }
  }
}

// MARK: - Reading

/// Takes fields from the front of a frame.
private struct FieldReader {
  var rest: ArraySlice<UInt8>
  let kind: UInt8

  mutating func take(_ count: Int) throws(PeeringError) -> ArraySlice<UInt8> {
    guard count <= rest.count else { throw .truncated(kind: kind) }
    defer { rest = rest.dropFirst(count) }
    return rest.prefix(count)
  }

  mutating func number<Number: FixedWidthInteger>(_: Number.Type = Number.self) throws(PeeringError) -> Number {
    var value: Number = 0
    for byte in try take(Number.bitWidth / 8) { value = value << 8 | Number(truncatingIfNeeded: byte) }
    return value
  }

  /// A number that later versions add at the end; nil where the sender is an earlier one.
  mutating func added<Number: FixedWidthInteger>(_: Number.Type = Number.self) throws(PeeringError) -> Number? {
    rest.count >= Number.bitWidth / 8 ? try number() : nil
  }

  mutating func text(most: Int = PeerFrame.longestName) throws(PeeringError) -> String {
    let count = Int(try number(UInt16.self))
    guard count <= most, let text = String(validating: try take(count), as: UTF8.self) else { throw .text(kind: kind) }
    return text
  }

  mutating func optional<Value>(
    _ body: (inout FieldReader) throws(PeeringError) -> Value
  ) throws(PeeringError) -> Value? {
    try number(UInt8.self) == 0 ? nil : try body(&self)
  }

  mutating func count(most: Int) throws(PeeringError) -> Int {
    let count = Int(try number(UInt16.self))
    guard count <= most else { throw .tooMany(kind: kind, count) }
    return count
  }
}

extension Hello {
  fileprivate init(_ reader: inout FieldReader) throws(PeeringError) {
    let node = try reader.text()
    let software = try reader.text()
    let lowest = try reader.number(UInt8.self)
    let highest = try reader.number(UInt8.self)
    let configuration = try reader.text()
    let life = try reader.number(UInt64.self)
    let keys = Array(try reader.take(try reader.count(most: PeerFrame.mostKeys)))
    self.init(
      node: node, software: software, protocols: lowest...max(lowest, highest), configuration: configuration,
      life: life, advertKeys: keys)
  }
}

extension PeerMessage {
  /// Nil where it says something that this software has no word for.
  fileprivate init?(_ kind: PeerFrame.Kind, _ reader: inout FieldReader) throws(PeeringError) {
    switch kind {
    case .hello, .ping, .pong: return nil
    case .vips:
      var reports: [VIPReport] = []
      for _ in 0..<(try reader.count(most: PeerFrame.mostVIPs)) {
        let length = Int(try reader.number(UInt16.self))
        var fields = FieldReader(rest: try reader.take(length), kind: reader.kind)
        // A state that is not known is no reason to lose the others.
        if let report = try VIPReport(&fields) { reports.append(report) }
      }
      self = .vips(reports)
    case .successor:
      self = .successor(
        vip: try reader.text(), node: try reader.optional { reader throws(PeeringError) in try reader.text() })
    case .prepare, .ready, .taken:
      let move = try reader.number(UInt64.self)
      let vip = try reader.text()
      self =
        kind == .prepare
        ? .prepare(vip: vip, move: move) : kind == .ready ? .ready(vip: vip, move: move) : .taken(vip: vip, move: move)
    case .refused:
      let move = try reader.number(UInt64.self)
      self = .refused(
        vip: try reader.text(), move: move, reason: try reader.text(most: PeerFrame.longestSentence))
    case .moved:
      let move = try reader.number(UInt64.self)
      self = .moved(
        vip: try reader.text(), to: try reader.text(), move: move,
        freshness: try reader.optional { reader throws(PeeringError) in
          Freshness(
            after: .nanoseconds(try reader.number(Int64.self)), within: .nanoseconds(try reader.number(Int64.self)))
        })
    case .leave:
      let move = try reader.number(UInt64.self)
      self = .leave(vip: try reader.text(), to: try reader.text(), move: move)
    case .moveRequest:
      let move = try reader.number(UInt64.self)
      self = .moveRequest(
        vip: try reader.text(), to: try reader.optional { reader throws(PeeringError) in try reader.text() }, move: move
      )
    case .moveEnded:
      self = .moveEnded(
        move: try reader.number(),
        error: try reader.optional { reader throws(PeeringError) in try reader.text(most: PeerFrame.longestSentence) },
        vacant: try reader.optional { reader throws(PeeringError) in
          Duration.nanoseconds(try reader.number(Int64.self))
        })
    }
  }
}

extension PeerMessage.VIPReport {
  fileprivate init?(_ reader: inout FieldReader) throws(PeeringError) {
    let name = try reader.text()
    let state = State(rawValue: try reader.number())
    let priority = try reader.number(UInt8.self)
    let isEligible = try reader.number(UInt8.self) & 1 == 1
    guard let state else { return nil }
    self.init(name: name, state: state, priority: priority, isEligible: isEligible)
    // Older software ends here.
    guard !reader.rest.isEmpty else { return }
    let (id, version) = (try reader.number(UInt8.self), try reader.number(UInt8.self))
    let flags = try reader.number(UInt8.self)
    router = Router(id: id, version: version, usesIPv6: flags & 1 != 0, isUnicast: flags & 2 != 0)
    linkLocal = try reader.added()
  }
}
