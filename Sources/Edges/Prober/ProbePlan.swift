import CLinux
import HTTP1
import Wire

/// A target, with everything made ready that is the same for each of its probes.
struct ProbePlan {
  let target: CheckTarget
  let endpoint: clinux_endpoint
  /// The bytes of the request; none for TCP.
  let request: [UInt8]
  /// Why there can be no probe.
  let mistake: String?

  init(_ target: CheckTarget) {
    self.target = target
    var endpoint = clinux_endpoint()
    switch target.address {
    case .v4(let address): clinux_endpoint_v4(&endpoint, address.rawValue, target.port)
    case .v6(let address):
      let (high, low) = (
        UInt64(truncatingIfNeeded: address.rawValue >> 64), UInt64(truncatingIfNeeded: address.rawValue)
      )
      clinux_endpoint_v6(&endpoint, high, low, target.port)
    }
    self.endpoint = endpoint
    guard case .http(let path, let host, _, _) = target.check else {
      (request, mistake) = ([], nil)
      return
    }
    do throws(MessageError) {
      var writer = try HeadWriter(method: "GET", target: path)
      try writer.field("Host", host ?? ProbePlan.host(target))
      try writer.field("User-Agent", "roost")
      try writer.field("Accept", "*/*")
      try writer.field("Connection", "close")
      writer.finish()
      (request, mistake) = (writer.bytes, nil)
    } catch {
      (request, mistake) = ([], "the request of this check cannot be sent: \(error)")
    }
  }

  /// AF_INET or AF_INET6.
  var family: Int32 { withUnsafePointer(to: endpoint) { clinux_endpoint_family($0) } }

  private static func host(_ target: CheckTarget) -> String {
    let address = target.address.family == .ipv6 ? "[\(target.address)]" : "\(target.address)"
    return target.port == 80 ? address : "\(address):\(target.port)"
  }
}
