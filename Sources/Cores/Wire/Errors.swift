/// Why bytes are not the packet that they should be. One case a rule, so that each can be counted.
public enum Malformed: UInt8, Error, Sendable, Hashable, CaseIterable {
  /// Fewer bytes than the fixed part of the header.
  case truncated
  /// Another version, hardware type, protocol type or address length than the codec's own.
  case kind
  /// A length field that contradicts itself or the bytes that are there.
  case length
  case checksum
  /// An IPv6 neighbour discovery message that crossed a router (RFC 4861 §7.1).
  case hopLimit
  /// An ICMPv6 code other than 0.
  case code
  /// A neighbour discovery option of length zero, or one that ends outside the message (RFC 4861 §4.6).
  case option
  /// An address that the message must not have in this place.
  case address
}
