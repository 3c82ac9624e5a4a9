import CFuzzer
import Glibc

/// Gives the program to libFuzzer, which calls `target` with one input after the other. The arguments are libFuzzer's.
public func runFuzzer(_ target: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt) -> Never {
  var count = CommandLine.argc
  var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
  exit(LLVMFuzzerRunDriver(&count, &arguments, target))
}

/// An input as a span, for as long as `body` runs.
public func withInput(_ start: UnsafePointer<UInt8>?, _ count: Int, _ body: (RawSpan) -> Void) {
  body(RawSpan(_unsafeBytes: UnsafeRawBufferPointer(start: start, count: count)))
}

/// An input read as a stream of choices. Past its end everything is zero, so that a short input is a whole one.
public struct Input {
  private let bytes: [UInt8]
  private var position = 0

  public init(_ span: RawSpan) { bytes = span.withUnsafeBytes { Array($0) } }

  public var isAtEnd: Bool { position >= bytes.count }

  public mutating func byte() -> UInt8 {
    guard position < bytes.count else { return 0 }
    defer { position += 1 }
    return bytes[position]
  }

  public mutating func bool() -> Bool { byte() & 1 == 1 }

  public mutating func number<Number: FixedWidthInteger>(_: Number.Type = Number.self) -> Number {
    var value: Number = 0
    for _ in 0..<Number.bitWidth / 8 { value = value << 8 | Number(truncatingIfNeeded: byte()) }
    return value
  }

  /// One of the elements, which must not be none.
  public mutating func choice<Element>(_ elements: [Element]) -> Element { elements[Int(byte()) % elements.count] }

  /// The next `count` bytes, or as many as there are.
  public mutating func take(_ count: Int) -> [UInt8] {
    let end = min(bytes.count, position + count)
    defer { position = end }
    return Array(bytes[position..<end])
  }

  public mutating func rest() -> [UInt8] { take(bytes.count) }
}
