import Basis

/// One thing that the prober did, and how it ended.
struct Sample: Sendable, Hashable {
  enum Kind: UInt8, Sendable {
    /// A UDP datagram to the VIP, answered by whichever node holds it; `detail` is that node's number.
    case datagram = 1
    /// A TCP connect to the service.
    case connect = 2
    /// A request on a connection that is kept.
    case request = 3
    /// A request on a new connection.
    case freshRequest = 4
    /// A long-lived connection broke; `detail` is a `Break`.
    case broken = 5
    /// A long-lived connection was made.
    case opened = 6
    /// The prober itself was not run for that long.
    case stall = 7
  }
  enum Break: UInt8, Sendable { case reset = 1, closed = 2, silent = 3, wrong = 4 }

  var kind: Kind
  var detail: UInt8 = 0
  /// Of the connection, where there are several.
  var number: UInt16 = 0
  /// When it was begun.
  var start: Instant
  /// Until its answer; nil where none came in time, or a refusal.
  var duration: Duration?

  var end: Instant? { duration.map { start + $0 } }

  static let encodedLength = 16
  private static let absent = UInt32.max

  /// kind, detail, number (2 bytes), duration in µs (4 bytes), start in ns (8 bytes); little-endian.
  func encode(into bytes: inout [UInt8]) {
    bytes.append(kind.rawValue)
    bytes.append(detail)
    let microseconds =
      duration.map { UInt32(clamping: min($0.nanoseconds / 1000, Int64(Self.absent) - 1)) } ?? Self.absent
    withUnsafeBytes(of: number.littleEndian) { bytes.append(contentsOf: $0) }
    withUnsafeBytes(of: microseconds.littleEndian) { bytes.append(contentsOf: $0) }
    withUnsafeBytes(of: start.nanoseconds.littleEndian) { bytes.append(contentsOf: $0) }
  }

  /// All samples of a file; nil where it is none.
  static func decode(_ bytes: [UInt8]) -> [Sample]? {
    guard bytes.count % encodedLength == 0 else { return nil }
    var samples: [Sample] = []
    samples.reserveCapacity(bytes.count / encodedLength)
    return bytes.withUnsafeBytes { raw in
      for offset in stride(from: 0, to: raw.count, by: encodedLength) {
        guard let kind = Kind(rawValue: raw[offset]) else { return nil }
        let number = UInt16(littleEndian: raw.loadUnaligned(fromByteOffset: offset + 2, as: UInt16.self))
        let microseconds = UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self))
        let start = Int64(littleEndian: raw.loadUnaligned(fromByteOffset: offset + 8, as: Int64.self))
        samples.append(
          Sample(
            kind: kind, detail: raw[offset + 1], number: number, start: Instant(nanoseconds: start),
            duration: microseconds == absent ? nil : .microseconds(Int64(microseconds))))
      }
      return samples
    }
  }
}
