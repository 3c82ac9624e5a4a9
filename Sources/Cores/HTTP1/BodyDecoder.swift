/// Finds where a body ends, and which of its bytes are data, in however many pieces it comes. Keeps none of them.
public struct BodyDecoder: Sendable {
  /// The last byte of the message was seen; what follows belongs to the next one.
  public private(set) var isComplete: Bool
  private var state: State
  private let limits: Limits

  private enum State: Sendable {
    case length(UInt64)
    case untilClose
    case chunked(Chunked)
  }

  public init(_ framing: Framing, limits: Limits = Limits()) {
    self.limits = limits
    switch framing {
    case .none: (state, isComplete) = (.length(0), true)
    case .length(let count): (state, isComplete) = (.length(count), count == 0)
    case .chunked: (state, isComplete) = (.chunked(Chunked()), false)
    case .untilClose: (state, isComplete) = (.untilClose, false)
    }
  }

  /// Reads on in these bytes, which follow those of the call before.
  /// - Parameter data: is called with each stretch of data among them.
  /// - Returns: how many of them belong to this message: all, unless it is complete.
  public mutating func decode(_ bytes: Span<UInt8>, _ data: (Range<Int>) -> Void) throws(MessageError) -> Int {
    if isComplete { return 0 }
    switch state {
    case .untilClose:
      if !bytes.isEmpty { data(0..<bytes.count) }
      return bytes.count
    case .length(let left):
      let taken = Int(min(left, UInt64(bytes.count)))
      if taken > 0 { data(0..<taken) }
      state = .length(left - UInt64(taken))
      isComplete = left == UInt64(taken)
      return taken
    case .chunked(var chunked):
      let taken = try chunked.decode(bytes, limits, data)
      isComplete = chunked.isComplete
      state = .chunked(chunked)
      return taken
    }
  }

  /// The connection ended. That is an error unless the body ends so.
  public mutating func end() throws(MessageError) {
    if isComplete { return }
    guard case .untilClose = state else { throw .truncated }
    isComplete = true
  }
}

/// The chunked coding (RFC 9112 §7.1), byte by byte where it is framing, in stretches where it is data.
private struct Chunked: Sendable {
  private enum State: Sendable {
    case size, spaceBeforeExtension, `extension`, sizeEnd
    case data
    case dataReturn, dataEnd
    case trailer, trailerName, trailerValue, trailerEnd, lastEnd
    case complete
  }

  private var state = State.size
  /// Of the size line while it is read, and of its data afterwards.
  private var size: UInt64 = 0
  private var digits = 0
  private var lineLength = 0
  private var trailerLength = 0

  var isComplete: Bool { state == .complete }

  mutating func decode(
    _ bytes: Span<UInt8>, _ limits: Limits, _ data: (Range<Int>) -> Void
  ) throws(MessageError) -> Int {
    var index = 0
    while index < bytes.count, state != .complete {
      if state == .data {
        let taken = Int(min(size, UInt64(bytes.count - index)))
        data(index..<index + taken)
        index += taken
        size -= UInt64(taken)
        if size == 0 { state = .dataReturn }
        continue
      }
      let byte = bytes[index]
      index += 1
      switch state {
      case .size, .spaceBeforeExtension, .extension, .sizeEnd: try sizeLine(byte, limits)
      case .dataReturn, .dataEnd: try dataEnd(byte)
      case .trailer, .trailerName, .trailerValue, .trailerEnd, .lastEnd: try trailer(byte, limits)
      case .data, .complete: break
      }
    }
    return index
  }

  /// `1*HEXDIG *(BWS ";" …) CRLF`
  private mutating func sizeLine(_ byte: UInt8, _ limits: Limits) throws(MessageError) {
    lineLength += 1
    guard lineLength <= limits.chunkLine else { throw .chunkLineTooLong(limit: limits.chunkLine) }
    switch state {
    case .size:
      if let value = byte.hexValue {
        digits += 1
        guard digits <= 16, size >> 59 == 0 else { throw .invalidChunkSize }
        size = size << 4 | value
        return
      }
      guard digits > 0 else { throw .invalidChunkSize }
      switch byte {
      case carriageReturn: state = .sizeEnd
      case lineFeed: throw .bareLineFeed
      case 0x3B: state = .extension
      case space, tab: state = .spaceBeforeExtension
      default: throw .invalidChunkSize
      }
    case .spaceBeforeExtension:
      if byte == 0x3B { state = .extension } else if !byte.isBlank { throw .invalidChunkExtension }
    case .extension:
      switch byte {
      case carriageReturn: state = .sizeEnd
      case lineFeed: throw .bareLineFeed
      default: guard byte.isFieldContent else { throw .invalidChunkExtension }
      }
    default:
      guard byte == lineFeed else { throw .bareCarriageReturn }
      state = size == 0 ? .trailer : .data
    }
  }

  private mutating func dataEnd(_ byte: UInt8) throws(MessageError) {
    guard byte == (state == .dataReturn ? carriageReturn : lineFeed) else { throw .invalidChunkEnd }
    if state == .dataReturn {
      state = .dataEnd
    } else {
      state = .size
      (size, digits, lineLength) = (0, 0, 0)
    }
  }

  /// `*(field-line CRLF) CRLF`. Trailer fields are checked and passed over: nothing here relies on one.
  private mutating func trailer(_ byte: UInt8, _ limits: Limits) throws(MessageError) {
    trailerLength += 1
    guard trailerLength <= limits.trailers else { throw .trailersTooLarge(limit: limits.trailers) }
    switch state {
    case .trailer:
      switch byte {
      case carriageReturn: state = .lastEnd
      case lineFeed: throw .bareLineFeed
      case space, tab: throw .foldedField
      default:
        guard byte.isToken else { throw .invalidFieldName }
        state = .trailerName
      }
    case .trailerName:
      if byte == colon {
        state = .trailerValue
      } else if byte.isBlank {
        throw .spaceBeforeColon
      } else if !byte.isToken {
        throw .invalidFieldName
      }
    case .trailerValue:
      switch byte {
      case carriageReturn: state = .trailerEnd
      case lineFeed: throw .bareLineFeed
      default: guard byte.isFieldContent else { throw .invalidFieldValue }
      }
    default:
      guard byte == lineFeed else { throw .bareCarriageReturn }
      state = state == .lastEnd ? .complete : .trailer
    }
  }
}
