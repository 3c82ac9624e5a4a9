import Basis

/// One unit of what the nodes send each other inside TLS.
///
///      4 bytes   how many follow, at most `PeerFrame.longest`
///      1 byte    version of this framing, 1
///      1 byte    kind
///      …         by kind; what is behind the fields that are known is skipped
///
/// So a newer node can add fields at the end, and kinds, and an older one goes on.
public enum PeerFrame: Sendable, Hashable {
  case hello(Hello)
  /// Is answered by a `pong` with the same number.
  case ping(UInt64)
  /// `wall`: the sender's time of day, in nanoseconds since 1970; nil from a node of a version that doesn't say it.
  case pong(UInt64, wall: Int64? = nil)
  case message(PeerMessage)
  /// Of a kind, a version or with a value that this software doesn't know. To be skipped.
  case unknown(kind: UInt8)

  static let version: UInt8 = 1
  /// Of a frame, without its length, in bytes. 1,024 VIPs with the longest names take a quarter of it.
  public static let longest = 256 * 1024
  static let lengthOfLength = 4

  enum Kind: UInt8 {
    case hello = 1
    case ping = 2
    case pong = 3
    case vips = 16
    case successor = 17
    case prepare = 18
    case ready = 19
    case refused = 20
    case moved = 21
    case taken = 22
    case moveRequest = 23
    case moveEnded = 24
    case leave = 25
  }
}

/// What came is no frame. The link has to be closed: nobody knows where the next one begins.
public enum PeeringError: Error, Sendable, Hashable {
  /// Announced with so many bytes.
  case tooLong(Int)
  /// Too short for its version and kind.
  case tooShort(Int)
  /// Ends before the fields of its kind do.
  case truncated(kind: UInt8)
  /// A text that is not UTF-8, or longer than it may be.
  case text(kind: UInt8)
  /// A list with more elements than there may be.
  case tooMany(kind: UInt8, Int)
}

extension PeeringError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .tooLong(let length): "a frame of \(length) bytes, at most \(PeerFrame.longest) are allowed"
    case .tooShort(let length): "a frame of \(length) bytes"
    case .truncated(let kind): "a frame of kind \(kind) that ends early"
    case .text(let kind): "a frame of kind \(kind) with a text that is too long, or none"
    case .tooMany(let kind, let count): "a frame of kind \(kind) with \(count) elements"
    }
  }
}

/// Finds the frames in a stream of bytes. It never holds more than one frame and one piece.
public struct PeerFrameReader: Sendable {
  private var bytes: [UInt8] = []
  /// What of `bytes` has been read.
  private var position = 0

  public init() {}

  /// Bytes that wait for the rest of their frame.
  public var waiting: Int { bytes.count - position }

  public mutating func append(_ piece: some Collection<UInt8>) {
    if position == bytes.count {
      bytes.removeAll(keepingCapacity: bytes.capacity <= 64 * 1024)
      position = 0
    } else if position > PeerFrame.longest {
      bytes.removeFirst(position)
      position = 0
    }
    bytes.append(contentsOf: piece)
  }

  /// The next frame; nil until more bytes are there.
  public mutating func next() throws(PeeringError) -> PeerFrame? {
    guard waiting >= PeerFrame.lengthOfLength else { return nil }
    var length = 0
    for offset in 0..<PeerFrame.lengthOfLength { length = length << 8 | Int(bytes[position + offset]) }
    guard length <= PeerFrame.longest else { throw .tooLong(length) }
    guard length >= 2 else { throw .tooShort(length) }
    guard waiting >= PeerFrame.lengthOfLength + length else { return nil }
    let start = position + PeerFrame.lengthOfLength
    position = start + length
    return try PeerFrame(bytes[start..<position])
  }
}
