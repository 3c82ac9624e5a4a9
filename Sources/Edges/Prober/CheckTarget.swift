import Wire

/// What is asked of a backend, and what must be answered.
public enum CheckSpecification: Sendable, Hashable {
  /// It accepts a connection.
  case tcp
  /// It answers `GET path` with one of these statuses, and with this text in the first 64 KiB of the body.
  /// - Parameter host: for the Host field; nil: the address, and the port unless that is 80.
  case http(path: String, host: String?, statuses: [ClosedRange<Int>], contains: String?)
}

/// One check: where, what, and for how long. Address and port may differ from those of the traffic.
public struct CheckTarget: Sendable, Hashable {
  public var address: IPAddress
  public var port: UInt16
  public var check: CheckSpecification
  /// From the first packet to the verdict.
  public var timeout: Duration

  public init(address: IPAddress, port: UInt16, check: CheckSpecification, timeout: Duration = .seconds(1)) {
    self.address = address
    self.port = port
    self.check = check
    self.timeout = timeout
  }

  /// How much of a body is looked at, in bytes.
  public static let bodyLimit = 64 * 1024
}
