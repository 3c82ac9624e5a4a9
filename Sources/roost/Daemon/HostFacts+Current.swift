import Configuration
import Glibc
import Linux
import Wire

extension HostFacts {
  /// This machine, in the current network namespace. The cluster's VIPs are nobody's own addresses and are left out.
  static func current(node: String?, vips: Set<IPAddress>) throws(SystemError) -> HostFacts {
    let states = try InterfaceState.all(excluding: vips)
    var name = [CChar](repeating: 0, count: 256)
    gethostname(&name, name.count - 1)
    let host = name.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    let interfaces = states.filter { !$0.isLoopback }.map { state in
      Interface(
        name: state.name, addresses: state.addresses.map { Address($0.address, prefixLength: $0.prefixLength) },
        hasIPv6: hasIPv6(state.name))
    }
    return HostFacts(
      node: node, hostName: host.split(separator: ".").first.map(String.init) ?? host, interfaces: interfaces)
  }

  private static func hasIPv6(_ interface: String) -> Bool {
    let file = open("/proc/sys/net/ipv6/conf/\(interface)/disable_ipv6", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return false }
    defer { close(file) }
    var digit: UInt8 = 0
    return read(file, &digit, 1) == 1 && digit == UInt8(ascii: "0")
  }
}
