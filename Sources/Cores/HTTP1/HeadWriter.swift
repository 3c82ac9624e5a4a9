/// Writes the head of a message. What would break the message, or smuggle a second one into it, is refused.
public struct HeadWriter: Sendable {
  /// What was written so far; a whole head after `finish`.
  public private(set) var bytes: [UInt8] = []

  /// A request: `GET /path HTTP/1.1`.
  public init(method: String, target: String) throws(MessageError) {
    guard !method.isEmpty, method.utf8.allSatisfy({ $0.isToken }) else { throw .invalidMethod }
    guard !target.isEmpty, target.utf8.allSatisfy({ $0.isVisible }) else { throw .invalidTarget }
    bytes.reserveCapacity(256)
    append(method, " ", target, " HTTP/1.1\r\n")
  }

  /// An answer: `HTTP/1.1 200 OK`.
  public init(status: Int, reason: String? = nil) throws(MessageError) {
    let reason = reason ?? standardReason(of: status)
    guard (100...599).contains(status), reason.utf8.allSatisfy({ $0.isFieldContent }) else { throw .invalidStatusLine }
    bytes.reserveCapacity(256)
    append("HTTP/1.1 ", String(status), " ", reason, "\r\n")
  }

  public mutating func field(_ name: String, _ value: String) throws(MessageError) {
    guard !name.isEmpty, name.utf8.allSatisfy({ $0.isToken }) else { throw .invalidFieldName }
    guard value.utf8.allSatisfy({ $0.isFieldContent }) else { throw .invalidFieldValue }
    append(name, ": ", value, "\r\n")
  }

  /// The empty line.
  public mutating func finish() { append("\r\n") }

  private mutating func append(_ parts: String...) {
    for part in parts { bytes.append(contentsOf: part.utf8) }
  }
}

/// The reason phrase that RFC 9110 §15 gives a status; empty for one that it doesn't know.
public func standardReason(of status: Int) -> String {
  switch status {
  case 100: "Continue"
  case 101: "Switching Protocols"
  case 200: "OK"
  case 201: "Created"
  case 202: "Accepted"
  case 204: "No Content"
  case 206: "Partial Content"
  case 301: "Moved Permanently"
  case 302: "Found"
  case 303: "See Other"
  case 304: "Not Modified"
  case 307: "Temporary Redirect"
  case 308: "Permanent Redirect"
  case 400: "Bad Request"
  case 401: "Unauthorized"
  case 403: "Forbidden"
  case 404: "Not Found"
  case 405: "Method Not Allowed"
  case 406: "Not Acceptable"
  case 408: "Request Timeout"
  case 409: "Conflict"
  case 410: "Gone"
  case 411: "Length Required"
  case 412: "Precondition Failed"
  case 413: "Content Too Large"
  case 414: "URI Too Long"
  case 415: "Unsupported Media Type"
  case 417: "Expectation Failed"
  case 421: "Misdirected Request"
  case 422: "Unprocessable Content"
  case 426: "Upgrade Required"
  case 429: "Too Many Requests"
  case 431: "Request Header Fields Too Large"
  case 500: "Internal Server Error"
  case 501: "Not Implemented"
  case 502: "Bad Gateway"
  case 503: "Service Unavailable"
  case 504: "Gateway Timeout"
  case 505: "HTTP Version Not Supported"
  default: ""
  }
}
