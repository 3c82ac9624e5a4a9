import Configuration
import Glibc
import Linux
import Wire

extension HostFacts {
  /// This machine, in the current network namespace. The cluster's VIPs are nobody's own addresses: they are left
  /// out, and those that another program put there, with a subnet, are named apart.
  static func current(node: String?, vips: Set<IPAddress>) throws(SystemError) -> HostFacts {
    let states = try InterfaceState.all().filter { !$0.isLoopback }
    var name = [CChar](repeating: 0, count: 256)
    gethostname(&name, name.count - 1)
    let host = name.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    let interfaces = states.map { state in
      Interface(
        name: state.name,
        addresses: state.addresses.filter { !vips.contains($0.address) }.map {
          Address($0.address, prefixLength: $0.prefixLength)
        },
        hasIPv6: hasIPv6(state.name))
    }
    let foreign = states.flatMap { state in
      state.addresses.filter { vips.contains($0.address) && $0.prefixLength < ($0.address.family == .ipv4 ? 32 : 128) }
        .map {
          ForeignVIP(interface: state.name, address: $0.address, prefixLength: $0.prefixLength)
        }
    }
    return HostFacts(
      node: node, hostName: host.split(separator: ".").first.map(String.init) ?? host, interfaces: interfaces,
      foreignVIPs: foreign)
  }

  private static func hasIPv6(_ interface: String) -> Bool {
    let file = open("/proc/sys/net/ipv6/conf/\(interface)/disable_ipv6", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return false }
    defer { close(file) }
    var digit: UInt8 = 0
    return read(file, &digit, 1) == 1 && digit == UInt8(ascii: "0")
  }
}
