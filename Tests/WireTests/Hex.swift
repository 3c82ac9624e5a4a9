/// Bytes from annotated hexadecimal: spaces and line ends are free, and `;` begins a remark that ends with the line.
func hex(_ text: String) -> [UInt8] {
  let digits = text.split(separator: "\n").flatMap { line in
    line.prefix { $0 != ";" }.compactMap(\.hexDigitValue)
  }
  precondition(digits.count % 2 == 0, "half a byte in \(text)")
  return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}
