import CLinux

/// What of the root user's power this process needs, and has.
public struct Capabilities: OptionSet, Sendable, Hashable {
  public let rawValue: UInt64
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  // The numbers are capabilities(7)'s, from linux/capability.h.
  /// To listen below port 1024.
  public static let bindService = Capabilities(rawValue: 1 << 10)
  /// To add and remove addresses.
  public static let networkAdministration = Capabilities(rawValue: 1 << 12)
  /// To send and receive VRRP, and to announce addresses.
  public static let rawNetwork = Capabilities(rawValue: 1 << 13)
  /// To run the loop in real time. Without it everything works, only later under load.
  public static let scheduling = Capabilities(rawValue: 1 << 23)

  private static let names: [(Capabilities, String)] = [
    (.bindService, "CAP_NET_BIND_SERVICE"), (.networkAdministration, "CAP_NET_ADMIN"), (.rawNetwork, "CAP_NET_RAW"),
    (.scheduling, "CAP_SYS_NICE"),
  ]

  /// Those of the calling thread that are in effect.
  public static func current() throws(SystemError) -> Capabilities {
    var value: UInt64 = 0
    try SystemError.check("capget") { clinux_effective_capabilities(&value) }
    return Capabilities(rawValue: value)
  }

  /// What is missing of `needed` and what to do, in one line; nil where nothing is.
  public func complaint(needing needed: Capabilities) -> String? {
    let missing = Self.names.filter { needed.contains($0.0) && !contains($0.0) }.map(\.1)
    guard !missing.isEmpty else { return nil }
    let list = missing.joined(separator: " and ")
    return
      "this process lacks \(list): run as root, or add AmbientCapabilities=\(missing.joined(separator: " ")) to the systemd unit"
  }
}
