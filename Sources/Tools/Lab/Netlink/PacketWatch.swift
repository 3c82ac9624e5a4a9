import Basis
import CLinux
import Glibc
import Linux
import Synchronization
import Wire

/// What a node said on the link to everybody: an advert, or where an address is.
struct Spoken: Sendable, Hashable {
  enum What: Sendable, Hashable {
    case advert(id: UInt8, priority: UInt8)
    /// A gratuitous ARP or an unsolicited neighbour advertisement.
    case announcement(IPAddress)
  }
  var time: Instant
  /// The frame's source address.
  var source: UInt64
  var what: What
}

/// Listens on the lab's switch to what goes to all of its ports: multicast adverts and announcements. Unicast adverts are not heard.
final class PacketWatch: Sendable {
  private let spoken = Mutex<[Spoken]>([])
  private let sockets: [Int32]
  private let wake: (reading: Int32, writing: Int32)
  private let thread = Mutex<Thread?>(nil)

  init(bridges: [String], in namespace: Namespace) throws(LabError) {
    wake = try Command.pipe()
    sockets = try namespace.run { bridges.map { clinux_lab_packets($0) } }
    if let failure = sockets.first(where: { $0 < 0 }) { throw .system("listening on the lab's switch", failure) }
    do {
      let started = try Thread.start(named: "lab-packets") { [self] in watch() }
      thread.withLock { $0 = started }
    } catch {
      throw LabError(.failed, "\(error)")
    }
  }

  /// Ends it and gives what was heard, in order.
  func finish() -> [Spoken] {
    if let running = thread.withLock({ $0.take() }) {
      writeAll(wake.writing, [0])
      running.join()
      for socket in sockets { close(socket) }
      close(wake.reading)
      close(wake.writing)
    }
    return spoken.withLock { $0 }
  }

  deinit { _ = finish() }

  private func watch() {
    var polled = (sockets + [wake.reading]).map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
    var buffer = [UInt8](repeating: 0, count: 2048)
    while true {
      if poll(&polled, nfds_t(polled.count), -1) < 0, errno != EINTR { return }
      if polled[sockets.count].revents != 0 { return }
      for (index, socket) in sockets.enumerated() where polled[index].revents != 0 {
        while true {
          let count = recv(socket, &buffer, buffer.count, Int32(MSG_DONTWAIT))
          if count < 0 { break }
          let now = Clock.now()
          if let heard = Spoken(frame: buffer[..<min(count, buffer.count)], at: now) {
            spoken.withLock { $0.append(heard) }
          }
        }
      }
    }
  }
}

extension Spoken {
  /// Nil for all else, and for what is too short to be one.
  init?(frame: ArraySlice<UInt8>, at time: Instant) {
    let bytes = Array(frame)
    guard bytes.count >= 14 else { return nil }
    let source = bytes[6..<12].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    guard let what = Self.what(UInt16(bytes[12]) << 8 | UInt16(bytes[13]), bytes[14...]) else { return nil }
    self.init(time: time, source: source, what: what)
  }

  private static func what(_ type: UInt16, _ packet: ArraySlice<UInt8>) -> What? {
    let bytes = Array(packet)
    switch type {
    case 0x0800:
      guard bytes.count >= 20, bytes[9] == 112 else { return nil }
      return advert(bytes.dropFirst(Int(bytes[0] & 0xF) * 4))
    case 0x86DD:
      guard bytes.count >= 40 else { return nil }
      if bytes[6] == 112 { return advert(bytes.dropFirst(40)) }
      // ICMPv6 type 136, a neighbour advertisement that nobody asked for (RFC 4861 §4.4): its target is at byte 8.
      guard bytes[6] == 58, bytes.count >= 64, bytes[40] == 136, bytes[44] & 0x40 == 0 else { return nil }
      return .announcement(.v6(IPv6Address(rawValue: bytes[48..<64].reduce(0) { $0 << 8 | UInt128($1) })))
    case 0x0806:
      // Sender and target are the same address (RFC 5227 §3).
      guard bytes.count >= 28, bytes[14..<18] == bytes[24..<28] else { return nil }
      return .announcement(.v4(IPv4Address(rawValue: bytes[14..<18].reduce(0) { $0 << 8 | UInt32($1) })))
    default: return nil
    }
  }

  private static func advert(_ message: ArraySlice<UInt8>) -> What? {
    let bytes = Array(message)
    return bytes.count >= 8 ? .advert(id: bytes[1], priority: bytes[2]) : nil
  }
}

/// What virtual routers that stay as they are say at a time when they need not.
struct OutOfTurn: Sendable {
  /// Those that stay, by VRID, and their addresses.
  var ids: Set<UInt8>
  var addresses: Set<IPAddress>
  var interval: Duration

  /// When: farewells, adverts of another node, adverts that follow the one before in less than half an interval, and announcements
  /// that come in a burst. A single one may be the owner's regular one.
  func moments(in spoken: [Spoken]) -> [Instant] {
    var moments: [Instant] = []
    var speakers: [UInt8: (source: UInt64, time: Instant)] = [:]
    var announced: [IPAddress: Instant] = [:]
    for heard in spoken {
      switch heard.what {
      case .advert(let id, let priority):
        guard ids.contains(id) else { continue }
        if let last = speakers[id] {
          if priority == 0 || last.source != heard.source || heard.time - last.time < interval / 2 {
            moments.append(heard.time)
          }
        } else if priority == 0 {
          moments.append(heard.time)
        }
        speakers[id] = (heard.source, heard.time)
      case .announcement(let address):
        guard addresses.contains(address) else { continue }
        if let last = announced[address], heard.time - last < .seconds(1) { moments.append(heard.time) }
        announced[address] = heard.time
      }
    }
    return moments
  }
}
