/// A JSON value to be written; objects keep the order of their members, so that what is generated reads well.
indirect enum JSON: Sendable {
  case string(String)
  case number(Int)
  case bool(Bool)
  case array([JSON])
  case object([(String, JSON)])

  /// Indented by two spaces a level; short arrays of plain values in one line.
  var text: String {
    var output = ""
    write(to: &output, indent: "")
    return output
  }

  private func write(to output: inout String, indent: String) {
    switch self {
    case .string(let text): output += Self.literal(text)
    case .number(let number): output += "\(number)"
    case .bool(let flag): output += flag ? "true" : "false"
    case .array(let items) where items.isEmpty || items.allSatisfy(\.isPlain) && items.count <= 12:
      output += "["
      for (index, item) in items.enumerated() {
        if index > 0 { output += ", " }
        item.write(to: &output, indent: indent)
      }
      output += "]"
    case .array(let items):
      output += "["
      for (index, item) in items.enumerated() {
        output += (index > 0 ? "," : "") + "\n\(indent)  "
        item.write(to: &output, indent: indent + "  ")
      }
      output += "\n\(indent)]"
    case .object(let members) where members.isEmpty: output += "{}"
    case .object(let members):
      output += "{"
      for (index, member) in members.enumerated() {
        output += (index > 0 ? "," : "") + "\n\(indent)  \(Self.literal(member.0)): "
        member.1.write(to: &output, indent: indent + "  ")
      }
      output += "\n\(indent)}"
    }
  }

  private var isPlain: Bool {
    switch self {
    case .string, .number, .bool: true
    case .array, .object: false
    }
  }

  private static func literal(_ text: String) -> String {
    var output = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": output += "\\\""
      case "\\": output += "\\\\"
      case "\n": output += "\\n"
      case "\r": output += "\\r"
      case "\t": output += "\\t"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        output += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: output.unicodeScalars.append(scalar)
      }
    }
    return output + "\""
  }
}
