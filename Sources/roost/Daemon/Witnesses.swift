import Basis
import CLinux
import Glibc
import Linux
import Wire

/// Asks the cluster's witnesses, hosts that should answer whenever this node's link works, by an ICMP echo (RFC 792, RFC 4443 §4.1).
///
/// It belongs to the loop: sending never waits, and answers come through the reactor. The kernel fills in what ICMPv6 needs for its checksum.
final class Witnesses {
  var addresses: [IPAddress]

  private let reactor: Reactor
  private let answered: (_ vip: Int, _ round: UInt64) -> Void
  private var sockets: [AddressFamily: Socket] = [:]
  /// Tells our echoes from another program's.
  private let token = UInt32.random(in: 0 ... .max)
  private var buffer = [UInt8](repeating: 0, count: 2048)

  init(_ addresses: [IPAddress], _ reactor: Reactor, answered: @escaping (Int, UInt64) -> Void) {
    self.addresses = addresses
    self.reactor = reactor
    self.answered = answered
  }

  /// One echo request to each. A witness that can't be asked has not answered.
  func ask(vip: Int, round: UInt64) {
    for address in addresses {
      guard let descriptor = socket(address.family) else { continue }
      let message = request(address.family, vip: vip, round: round)
      var endpoint = clinux_endpoint()
      switch address {
      case .v4(let v4): clinux_endpoint_v4(&endpoint, v4.rawValue, 0)
      case .v6(let v6):
        clinux_endpoint_v6(
          &endpoint, UInt64(truncatingIfNeeded: v6.rawValue >> 64), UInt64(truncatingIfNeeded: v6.rawValue), 0)
      }
      let size = clinux_endpoint_size(&endpoint)
      _ = withUnsafeBytes(of: &endpoint) { target in
        sendto(
          descriptor, message, message.count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL),
          target.baseAddress?.assumingMemoryBound(to: sockaddr.self), size)
      }
    }
  }

  /// Type, code, checksum, identifier and sequence (unused), then what we know it by.
  private func request(_ family: AddressFamily, vip: Int, round: UInt64) -> [UInt8] {
    var message: [UInt8] = [family == .ipv4 ? 8 : 128, 0, 0, 0, 0, 0, 0, 0]
    for shift in stride(from: 24, through: 0, by: -8) {
      message.append(UInt8(truncatingIfNeeded: token >> UInt32(shift)))
    }
    for shift in stride(from: 24, through: 0, by: -8) { message.append(UInt8(truncatingIfNeeded: vip >> shift)) }
    for shift in stride(from: 56, through: 0, by: -8) {
      message.append(UInt8(truncatingIfNeeded: round >> UInt64(shift)))
    }
    if family == .ipv4 {
      var checksum = Checksum()
      checksum.add(message)
      let sum = checksum.value
      message[2] = UInt8(truncatingIfNeeded: sum >> 8)
      message[3] = UInt8(truncatingIfNeeded: sum)
    }
    return message
  }

  /// A place for the descriptor, which can't be copied.
  private final class Socket {
    let descriptor: Descriptor
    init(_ descriptor: consuming Descriptor) { self.descriptor = descriptor }
  }

  private func socket(_ family: AddressFamily) -> Int32? {
    if let known = sockets[family] { return known.descriptor.rawValue }
    do throws(SystemError) {
      let descriptor = try Descriptor.socket(
        family == .ipv4 ? AF_INET : AF_INET6, SOCK_RAW, protocol: family == .ipv4 ? 1 : 58, about: "ICMP")
      let box = Socket(descriptor)
      try reactor.register(box.descriptor.rawValue, .readable) { [unowned self] _ in
        drain(family, box.descriptor.rawValue)
      }
      sockets[family] = box
      return box.descriptor.rawValue
    } catch {
      return nil
    }
  }

  private func drain(_ family: AddressFamily, _ descriptor: Int32) {
    while true {
      let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
      guard count >= 0 else { return }
      // A raw IPv4 socket leaves the IP header in front.
      let start = family == .ipv4 && count > 0 ? Int(buffer[0] & 15) * 4 : 0
      guard count >= start + 24, buffer[start] == (family == .ipv4 ? 0 : 129) else { continue }
      func number(_ offset: Int, _ length: Int) -> UInt64 {
        buffer[(start + offset)..<(start + offset + length)].reduce(0) { $0 << 8 | UInt64($1) }
      }
      guard number(8, 4) == UInt64(token) else { continue }
      answered(Int(number(12, 4)), number(16, 8))
    }
  }
}
