import Basis
import CLinux
import FoundationEssentials
import Glibc
import Linux
import VRRP
import Wire

/// What a stranger does to a cluster for a while, each a process of its own that ends when its input does: so none of them outlives the
/// lab, however that ended.
enum Nuisance {
  /// Adverts of somebody who wants a VIP and has no key: real packets, with all that RFC 9568 §7.1 asks for.
  struct Rogue: Sendable, Hashable, Codable {
    var interface: String
    /// VRID.
    var id: UInt8
    var isVersion2: Bool
    var priority: UInt8
    /// What the adverts say, and how often they are sent.
    var intervalMs: Int
    /// Of one family: the VIP's, as the owner lists them.
    var addresses: [String]
    /// The stranger's own address.
    var source: String
    /// To whom they are sent one by one; empty: to VRRP's group.
    var peers: [String]
  }

  /// Links and addresses that come and go, and hold the kernel's lock for both (RTNL) meanwhile.
  struct Churn: Sendable, Hashable, Codable {
    /// So many at once.
    var threads: Int
    /// On each link, before it is deleted.
    var addresses: Int
  }

  /// True once the input has ended; waits at most that long for it.
  private static func isOver(within wait: Duration) -> Bool {
    var polled = pollfd(fd: 0, events: Int16(POLLIN), revents: 0)
    let time = Int32(clamping: max(0, wait.nanoseconds / 1_000_000))
    guard poll(&polled, 1, time) > 0 else { return false }
    var byte: UInt8 = 0
    return read(0, &byte, 1) <= 0
  }

  static func run(_ rogue: Rogue) throws {
    let addresses = rogue.addresses.compactMap { IPAddress($0) }
    guard let source = IPAddress(rogue.source), !addresses.isEmpty else {
      throw LabError(.usage, "a rogue needs addresses")
    }
    let socket = try VRRPSocket(
      interface: rogue.interface, index: Int32(if_nametoindex(rogue.interface)), family: source.family)
    let advert = Advert(
      version: rogue.isVersion2 ? .v2 : .v3, id: rogue.id, priority: rogue.priority,
      interval: .milliseconds(rogue.intervalMs), addresses: addresses)
    let named = rogue.peers.compactMap { IPAddress($0) }
    let targets = named.isEmpty ? [VRRPSocket.group(source.family)] : named
    let messages = targets.map { ($0, advert.encoded(from: source, to: $0, coverage: .pseudoHeader)) }
    var due = Clock.now()
    repeat {
      for (target, message) in messages { try? socket.send(message, to: target, from: source) }
      due = max(due + .milliseconds(rogue.intervalMs), Clock.now())
    } while !isOver(within: due - Clock.now())
  }

  static func run(_ churn: Churn) throws {
    for number in 0..<max(1, churn.threads) {
      // Detached by its handle's end; the process ends with its input.
      _ = try Thread.start(named: "lab-churn-\(number)") { Churner(number: number, addresses: churn.addresses).run() }
    }
    while !isOver(within: .seconds(3600)) {}
  }

  /// One busy processor.
  static func hog() throws {
    _ = try Thread.start(named: "lab-hog") {
      var state: UInt64 = 1
      while true {
        for _ in 0..<1_000_000 { state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407 }
        // Never so; but only the running program can know.
        if state == 0 { writeAll(2, [0]) }
      }
    }
    while !isOver(within: .seconds(3600)) {}
  }
}

/// Makes a pair of links, gives them addresses, and deletes them, as fast as the kernel lets it.
private struct Churner {
  let number: Int
  let addresses: Int

  func run() {
    let socket = clinux_lab_netlink(0)
    guard socket >= 0 else { return }
    defer { close(socket) }
    let name = "churn\(number)"
    var buffer = [UInt8](repeating: 0, count: 8192)
    func ask(_ request: [UInt8]) -> Int32 {
      guard writeAll(socket, request) else { return errno }
      let count = recv(socket, &buffer, buffer.count, 0)
      return count > 0 ? NetlinkReader.answer(in: Array(buffer[..<count])) ?? 0 : errno
    }
    while true {
      guard ask(NetlinkRequest.newPair(name: name)) == 0 else {
        usleep(10_000)
        let left = if_nametoindex(name)
        if left != 0 { _ = ask(NetlinkRequest.deleteLink(index: left)) }
        continue
      }
      let index = if_nametoindex(name)
      _ = ask(NetlinkRequest.link(index: index, isUp: true))
      for count in 0..<addresses {
        let address = IPv4Address(172, 31, UInt8(truncatingIfNeeded: number), UInt8(truncatingIfNeeded: count + 1))
        _ = ask(NetlinkRequest.newAddress(address, index: index))
      }
      _ = ask(NetlinkRequest.deleteLink(index: index))
    }
  }
}
