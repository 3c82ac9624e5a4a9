import Linux
import Wire

/// Why the proxy could not start. The description is one line for a person: what, where, and what to do.
public enum ProxyError: Error, Sendable, Equatable, CustomStringConvertible {
  case invalid(service: String, reason: String)
  case portInUse(service: String, address: IPAddress, port: UInt16)
  case notPermitted(service: String, address: IPAddress, port: UInt16)
  /// Any other failure to listen. `step` is the system call, `code` its errno.
  case cannotListen(service: String, address: IPAddress, port: UInt16, step: String, code: Int32)
  /// Memory, threads or descriptors that the machine did not give. `code` is an errno.
  case outOf(String, code: Int32)

  public var description: String {
    switch self {
    case .invalid(let service, let reason):
      "service \(service): \(reason)"
    case .portInUse(let service, let address, let port):
      "service \(service): \(place(address, port)) is in use by another program; "
        + "find it with: ss -ltnp 'sport = :\(port)'"
    case .notPermitted(let service, let address, let port):
      "service \(service): not allowed to listen on \(place(address, port)); "
        + "run as root or grant CAP_NET_BIND_SERVICE"
    case .cannotListen(let service, let address, let port, let step, let code):
      "service \(service): cannot listen on \(place(address, port)): \(step): \(SystemError.message(code))"
    case .outOf(let what, let code):
      "the proxy got no \(what) from the machine: \(SystemError.message(code))"
    }
  }
}

private func place(_ address: IPAddress, _ port: UInt16) -> String {
  switch address {
  case .v4: "\(address):\(port)"
  case .v6: "[\(address)]:\(port)"
  }
}
