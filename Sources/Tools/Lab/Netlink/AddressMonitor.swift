import Basis
import CLinux
import Glibc
import Linux
import Synchronization
import Wire

/// An address came to a host, or went.
struct AddressChange: Sendable, Hashable {
  var time: Instant
  var host: String
  var address: IPAddress
  var isHeld: Bool
}

/// Watches who holds which of the VIPs' addresses, from each namespace's own netlink. One thread reads all sockets; each message
/// is stamped as it is read.
final class AddressMonitor: Sendable {
  private struct State {
    var changes: [AddressChange] = []
    var held: [String: Set<IPAddress>] = [:]
    /// Messages were lost (ENOBUFS) and the state was read anew.
    var overflows = 0
  }

  private let state = Mutex(State())
  private let sockets: [(host: String, descriptor: Int32)]
  private let watched: Set<IPAddress>
  private let wake: (reading: Int32, writing: Int32)
  private let thread = Mutex<Thread?>(nil)

  init(hosts: [(name: String, namespace: Namespace)], addresses: [IPAddress]) throws(LabError) {
    watched = Set(addresses)
    wake = try Command.pipe()
    var opened: [(host: String, descriptor: Int32)] = []
    for host in hosts {
      // RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
      let descriptor = try host.namespace.run { clinux_lab_netlink(0x10 | 0x100) }
      guard descriptor >= 0 else { throw .system("a netlink socket in \(host.namespace.name)", descriptor) }
      opened.append((host.name, descriptor))
    }
    sockets = opened
    for socket in sockets { writeAll(socket.descriptor, NetlinkRequest.allAddresses) }
    do {
      let started = try Thread.start(named: "lab-monitor") { [self] in watch() }
      thread.withLock { $0 = started }
    } catch {
      throw LabError(.failed, "\(error)")
    }
  }

  func stop() {
    guard let running = thread.withLock({ $0.take() }) else { return }
    writeAll(wake.writing, [0])
    running.join()
    for socket in sockets { close(socket.descriptor) }
    close(wake.reading)
    close(wake.writing)
  }

  deinit { stop() }

  /// Everything seen so far, in the order in which it was read.
  var changes: [AddressChange] { state.withLock { $0.changes } }

  /// Hosts that hold the address now, in the order of the topology.
  func holders(of address: IPAddress) -> [String] {
    state.withLock { state in sockets.map(\.host).filter { state.held[$0]?.contains(address) == true } }
  }

  func holds(_ host: String, anyOf addresses: [IPAddress]) -> Bool {
    state.withLock { state in addresses.contains { state.held[host]?.contains($0) == true } }
  }

  private func watch() {
    // Stamps should be as early as they can be; without the right, they are a little later.
    try? Scheduling.becomeRealtime(priority: 5)
    var polled = sockets.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
    polled.append(pollfd(fd: wake.reading, events: Int16(POLLIN), revents: 0))
    var dumps = [Set<IPAddress>?](repeating: [], count: sockets.count)
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      if poll(&polled, nfds_t(polled.count), -1) < 0, errno != EINTR { return }
      if polled[sockets.count].revents != 0 { return }
      for index in sockets.indices where polled[index].revents != 0 {
        drain(index, &buffer, &dumps[index])
      }
    }
  }

  private func drain(_ index: Int, _ buffer: inout [UInt8], _ dump: inout Set<IPAddress>?) {
    let descriptor = sockets[index].descriptor
    while true {
      let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
      if count < 0, errno == ENOBUFS {
        state.withLock { $0.overflows += 1 }
        dump = []
        writeAll(descriptor, NetlinkRequest.allAddresses)
        continue
      }
      if count <= 0 { return }
      let now = Clock.now()
      for message in NetlinkReader.messages(in: Array(buffer[..<count])) {
        switch message {
        case .added(let address):
          dump?.insert(address)
          note(index, address, true, now)
        case .removed(let address):
          dump?.remove(address)
          note(index, address, false, now)
        case .endOfDump:
          if let listed = dump {
            for address in watched.sorted() where !listed.contains(address) { note(index, address, false, now) }
          }
          dump = nil
        }
      }
    }
  }

  private func note(_ index: Int, _ address: IPAddress, _ isHeld: Bool, _ now: Instant) {
    guard watched.contains(address) else { return }
    let host = sockets[index].host
    state.withLock { state in
      // A renewal is a message too, but no change.
      let changed =
        isHeld ? state.held[host, default: []].insert(address).inserted : state.held[host]?.remove(address) != nil
      if changed { state.changes.append(AddressChange(time: now, host: host, address: address, isHeld: isHeld)) }
    }
  }
}
