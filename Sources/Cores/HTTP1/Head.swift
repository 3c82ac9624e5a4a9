/// Where a header field lies in the bytes of its head.
public struct Field: Sendable, Hashable {
  private var nameStart: UInt32
  private var nameEnd: UInt32
  private var valueStart: UInt32
  private var valueEnd: UInt32

  public var name: Range<Int> { Int(nameStart)..<Int(nameEnd) }
  /// Without the spaces around it.
  public var value: Range<Int> { Int(valueStart)..<Int(valueEnd) }

  init(name: Range<Int>, value: Range<Int>) {
    nameStart = UInt32(truncatingIfNeeded: name.lowerBound)
    nameEnd = UInt32(truncatingIfNeeded: name.upperBound)
    valueStart = UInt32(truncatingIfNeeded: value.lowerBound)
    valueEnd = UInt32(truncatingIfNeeded: value.upperBound)
  }
}

/// How the end of a body is known (RFC 9112 §6.3).
public enum Framing: Sendable, Hashable {
  case none
  /// In bytes; never 0.
  case length(UInt64)
  case chunked
  /// Only an answer's body may end with its connection.
  case untilClose
}

/// A request's head. It holds no bytes: every range is one of the bytes that it was read from.
public struct RequestHead: Sendable, Hashable {
  public let method: Range<Int>
  public let target: Range<Int>
  /// The n of HTTP/1.n.
  public let minorVersion: Int
  public let fields: [Field]
  public let framing: Framing
  /// Whether the connection may carry another request afterwards (RFC 9112 §9.3).
  public let keepsAlive: Bool
  /// Whether the client waits for `100 Continue` before it sends the body (RFC 9110 §10.1.1).
  public let expectsContinue: Bool
  /// The bytes of the head: the body starts here.
  public let length: Int
}

/// An answer's head. It holds no bytes: every range is one of the bytes that it was read from.
public struct ResponseHead: Sendable, Hashable {
  /// 100 to 599.
  public let status: Int
  public let reason: Range<Int>
  public let minorVersion: Int
  public let fields: [Field]
  /// Whether the connection may carry another answer afterwards, as far as the fields say; never if the framing is `untilClose`.
  public let keepsAlive: Bool
  /// The bytes of the head: the body starts here.
  public let length: Int
  let declared: Framing

  /// How the body of this answer ends. That hangs on the request too (RFC 9112 §6.3).
  public func framing(answeringHead: Bool = false) -> Framing {
    if answeringHead || status < 200 || status == 204 || status == 304 { return .none }
    return declared
  }
}

extension RequestHead {
  /// The value of the first field of that name.
  public func value(of name: StaticString, in bytes: Span<UInt8>) -> Range<Int>? {
    fields.first(named: name, in: bytes)?.value
  }
}

extension ResponseHead {
  /// The value of the first field of that name.
  public func value(of name: StaticString, in bytes: Span<UInt8>) -> Range<Int>? {
    fields.first(named: name, in: bytes)?.value
  }
}

extension [Field] {
  /// The first field of that name, which is compared without case.
  public func first(named name: StaticString, in bytes: Span<UInt8>) -> Field? {
    for field in self where bytes.equalsIgnoringCase(field.name, name) { return field }
    return nil
  }
}
