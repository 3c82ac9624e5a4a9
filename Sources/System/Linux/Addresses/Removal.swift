import Wire

/// Something of Roost's on this host that was removed, in words for people.
public enum Removal: Sendable, Hashable, CustomStringConvertible {
  case address(IPAddress, interface: String)
  /// A device with a virtual MAC.
  case device(String)
  /// A table of the firewall.
  case table(String)
  /// A setting of an interface, given back the value that it had.
  case setting(String, value: String)

  public var description: String {
    switch self {
    case .address(let address, let interface): "address \(address) from \(interface)"
    case .device(let name): "device \(name)"
    case .table(let name): "firewall table \(name)"
    case .setting(let name, let value): "\(name) (back to \(value))"
    }
  }
}
