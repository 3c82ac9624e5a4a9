import Basis
import VRRP

/// A recording of a node: every event that it was given, and enough of what it decided to see where another run differs.
///
/// The form, version 3. Numbers are LEB128 unless a width is given; widths are little-endian.
///
///     header      "ROOSTREC" · version, 1 byte · seed, 8 bytes · hash of the settings, 8 bytes · the settings
///     event       kind, 1 byte · nanoseconds since the event before, zigzag · digest before it, 2 bytes · its fields
///     checkpoint  0xFF · events so far · digest of all effects so far, 8 bytes
///
/// The two bytes of each event place a difference at the event that made it, but for one in 65,536; the checkpoint behind every
/// 256th leaves no doubt that there is one. What was cut off at the end, as in a crash, costs only what is missing.
public enum Recording {
  public static let version: UInt8 = 3
  static let magic = Array("ROOSTREC".utf8)
  static let checkpoint: UInt8 = 0xFF
  static let eventsBetweenCheckpoints: UInt64 = 256

  /// What stands before the first event.
  public static func header(_ settings: NodeSettings, seed: UInt64) -> [UInt8] {
    var body: [UInt8] = []
    settings.encode(into: &body)
    var bytes = magic + [version]
    BytesOut.fixed(seed, 8, &bytes)
    BytesOut.fixed(hash(body[...]), 8, &bytes)
    return bytes + body
  }

  /// FNV-1a, 64 bits: tells two configurations apart at a glance.
  static func hash(_ bytes: ArraySlice<UInt8>) -> UInt64 {
    bytes.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3 }
  }

  /// Times whose differences can't overflow, nor what a setting adds to them: 73 years either way.
  static let times = -(Int64(1) << 61)...(Int64(1) << 61)
}

/// Writes events into bytes that the caller keeps. It allocates nothing: where the next event doesn't fit, it says so.
///
///     if !writer.write(event, at: now, into: &buffer) { /* hand the full buffer over, take an empty one, write again */ }
///     node.handle(event, at: now) { effect in writer.decided(effect); … }
public struct RecordingWriter: Sendable {
  /// Of all effects so far.
  public private(set) var digest = EffectDigest()
  public private(set) var events: UInt64 = 0
  private var last: Int64 = 0

  public init() {}

  /// An event, before the node is given it.
  ///
  /// - Parameter buffer: bytes with capacity reserved; they never grow beyond it, but for new settings: those may be longer than any
  ///   buffer, and are so rare that it grows.
  /// - Returns: false where there was no room: then nothing was written.
  public mutating func write(_ event: Event, at now: Instant, into buffer: inout [UInt8]) -> Bool {
    if case .advert(let envelope, let message) = event {
      return unsafe write(message.span.bytes, in: envelope, at: now, into: &buffer)
    }
    if let most = event.mostBytes, buffer.capacity - buffer.count < most { return false }
    begin(event.kind, now, &buffer)
    event.encode(into: &buffer)
    events &+= 1
    return true
  }

  /// A VRRP message, before the node is given it.
  public mutating func write(
    _ message: RawSpan, in envelope: Envelope, at now: Instant, into buffer: inout [UInt8]
  ) -> Bool {
    guard buffer.capacity - buffer.count >= 96 + envelope.interface.utf8.count + message.byteCount else { return false }
    begin(Event.Kind.advert, now, &buffer)
    envelope.encode(into: &buffer)
    BytesOut.number(message.byteCount, &buffer)
    for offset in message.byteOffsets {
      buffer.append(unsafe message.unsafeLoad(fromUncheckedByteOffset: offset, as: UInt8.self))
    }
    events &+= 1
    return true
  }

  /// An effect of the event that was written last.
  public mutating func decided(_ effect: Effect) { digest.add(effect) }

  /// What proves the end: after the last event's effects.
  public mutating func finish(into buffer: inout [UInt8]) -> Bool {
    guard buffer.capacity - buffer.count >= 24 else { return false }
    checkpoint(&buffer)
    return true
  }

  private mutating func begin(_ kind: Event.Kind, _ now: Instant, _ buffer: inout [UInt8]) {
    // Before the event, not behind it: then the effects of all before are known.
    if events > 0, events % Recording.eventsBetweenCheckpoints == 0 { checkpoint(&buffer) }
    buffer.append(kind.rawValue)
    BytesOut.signed(now.nanoseconds &- last, &buffer)
    BytesOut.fixed(digest.value, 2, &buffer)
    last = now.nanoseconds
  }

  private func checkpoint(_ buffer: inout [UInt8]) {
    buffer.append(Recording.checkpoint)
    BytesOut.number(events, &buffer)
    BytesOut.fixed(digest.value, 8, &buffer)
  }
}

/// Reads a recording, whatever its bytes are.
public struct RecordingReader: Sendable {
  public enum Item: Sendable, Equatable {
    /// `digest`: the lowest 16 bits before it.
    case event(Event, at: Instant, digest: UInt16)
    case checkpoint(events: UInt64, digest: UInt64)
  }

  public let settings: NodeSettings
  public let seed: UInt64
  /// Tells two configurations apart at a glance.
  public let settingsHash: UInt64
  private var bytes: BytesIn
  private var last: Int64 = 0

  public init(_ recording: [UInt8]) throws(RecordingError) {
    bytes = BytesIn(recording)
    guard recording.starts(with: Recording.magic) else { throw .notARecording }
    _ = try bytes.take(Recording.magic.count)
    let version = try bytes.byte()
    guard version == Recording.version else { throw .version(version) }
    seed = try bytes.fixed(8)
    settingsHash = try bytes.fixed(8)
    let start = bytes.offset
    settings = try NodeSettings(from: &bytes)
    guard Recording.hash(recording[start..<bytes.offset]) == settingsHash else {
      throw bytes.malformed("the settings have another hash")
    }
  }

  /// The next item; nil at the end.
  public mutating func next() throws(RecordingError) -> Item? {
    if bytes.isAtEnd { return nil }
    let tag = try bytes.byte()
    if tag == Recording.checkpoint {
      let events = try bytes.number()
      return .checkpoint(events: events, digest: try bytes.fixed(8))
    }
    guard let kind = Event.Kind(rawValue: tag) else { throw bytes.malformed("no kind of event") }
    let (now, overflow) = last.addingReportingOverflow(try bytes.signed())
    guard !overflow, Recording.times.contains(now) else { throw bytes.malformed("a time out of all range") }
    last = now
    let digest = UInt16(truncatingIfNeeded: try bytes.fixed(2))
    return .event(try Event(kind, from: &bytes), at: Instant(nanoseconds: now), digest: digest)
  }

  func malformed(_ what: String) -> RecordingError { bytes.malformed(what) }
}
