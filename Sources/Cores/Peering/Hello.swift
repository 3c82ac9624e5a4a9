import Basis

/// The first thing that each side of a peer link says.
public struct Hello: Sendable, Hashable {
  /// The node's name; it must be the one in its certificate.
  public var node: String
  /// The version of its software, for people.
  public var software: String
  /// The protocols it speaks, `lowest...highest`. The highest in common is spoken.
  public var protocols: ClosedRange<UInt8>
  /// `Configuration.hash`: two nodes with the same text have the same configuration.
  public var configuration: String
  /// Another one for each start of the process, so that a restart between two heartbeats is seen.
  public var life: UInt64
  /// The numbers of the keys with which it verifies adverts. While keys are changed, an advert is signed with one that everybody knows.
  public var advertKeys: [UInt8]

  /// What this software speaks.
  public static let spoken: ClosedRange<UInt8> = 1...1

  public init(
    node: String, software: String, protocols: ClosedRange<UInt8> = Hello.spoken, configuration: String, life: UInt64,
    advertKeys: [UInt8] = []
  ) {
    self.node = node
    self.software = software
    self.protocols = protocols
    self.configuration = configuration
    self.life = life
    self.advertKeys = advertKeys
  }

  /// The protocol that both speak; nil where there is none.
  public func common(with other: ClosedRange<UInt8>) -> UInt8? {
    let highest = min(protocols.upperBound, other.upperBound)
    return protocols.contains(highest) && other.contains(highest) ? highest : nil
  }
}
