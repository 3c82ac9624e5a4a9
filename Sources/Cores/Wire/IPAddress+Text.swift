// Text forms: dotted decimal without leading zeros, and RFC 4291 §2.2 read, RFC 5952 written.

extension IPv4Address: CustomStringConvertible, LosslessStringConvertible {
  public init?(_ text: some StringProtocol) {
    var value: UInt32 = 0
    var parts = 0
    for part in text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false) {
      guard parts < 4, let byte = decimalByte(part) else { return nil }
      value = value << 8 | UInt32(byte)
      parts += 1
    }
    guard parts == 4 else { return nil }
    rawValue = value
  }

  public init?(_ description: String) { self.init(description[...]) }

  public var description: String {
    "\(rawValue >> 24).\(rawValue >> 16 & 255).\(rawValue >> 8 & 255).\(rawValue & 255)"
  }
}

private func decimalByte(_ digits: some Collection<UInt8>) -> UInt8? {
  guard 1...3 ~= digits.count, digits.count == 1 || digits.first != UInt8(ascii: "0") else { return nil }
  var value = 0
  for digit in digits {
    guard 48...57 ~= digit else { return nil }
    value = value * 10 + Int(digit - 48)
  }
  return UInt8(exactly: value)
}

extension IPv6Address: CustomStringConvertible, LosslessStringConvertible {
  public init?(_ description: String) { self.init(description[...]) }

  public init?(_ text: some StringProtocol) {
    var groups: [UInt16] = []
    var gap: Int?
    var rest = Array(text.utf8)[...]
    guard !rest.isEmpty else { return nil }
    if rest.starts(with: "::".utf8) {
      gap = 0
      rest = rest.dropFirst(2)
    }
    while !rest.isEmpty {
      let end = rest.firstIndex(of: UInt8(ascii: ":")) ?? rest.endIndex
      let part = rest[rest.startIndex..<end]
      if part.contains(UInt8(ascii: ".")) {
        // The last 32 bits as dotted decimal (RFC 4291 §2.2, form 3).
        guard end == rest.endIndex, let v4 = IPv4Address(String(decoding: part, as: UTF8.self)) else { return nil }
        groups.append(UInt16(v4.rawValue >> 16))
        groups.append(UInt16(v4.rawValue & 0xFFFF))
        rest = []
        break
      }
      guard 1...4 ~= part.count, let group = hexGroup(part) else { return nil }
      groups.append(group)
      guard groups.count <= 8 else { return nil }
      rest = rest[end...]
      if rest.isEmpty { break }
      rest = rest.dropFirst()
      if rest.first == UInt8(ascii: ":") {
        guard gap == nil else { return nil }
        gap = groups.count
        rest = rest.dropFirst()
      } else if rest.isEmpty {
        return nil  // a single colon at the end
      }
    }
    if let gap {
      guard groups.count <= 7 else { return nil }
      groups.insert(contentsOf: repeatElement(0, count: 8 - groups.count), at: gap)
    }
    guard groups.count == 8 else { return nil }
    rawValue = groups.reduce(0) { $0 << 16 | UInt128($1) }
  }

  public var description: String {
    let groups = (0..<8).map { UInt16(truncatingIfNeeded: rawValue >> ((7 - $0) * 16)) }
    if rawValue >> 32 == 0xFFFF { return "::ffff:\(IPv4Address(rawValue: UInt32(truncatingIfNeeded: rawValue)))" }
    // The longest run of two or more zero groups is written "::", the first of equals (RFC 5952 §4.2).
    var longest = 0..<0
    var index = 0
    while index < 8 {
      var end = index
      while end < 8, groups[end] == 0 { end += 1 }
      if end - index > max(longest.count, 1) { longest = index..<end }
      index = max(end, index + 1)
    }
    func text(_ range: Range<Int>) -> String { groups[range].map { String($0, radix: 16) }.joined(separator: ":") }
    return longest.isEmpty ? text(0..<8) : text(0..<longest.lowerBound) + "::" + text(longest.upperBound..<8)
  }
}

private func hexGroup(_ digits: some Collection<UInt8>) -> UInt16? {
  var value: UInt16 = 0
  for digit in digits {
    guard let nibble = hexNibble(digit) else { return nil }
    value = value << 4 | UInt16(nibble)
  }
  return value
}

func hexNibble(_ digit: UInt8) -> UInt8? {
  switch digit {
  case 48...57: digit - 48
  case 65...70: digit - 55
  case 97...102: digit - 87
  default: nil
  }
}

extension IPAddress: CustomStringConvertible, LosslessStringConvertible {
  public init?(_ description: String) {
    if let v4 = IPv4Address(description) {
      self = .v4(v4)
    } else if let v6 = IPv6Address(description) {
      self = .v6(v6)
    } else {
      return nil
    }
  }

  public var description: String {
    switch self {
    case .v4(let address): address.description
    case .v6(let address): address.description
    }
  }
}

extension Prefix: CustomStringConvertible {
  public var description: String { "\(address)/\(length)" }
}

extension MACAddress: CustomStringConvertible, LosslessStringConvertible {
  public init?(_ description: String) {
    let parts = description.utf8.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
    guard parts.count == 6 else { return nil }
    var value: UInt64 = 0
    for part in parts {
      guard part.count == 2, let high = hexNibble(part.first!), let low = hexNibble(part.last!) else { return nil }
      value = value << 8 | UInt64(high << 4 | low)
    }
    rawValue = value
  }

  public var description: String {
    stride(from: 40, through: 0, by: -8).map { shift in
      let byte = UInt8(truncatingIfNeeded: rawValue >> UInt64(shift))
      return (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }.joined(separator: ":")
  }
}
