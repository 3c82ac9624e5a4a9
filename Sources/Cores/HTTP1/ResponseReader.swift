/// Puts a whole answer together, for those who want it in one piece. Interim answers (1xx) are passed over.
///
/// Holds one head, one piece of input and the beginning of the body, and never more: what a hostile server sends beyond that is
/// counted and forgotten.
public struct ResponseReader: Sendable {
  /// 200 to 599, once the head is there.
  public private(set) var status: Int?
  public private(set) var reason = ""
  /// The beginning of the body, `bodyLimit` bytes at most.
  public private(set) var body: [UInt8] = []
  /// How long the body was so far, what was not kept included.
  public private(set) var bodyLength: UInt64 = 0
  public private(set) var isComplete = false

  private let answeringHead: Bool
  private let bodyLimit: Int
  private let limits: Limits
  private var scanner: ResponseScanner
  /// The head, as far as it came.
  private var pending: [UInt8] = []
  private var decoder: BodyDecoder?
  private var interim = 0

  /// Servers send one or two; one that goes on for ever has no answer.
  private static let interimLimit = 8

  public init(bodyLimit: Int, answeringHead: Bool = false, limits: Limits = Limits()) {
    self.bodyLimit = bodyLimit
    self.answeringHead = answeringHead
    self.limits = limits
    scanner = ResponseScanner(limits)
  }

  /// Reads on in these bytes, which follow those of the call before. What follows the answer is passed over.
  public mutating func read(_ bytes: Span<UInt8>) throws(MessageError) {
    if decoder != nil { return try readBody(bytes) }
    for index in bytes.indices { pending.append(bytes[index]) }
    while decoder == nil {
      let held = pending
      guard let head = try scanner.scan(held.span) else { return }
      scanner.reset()
      if head.status < 200 {
        interim += 1
        guard interim <= ResponseReader.interimLimit else { throw .invalidStatusLine }
        pending = Array(held[head.length...])
        continue
      }
      status = head.status
      reason = held.span.text(head.reason)
      decoder = BodyDecoder(head.framing(answeringHead: answeringHead), limits: limits)
      pending = []
      try readBody(held.span.extracting(head.length...))
    }
  }

  /// The connection ended.
  public mutating func end() throws(MessageError) {
    guard decoder != nil else { throw .truncated }
    try decoder?.end()
    isComplete = true
  }

  private mutating func readBody(_ bytes: Span<UInt8>) throws(MessageError) {
    guard var decoder else { return }
    var (kept, length) = (body, bodyLength)
    body = []
    let limit = bodyLimit
    defer { (body, bodyLength) = (kept, length) }
    _ = try decoder.decode(bytes) { range in
      length += UInt64(range.count)
      for index in range.prefix(max(0, limit - kept.count)) { kept.append(bytes[index]) }
    }
    self.decoder = decoder
    isComplete = decoder.isComplete
  }
}
