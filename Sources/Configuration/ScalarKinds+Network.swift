import Wire

// Addresses, endpoints and ports. The schema only looks at the characters: what an address is needs more than a pattern.

extension ScalarKind {
  /// A host address that can be a VIP.
  static let vipAddress = address(such: "10.0.0.100", needs: .canBeVIP)

  /// A host address that other machines can reach.
  static let hostAddress = address(such: "10.0.0.11", needs: .isHost)

  enum AddressNeed: Sendable { case canBeVIP, isHost }

  private static let addressSchema: [(String, JSON)] = [
    ("type", .string("string")), ("pattern", .string("^[0-9A-Fa-f:.]+$")),
  ]

  private static func address(such example: String, needs need: AddressNeed) -> ScalarKind {
    let expected = "an address such as \(example)"
    return ScalarKind(expected: expected, schema: addressSchema) { text in
      guard let address = IPAddress(text) else {
        if let slash = text.firstIndex(of: "/"), IPAddress(String(text[..<slash])) != nil {
          return Problem(
            "\(quoted(text)) has a prefix length: a host address is one address", "write \(text[..<slash])")
        }
        if let zone = text.firstIndex(of: "%"), IPAddress(String(text[..<zone])) != nil {
          return Problem("\(quoted(text)) names an interface: it has a key of its own", "write \(text[..<zone])")
        }
        return Problem("expected \(expected), found \(quoted(text))", addressSuggestion(text))
      }
      return addressProblem(address, need)
    }
  }

  private static func addressSuggestion(_ text: String) -> String? {
    if let endpoint = Endpoint(text), endpoint.port != nil { return "write it without the port: \(endpoint.address)" }
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 4, parts.allSatisfy({ part in part.allSatisfy { $0.isASCII && $0.isNumber } }) else {
      return text.contains { $0.isLetter && !$0.isHexDigit } ? "names are not looked up: write the address" : nil
    }
    if parts.contains(where: { $0.count > 1 && $0.first == "0" }) { return "write its numbers without leading zeros" }
    return "each of its four numbers is from 0 to 255"
  }

  /// Addresses that no machine can have, or none beyond this one.
  private static func addressProblem(_ address: IPAddress, _ need: AddressNeed) -> Problem? {
    let kind: String? =
      switch address {
      case .v4(let v4):
        switch v4.rawValue >> 24 {
        case 0: "means this network, and is no host"
        case 224...239: "is a multicast address"
        case 240...255: "is reserved"
        case 127 where need == .canBeVIP: "is a loopback address, which never leaves the machine"
        default: nil
        }
      case .v6(let v6):
        if v6.rawValue == 0 {
          "is the unspecified address"
        } else if v6.rawValue >> 120 == 0xFF {
          "is a multicast address"
        } else if v6.rawValue == 1, need == .canBeVIP {
          "is the loopback address, which never leaves the machine"
        } else if v6.rawValue >> 32 == 0xFFFF {
          "is an IPv4 address in IPv6 form"
        } else if v6.isLinkLocal, need == .isHost {
          "is a link-local address, which means nothing without an interface"
        } else {
          nil
        }
      }
    guard let kind else { return nil }
    if case .v6(let v6) = address, v6.rawValue >> 32 == 0xFFFF {
      return Problem("\(address) \(kind)", "write \(IPv4Address(rawValue: UInt32(truncatingIfNeeded: v6.rawValue)))")
    }
    return Problem("\(address) \(kind)")
  }

  /// `ADDRESS/LENGTH`, as routes have it.
  static let prefix: ScalarKind = {
    let expected = "a prefix such as 0.0.0.0/0"
    let schema: [(String, JSON)] = [("type", .string("string")), ("pattern", .string("^[0-9A-Fa-f:.]+/[0-9]{1,3}$"))]
    return ScalarKind(expected: expected, schema: schema) { text in
      if text == "default" {
        return Problem("'default' doesn't say of which family", "write 0.0.0.0/0, or \"::/0\"")
      }
      if let address = IPAddress(text) {
        return Problem(
          "\(quoted(text)) has no prefix length",
          "write \(address)/\(address.family == .ipv4 ? 32 : 128) for that one address")
      }
      guard let prefix = readPrefix(text) else { return Problem("expected \(expected), found \(quoted(text))") }
      if IPAddress(String(text.prefix { $0 != "/" })) != prefix.address {
        return Problem("\(quoted(text)) has bits behind its prefix", "write \(prefix.address)/\(prefix.length)")
      }
      return nil
    }
  }()

