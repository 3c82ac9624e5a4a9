import Basis
import CLinux
import Glibc
import Linux

/// One end of the pair of sockets between a daemon and the one that is to take its place.
///
/// ```
///   the old one                       the new one
///                        ◄──────────  started
///   descriptor … offered ──────────►  reads the configuration, starts its guardian, its threads
///                        ◄──────────  ready
///   its address thread rests
///   grants ────────────────────────►  adopts the addresses, opens its sockets
///                        ◄──────────  prepared
///   falls silent
///   state ─────────────────────────►  goes on with the adverts, accepts connections
///                        ◄──────────  done
///   lets go of everything
///   released ──────────────────────►  takes over the control socket, calls the peers, arms its guardian
///   finishes its connections, ends ◄── close, where a VIP leaves before; leave, where it is to end now
/// ```
/// The new one's end of it is lent on with the next upgrade, as `predecessor N`, so the last process knows all that still finish.
/// Until `done` either may give up (`failed`, `cancelled`, or the end of a process), and the old one goes on.
final class UpgradeChannel: Sendable {
  enum Message: Sendable {
    /// What the descriptor is: a word, and for a listening socket its address and port.
    case descriptor(String, Int32)
    case offered
    /// The new one is there, as that process.
    case started(pid: Int32, version: String)
    case ready
    case grants([UInt8])
    case prepared
    case state([UInt8])
    case done
    case released
    case failed(String)
    case cancelled
    /// From the new one, afterwards: a VIP is about to leave, so the connections that the old one still has end within that time.
    case close(number: UInt64, vip: String, milliseconds: Int64)
    /// They have.
    case closed(UInt64)
    /// From the old one, afterwards: so many connections it still has, and so long it waits for their end.
    case remaining(connections: Int, milliseconds: Int64)
    /// Its connections end now, within its drain.
    case leave
  }

  enum Failure: Error { case closed, late }

  private let socket: Descriptor
  var descriptor: Int32 { socket.rawValue }

  /// A resumption of 255 VIPs with all their backends is some 100 KiB.
  private static let longest = 1 << 20

  init(_ socket: consuming Descriptor) {
    self.socket = socket
    var size = Int32(2 * Self.longest)
    _ = setsockopt(self.socket.rawValue, SOL_SOCKET, SO_SNDBUFFORCE, &size, socklen_t(MemoryLayout<Int32>.size))
  }

  /// The own end, and the one for the other process.
  static func pair() throws(SystemError) -> (UpgradeChannel, UpgradeChannel) {
    var ends: [Int32] = [-1, -1]
    try SystemError.check("socketpair", "the upgrade") { clinux_message_pair(&ends) }
    return (UpgradeChannel(Descriptor(owning: ends[0])), UpgradeChannel(Descriptor(owning: ends[1])))
  }

  /// False where the other end is gone, or does not read.
  @discardableResult
  func send(_ message: Message) -> Bool {
    let (kind, payload, lent) = message.parts
    let bytes = [kind] + payload
    for _ in 0..<1000 {
      if clinux_message_send(descriptor, bytes, bytes.count, lent) >= 0 { return true }
      guard errno == EINTR || errno == EAGAIN || errno == ETOOMANYREFS || errno == ENOBUFS else { return false }
      usleep(1000)
    }
    return false
  }

  /// The next message; nil where none waits.
  func next() throws(Failure) -> Message? {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.longest, alignment: 1)
    defer { buffer.deallocate() }
    var lent: Int32 = -1
    let count = clinux_message_receive(descriptor, buffer.baseAddress, buffer.count, &lent)
    if count < 0, errno == EAGAIN || errno == EINTR { return nil }
    guard count > 0 else { throw .closed }
    let payload = Array(buffer[1..<min(count, buffer.count)])
    guard let message = Message(buffer[0], payload, lent) else {
      if lent >= 0 { close(lent) }
      return .failed("a word that is not understood")
    }
    return message
  }

  /// Waits for the next message.
  func receive(until end: Instant) throws(Failure) -> Message {
    while true {
      if let message = try next() { return message }
      let left = end - Clock.now()
      guard left > .zero else { throw .late }
      var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      poll(&entry, 1, Int32(clamping: left.nanoseconds / 1_000_000 + 1))
    }
  }
}

extension UpgradeChannel.Message {
  fileprivate var parts: (kind: UInt8, payload: [UInt8], lent: Int32) {
    switch self {
    case .descriptor(let role, let number): (1, Array(role.utf8), number)
    case .offered: (2, [], -1)
    case .started(let pid, let version): (3, Array("\(pid) \(version)".utf8), -1)
    case .grants(let bytes): (4, bytes, -1)
    case .prepared: (5, [], -1)
    case .state(let bytes): (6, bytes, -1)
    case .done: (7, [], -1)
    case .released: (8, [], -1)
    case .failed(let why): (9, Array(why.utf8), -1)
    case .cancelled: (10, [], -1)
    case .close(let number, let vip, let limit): (11, Array("\(number) \(limit) \(vip)".utf8), -1)
    case .ready: (13, [], -1)
    case .closed(let number): (12, Array("\(number)".utf8), -1)
    case .remaining(let connections, let limit): (14, Array("\(connections) \(limit)".utf8), -1)
    case .leave: (15, [], -1)
    }
  }

  fileprivate init?(_ kind: UInt8, _ payload: [UInt8], _ lent: Int32) {
    var text: String { String(decoding: payload, as: UTF8.self) }
    switch kind {
    case 1 where lent >= 0: self = .descriptor(text, lent)
    case 2: self = .offered
    case 3:
      let words = text.split(separator: " ", maxSplits: 1)
      guard words.count == 2, let pid = Int32(words[0]) else { return nil }
      self = .started(pid: pid, version: String(words[1]))
    case 4: self = .grants(payload)
    case 5: self = .prepared
    case 6: self = .state(payload)
    case 7: self = .done
    case 8: self = .released
    case 9: self = .failed(text)
    case 10: self = .cancelled
    case 11:
      let words = text.split(separator: " ", maxSplits: 2)
      guard words.count == 3, let number = UInt64(words[0]), let limit = Int64(words[1]), 0...86_400_000 ~= limit else {
        return nil
      }
      self = .close(number: number, vip: String(words[2]), milliseconds: limit)
    case 12:
      guard let number = UInt64(text) else { return nil }
      self = .closed(number)
    case 13: self = .ready
    case 14:
      let words = text.split(separator: " ")
      guard words.count == 2, let connections = Int(words[0]), let limit = Int64(words[1]), connections >= 0,
        0...86_400_000 ~= limit
      else { return nil }
      self = .remaining(connections: connections, milliseconds: limit)
    case 15: self = .leave
    default: return nil
    }
  }
}
