import CLinux
import FoundationEssentials
import Glibc
import Linux
import Wire

/// The lab's own small programs, each a process inside a namespace: `roost lab-helper ROLE SPECIFICATION`, where the
/// specification is a file with JSON.
public enum LabHelper {
  public static func main(_ arguments: [String]) -> Int32 {
    guard arguments.count == 2 else {
      complain("this is a part of the lab: usage: lab-helper serve|probe|rogue|churn|hog FILE")
      return 2
    }
    SignalReader.ignoreBrokenPipes()
    do {
      if arguments[0] == "hog" {
        try Nuisance.hog()
        return 0
      }
      let data = try Data(contentsOf: URL(filePath: arguments[1]))
      switch arguments[0] {
      case "serve": try EchoServer(JSONDecoder().decode(ServeSpecification.self, from: data)).run()
      case "probe": try ClientProbe.run(JSONDecoder().decode(ProbeSpecification.self, from: data))
      case "rogue": try Nuisance.run(JSONDecoder().decode(Nuisance.Rogue.self, from: data))
      case "churn": try Nuisance.run(JSONDecoder().decode(Nuisance.Churn.self, from: data))
      default:
        complain("lab-helper knows no role \(arguments[0])")
        return 2
      }
      return 0
    } catch {
      complain("lab-helper \(arguments[0]): \(error)")
      return 1
    }
  }

  private static func complain(_ text: String) { writeAll(2, Array("\(text)\n".utf8)) }
}

/// An address and port of either family, as text for the JSON of specifications.
struct Endpoint: Sendable, Hashable, Codable {
  var address: String
  var port: UInt16

  init(_ address: IPAddress, _ port: UInt16) { self.init(address: address.description, port: port) }

  init(address: String, port: UInt16) {
    self.address = address
    self.port = port
  }
}

/// What a serving helper answers with, and where.
struct ServeSpecification: Sendable, Hashable, Codable {
  /// `hello from NAME`; UDP answers end with it too.
  var name: String
  var tcp: [Endpoint]
  var udp: [Endpoint]
  /// What a health check looks for in a body.
  var healthText: [String]
}

/// What the prober sends, and whereto.
struct ProbeSpecification: Sendable, Hashable, Codable {
  /// Answered by the owner itself.
  var datagrams: Endpoint
  /// Connects, requests and long-lived connections go through this service; nil: none are made.
  var service: Endpoint?
  var connections: Int
  /// The client's own addresses, from which the long-lived connections come in turn; empty: as the kernel chooses.
  var sources: [String] = []
  /// Names that datagrams are answered with; a sample carries the place in this list.
  var nodes: [String]
  /// Where the samples go.
  var output: String
}

extension Endpoint {
  /// Calls the body with the address as the socket functions want it.
  func withSocketAddress<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t, Int32) -> Result) -> Result? {
    switch IPAddress(address) {
    case .v4(let v4):
      var socketAddress = sockaddr_in()
      socketAddress.sin_family = sa_family_t(AF_INET)
      socketAddress.sin_port = port.bigEndian
      socketAddress.sin_addr.s_addr = v4.rawValue.bigEndian
      return withUnsafePointer(to: &socketAddress) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          body($0, socklen_t(MemoryLayout<sockaddr_in>.size), AF_INET)
        }
      }
    case .v6(let v6):
      var socketAddress = sockaddr_in6()
      socketAddress.sin6_family = sa_family_t(AF_INET6)
      socketAddress.sin6_port = port.bigEndian
      withUnsafeMutableBytes(of: &socketAddress.sin6_addr) {
        $0.storeBytes(of: v6.rawValue.bigEndian, as: UInt128.self)
      }
      return withUnsafePointer(to: &socketAddress) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          body($0, socklen_t(MemoryLayout<sockaddr_in6>.size), AF_INET6)
        }
      }
    case nil: return nil
    }
  }

  /// A non-blocking socket that is bound to the endpoint, whether this host holds the address or not.
  func bound(_ type: __socket_type) throws(LabError) -> Int32 {
    let outcome = withSocketAddress { address, length, family -> Int32 in
      let descriptor = socket(family, Int32(type.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
      guard descriptor >= 0 else { return -errno }
      var on: Int32 = 1
      setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
      _ = clinux_lab_freebind(descriptor, family)
      guard bind(descriptor, address, length) == 0, type != SOCK_STREAM || listen(descriptor, 4096) == 0 else {
        let failure = -errno
        close(descriptor)
        return failure
      }
      return descriptor
    }
    guard let descriptor = outcome else { throw LabError(.usage, "\(address) is no address") }
    guard descriptor >= 0 else { throw .system("binding \(address) port \(port)", descriptor) }
    return descriptor
  }

  /// A non-blocking socket on its way to the endpoint; a negative errno where it fails at once.
  ///
  /// - Parameter source: the address that it comes from; nil: as the kernel chooses.
  func connecting(_ type: __socket_type, from source: Endpoint? = nil) -> Int32 {
    withSocketAddress { address, length, family -> Int32 in
      let descriptor = socket(family, Int32(type.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
      guard descriptor >= 0 else { return -errno }
      if type == SOCK_STREAM {
        var on: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
      }
      if let source {
        // The port is chosen with the destination known, so that each pair of addresses has all ports to itself.
        _ = clinux_lab_bind_address_no_port(descriptor)
        let bound = source.withSocketAddress { address, length, _ in bind(descriptor, address, length) }
        guard bound == 0 else {
          let failure = -errno
          close(descriptor)
          return failure
        }
      }
      guard connect(descriptor, address, length) == 0 || errno == EINPROGRESS else {
        let failure = -errno
        close(descriptor)
        return failure
      }
      return descriptor
    } ?? -EINVAL
  }
}
