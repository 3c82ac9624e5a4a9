import Basis
import Node

extension Configuration {
  /// Who is told when something happens on this node, and how. Each is told of everything in order.
  public struct Notification: Sendable, Hashable {
    public var name: String
    public var action: Action
    /// Of what it is told; empty: of everything.
    public var kinds: [Occurrence.Kind]
    /// How long one attempt may take.
    public var timeout: Duration

    public init(name: String, action: Action, kinds: [Occurrence.Kind] = [], timeout: Duration = .seconds(10)) {
      self.name = name
      self.action = action
      self.kinds = kinds
      self.timeout = timeout
    }

    public enum Action: Sendable, Hashable {
      /// The program's absolute path and its arguments; it reads one JSON object from its standard input.
      case command([String])
      /// A POST of one JSON object. `authorization`: a file with the value of the Authorization header.
      case webhook(WebAddress, authorization: String?)
    }
  }

  /// An http or https URL, taken apart.
  public struct WebAddress: Sendable, Hashable, CustomStringConvertible {
    public var isSecure: Bool
    /// A name or an address, without brackets.
    public var host: String
    public var port: UInt16
    /// Path and query, beginning with a slash; visible ASCII.
    public var target: String

    public init(isSecure: Bool = false, host: String, port: UInt16, target: String = "/") {
      self.isSecure = isSecure
      self.host = host
      self.port = port
      self.target = target
    }

    public var description: String {
      let standard: UInt16 = isSecure ? 443 : 80
      return "\(isSecure ? "https" : "http")://\(authority)\(port == standard ? "" : ":\(port)")\(target)"
    }

    /// The host as a URL has it: an IPv6 address in brackets.
    public var authority: String { host.contains(":") ? "[\(host)]" : host }
  }
}

extension Configuration.WebAddress {
  /// Reads `http://HOST[:PORT][/PATH]` and the same with https; user names and fragments are refused.
  public init?(_ text: String) {
    guard text.utf8.count <= 2048, text.utf8.allSatisfy({ 33...126 ~= $0 }) else { return nil }
    let rest: Substring
    if text.hasPrefix("http://") {
      (isSecure, rest) = (false, text.dropFirst(7))
    } else if text.hasPrefix("https://") {
      (isSecure, rest) = (true, text.dropFirst(8))
    } else {
      return nil
    }
    let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
    var authority = rest[..<end]
    target = rest[end...].hasPrefix("/") ? String(rest[end...]) : "/" + rest[end...]
    guard !authority.contains("@"), !rest.contains("#") else { return nil }
    port = isSecure ? 443 : 80
    let ending = authority.hasPrefix("[") ? authority.lastIndex(of: "]").map(authority.index(after:)) : nil
    if let colon = authority[(ending ?? authority.startIndex)...].firstIndex(of: ":") {
      guard let number = portNumber(authority[authority.index(after: colon)...]) else { return nil }
      port = number
      authority = authority[..<colon]
    }
    if ending != nil {
      guard authority.hasSuffix("]") else { return nil }
      authority = authority.dropFirst().dropLast()
      guard ScalarKind.isIPv6(authority) else { return nil }
    } else {
      guard ScalarKind.isHostName(authority) else { return nil }
    }
    host = String(authority)
  }
}