  /// `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]:PORT`.
  static let endpoint: ScalarKind = {
    let expected = "an address such as 10.0.0.21 or 10.0.0.21:8080"
    let schema: [(String, JSON)] = [("type", .string("string")), ("pattern", .string(#"^[0-9A-Fa-f:.\[\]]+$"#))]
    return ScalarKind(expected: expected, schema: schema) { text in
      if let endpoint = Endpoint(text) { return addressProblem(endpoint.address, .isHost) }
      if let colon = text.lastIndex(of: ":"), Endpoint(String(text[..<colon])) != nil {
        let port = String(text[text.index(after: colon)...])
        if portNumber(port) == nil { return Problem("\(quoted(port)) is no port: a port is from 1 to 65535") }
      }
      if text.hasPrefix("["), text.hasSuffix("]") {
        let inner = String(text.dropFirst().dropLast())
        if IPv6Address(inner) != nil { return Problem("\(quoted(text)) has brackets and no port", "write \(inner)") }
      }
      return hostAddress.problem(text).map { problem in
        problem.message.hasPrefix("expected")
          ? Problem("expected \(expected), found \(quoted(text))", problem.suggestion) : problem
      }
    }
  }()

  /// `80/tcp`, `8000-8010/tcp`.
  static let listen: ScalarKind = {
    let expected = "a port such as 80/tcp, or a range such as 8000-8010/tcp"
    let schema: [(String, JSON)] = [
      ("type", .string("string")), ("pattern", .string("^[0-9]{1,5}(-[0-9]{1,5})?/tcp$")),
    ]
    return ScalarKind(expected: expected, schema: schema) { text in
      if Configuration.Listen(text) != nil { return nil }
      let parts = text.split(separator: "/", omittingEmptySubsequences: false)
      let ports = String(parts.first ?? "")
      let isRange = Configuration.Listen(ports + "/tcp") != nil
      if isRange, parts.count == 1 {
        return Problem("\(quoted(text)) doesn't say of which protocol", "write \(text)/tcp")
      }
      if isRange, parts.count == 2, parts[1].lowercased() == "tcp" {
        return Problem("expected \(expected), found \(quoted(text))", "write \(ports)/tcp")
      }
      if isRange, parts.count == 2, parts[1] == "udp" {
        return Problem("UDP is not available in this version", "listen on tcp")
      }
      let ends = ports.split(separator: "-").map { wholeNumber($0) }
      if ends.count == 2, let first = ends[0], let last = ends[1], first > last, 1...65535 ~= first, last > 0 {
        return Problem("the range \(quoted(ports)) ends before it begins", "write \(last)-\(first)/tcp")
      }
      if 1...2 ~= ends.count, ends.allSatisfy({ $0 != nil }) {
        return Problem("\(quoted(ports)): a port is from 1 to 65535")
      }
      return Problem("expected \(expected), found \(quoted(text))")
    }
  }()
}

/// An address, perhaps with a port; an IPv6 address with a port is in brackets.
struct Endpoint: Sendable, Hashable {
  var address: IPAddress
  var port: UInt16?

  init?(_ text: String) {
    if let address = IPAddress(text) {
      self.init(address: address, port: nil)
      return
    }
    guard let colon = text.lastIndex(of: ":"), let port = portNumber(text[text.index(after: colon)...]) else {
      return nil
    }
    let host = text[..<colon]
    if host.hasPrefix("["), host.hasSuffix("]") {
      guard let address = IPv6Address(host.dropFirst().dropLast()) else { return nil }
      self.init(address: .v6(address), port: port)
    } else {
      guard let address = IPv4Address(host) else { return nil }
      self.init(address: .v4(address), port: port)
    }
  }

  private init(address: IPAddress, port: UInt16?) {
    self.address = address
    self.port = port
  }
}

/// `ADDRESS/LENGTH`.
func readPrefix(_ text: String) -> Prefix? {
  guard let slash = text.lastIndex(of: "/"), let address = IPAddress(String(text[..<slash])),
    let length = wholeNumber(text[text.index(after: slash)...])
  else { return nil }
  return Prefix(address, length: length)
}

extension Configuration.Listen: LosslessStringConvertible {
  /// Reads what `description` writes.
  public init?(_ description: String) {
    let parts = description.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2, let transport = Configuration.Transport(rawValue: String(parts[1])) else { return nil }
    let ends = parts[0].split(separator: "-", omittingEmptySubsequences: false).map { portNumber($0) }
    guard 1...2 ~= ends.count, let first = ends[0], let last = ends[ends.count - 1], first <= last else { return nil }
    self.init(ports: first...last, transport: transport)
  }
}
