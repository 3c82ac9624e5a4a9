import COpenSSL

/// Bytes that nobody else may know. They are overwritten when the last copy of the reference is gone, and printing, dumping or
/// interpolating it shows none of them.
///
/// A class, because copies of a value would each have to be overwritten, and Swift doesn't say where it made them.
public final class SecretBytes: Sendable {
  public let count: Int
  // Written in `init` only.
  nonisolated(unsafe) private let bytes: UnsafeMutableRawBufferPointer

  /// Copies. Where the argument was the only other copy, `SecretBytes(wiping:)` is better.
  public init(_ source: UnsafeRawBufferPointer) {
    count = source.count
    bytes = .allocate(byteCount: max(1, source.count), alignment: 16)
    bytes.copyMemory(from: source)
  }

  public convenience init(_ source: [UInt8]) {
    // A copy of its own, that can be overwritten.
    var copy = source
    self.init(wiping: &copy)
  }

  /// Takes the bytes and overwrites them where they were.
  public init(wiping source: inout [UInt8]) {
    count = source.count
    bytes = .allocate(byteCount: max(1, source.count), alignment: 16)
    source.withUnsafeMutableBytes { source in
      bytes.copyMemory(from: UnsafeRawBufferPointer(source))
      copenssl_wipe(source.baseAddress, source.count)
    }
    source.removeAll()
  }

  deinit { bytes.wipeAndDeallocate() }

  /// The pointer is good while `body` runs.
  public func withBytes<Result, Failure: Error>(
    _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(UnsafeRawBufferPointer(rebasing: bytes[..<count]))
  }

  /// `count` random bytes.
  public static func random(_ count: Int) throws(CryptoError) -> SecretBytes {
    var bytes = try Random.bytes(count)
    return SecretBytes(wiping: &bytes)
  }
}

extension SecretBytes: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  public var description: String { "(a secret)" }
  public var debugDescription: String { description }
  public var customMirror: Mirror { Mirror(self, children: EmptyCollection<Mirror.Child>()) }
}

extension SecretBytes: Equatable {
  /// In a time that depends on the lengths alone.
  public static func == (left: SecretBytes, right: SecretBytes) -> Bool {
    left.withBytes { left in right.withBytes { right in areEqual(left, right) } }
  }
}

/// Whether the bytes are equal, in a time that depends on the lengths alone.
public func areEqual(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
  guard left.count == right.count else { return false }
  guard let first = left.baseAddress, let second = right.baseAddress else { return true }
  return copenssl_equal(first, second, left.count) == 1
}

public enum Random {
  /// From OpenSSL's generator for secrets, which the kernel seeds.
  public static func bytes(_ count: Int) throws(CryptoError) -> [UInt8] {
    guard count > 0 else { return [] }
    var bytes = [UInt8](repeating: 0, count: count)
    let done = bytes.withUnsafeMutableBytes { copenssl_random($0.baseAddress, $0.count) }
    guard done == 1 else { throw CryptoError(what: "no random bytes") }
    return bytes
  }
}

/// OpenSSL refused. It says what in words, and never a secret.
public struct CryptoError: Error, Sendable, Hashable, CustomStringConvertible {
  public var what: String
  public init(what: String) { self.what = what }
  public var description: String { what }
}

extension UnsafeMutableRawBufferPointer {
  fileprivate func wipeAndDeallocate() {
    copenssl_wipe(baseAddress, count)
    deallocate()
  }
}
