/// What is wrong with a message. Each says so to a person, and names the status that a server answers it with.
public enum MessageError: Error, Sendable, Hashable {
  /// The head, with its last empty line, is longer than the limit in bytes.
  case headTooLarge(limit: Int)
  /// The request or status line is longer than the limit in bytes.
  case startLineTooLong(limit: Int)
  case tooManyFields(limit: Int)
  /// A line ends with LF alone. RFC 9112 §2.2 tolerates it; two parsers that differ about it can be played against each other.
  case bareLineFeed
  /// A CR that no LF follows (RFC 9112 §2.2).
  case bareCarriageReturn
  /// The request line is not `method SP target SP version` (RFC 9112 §3).
  case invalidRequestLine
  case invalidMethod
  /// None of the four forms, or not the one that the method asks for (RFC 9112 §3.2).
  case invalidTarget
  /// The status line is not `version SP three digits [SP reason]` (RFC 9112 §4).
  case invalidStatusLine
  /// Not HTTP/1.x.
  case unsupportedVersion
  /// A field name with a byte that no token has, or with none at all (RFC 9110 §5.1).
  case invalidFieldName
  /// RFC 9112 §5.1: between a field name and its colon there is nothing.
  case spaceBeforeColon
  /// A control byte in a field value (RFC 9110 §5.5).
  case invalidFieldValue
  /// A field value went on in the next line (RFC 9112 §5.2).
  case foldedField
  /// An HTTP/1.1 request without `Host` (RFC 9112 §3.2).
  case missingHost
  case repeatedHost
  case invalidHost
  /// `Content-Length` is not one decimal number below 2⁶³ (RFC 9112 §6.3).
  case invalidContentLength
  /// More than one `Content-Length`, be they equal or not.
  case repeatedContentLength
  /// `Transfer-Encoding` and `Content-Length` in one message: an attempt at smuggling (RFC 9112 §6.1).
  case lengthAndTransferEncoding
  /// `Transfer-Encoding` in an HTTP/1.0 message (RFC 9112 §6.1), or in an answer that has no body.
  case unexpectedTransferEncoding
  /// A transfer coding other than `chunked`, once.
  case unsupportedTransferEncoding
  /// Not one to sixteen hexadecimal digits that make a number below 2⁶³.
  case invalidChunkSize
  case invalidChunkExtension
  /// The size line of a chunk is longer than the limit in bytes.
  case chunkLineTooLong(limit: Int)
  /// The data of a chunk is not followed by CR LF.
  case invalidChunkEnd
  /// The trailer section is longer than the limit in bytes.
  case trailersTooLarge(limit: Int)
  /// The connection ended inside the message.
  case truncated
}

extension MessageError {
  /// The status of the answer to a request that is wrong in this way.
  public var status: Int {
    switch self {
    case .headTooLarge, .tooManyFields, .trailersTooLarge: 431
    case .startLineTooLong: 414
    case .unsupportedVersion: 505
    case .unsupportedTransferEncoding: 501
    default: 400
    }
  }
}

extension MessageError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .headTooLarge(let limit): "the head is longer than \(limit) bytes"
    case .startLineTooLong(let limit): "the first line is longer than \(limit) bytes"
    case .tooManyFields(let limit): "there are more than \(limit) header fields"
    case .bareLineFeed: "a line ends with LF instead of CR LF"
    case .bareCarriageReturn: "a CR is not followed by LF"
    case .invalidRequestLine: "the request line is not: method, target, version"
    case .invalidMethod: "the method has a byte that is not allowed in it"
    case .invalidTarget: "the request target is not valid"
    case .invalidStatusLine: "the status line is not: version, status, reason"
    case .unsupportedVersion: "the version is not HTTP/1.0 or HTTP/1.1"
    case .invalidFieldName: "a header field has no valid name"
    case .spaceBeforeColon: "there is a space between a header field's name and its colon"
    case .invalidFieldValue: "a header field's value has a control byte"
    case .foldedField: "a header field goes on in a second line"
    case .missingHost: "the Host field is missing"
    case .repeatedHost: "there is more than one Host field"
    case .invalidHost: "the Host field is not valid"
    case .invalidContentLength: "Content-Length is not a number"
    case .repeatedContentLength: "there is more than one Content-Length"
    case .lengthAndTransferEncoding: "there are both Content-Length and Transfer-Encoding"
    case .unexpectedTransferEncoding: "there is a Transfer-Encoding where none may be"
    case .unsupportedTransferEncoding: "the Transfer-Encoding is not: chunked"
    case .invalidChunkSize: "the size of a chunk is not a hexadecimal number"
    case .invalidChunkExtension: "the extension of a chunk is not valid"
    case .chunkLineTooLong(let limit): "the size line of a chunk is longer than \(limit) bytes"
    case .invalidChunkEnd: "a chunk does not end where its size says"
    case .trailersTooLarge(let limit): "the trailer section is longer than \(limit) bytes"
    case .truncated: "the connection ended inside the message"
    }
  }
}

/// How much of a message is accepted.
public struct Limits: Sendable, Hashable {
  /// The whole head in bytes, its last empty line included.
  public var head: Int
  /// The request or status line in bytes, its CR LF included.
  public var startLine: Int
  public var fields: Int
  /// The size line of a chunk in bytes, its CR LF included.
  public var chunkLine: Int
  /// All trailer fields of a chunked body in bytes.
  public var trailers: Int

  public init(
    head: Int = 16 * 1024, startLine: Int = 8 * 1024, fields: Int = 100, chunkLine: Int = 256, trailers: Int = 8 * 1024
  ) {
    self.head = head
    self.startLine = startLine
    self.fields = fields
    self.chunkLine = chunkLine
    self.trailers = trailers
  }
}
