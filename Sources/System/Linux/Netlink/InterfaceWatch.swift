import Basis
import CLinux
import Glibc
import Wire

/// Follows all interfaces and their addresses, and tells of those that are watched. It belongs to one thread.
final class InterfaceWatch {
  /// What netlink told so far. Notifications may come late: the kernel announces an IPv6 address some time after it was added.
  private(set) var table = InterfaceTable()
  /// When a re-reading that failed is tried again.
  private(set) var recoverAgain: Instant?

  private let monitor: NetlinkSocket
  private let requests: NetlinkSocket
  private let report: (AddressThread.Report) -> Void
  /// Empty: all.
  private let names: [String]
  private let vips: Set<IPAddress>
  private var told: [String: InterfaceState] = [:]
  /// The table is known to lack something.
  private var isStale = false

  var descriptor: Int32 { monitor.descriptor }

  init(
    _ names: [String], excluding vips: Set<IPAddress>, requests: NetlinkSocket,
    report: @escaping (AddressThread.Report) -> Void
  ) throws(SystemError) {
    self.names = names
    self.vips = vips
    self.requests = requests
    self.report = report
    monitor = try NetlinkSocket(groups: clinux_rtmgrp_link | clinux_rtmgrp_ipv4_ifaddr | clinux_rtmgrp_ipv6_ifaddr)
  }

  /// Asks the kernel for everything. What the monitor already holds ends in the same state.
  func read() throws(SystemError) {
    table.load(try requests.links(), try requests.addresses())
  }

  /// Takes in all changes that wait, and calls `note` with each.
  /// - Returns: true where changes were missed and everything was read anew.
  func follow(_ note: (NetlinkMessage) -> Void) -> Bool {
    drain(note)
    guard isStale, recoverAgain.map({ Clock.now() >= $0 }) ?? true else { return false }
    do throws(SystemError) {
      try read()
    } catch {
      report(.blind(error))
      recoverAgain = Clock.now() + .milliseconds(200)
      return false
    }
    isStale = false
    recoverAgain = nil
    return true
  }

  private func drain(_ note: (NetlinkMessage) -> Void) {
    while true {
      do throws(SystemError) {
        guard let datagram = try monitor.receive() else { return }
        NetlinkMessage.forEach(in: datagram) { _, message in
          table.apply(message)
          note(message)
        }
      } catch {
        isStale = true
        if error.code == ENOBUFS { continue }  // messages were lost, others wait
        return report(.blind(error))
      }
    }
  }

  /// The interface's carrier is back. Whoever was asked for meanwhile could not answer, and the kernel would wait for them for
  /// seconds: the client of a VIP that this node takes, and backends, too.
  private func forgetUnansweredNeighbours(on interface: InterfaceState) {
    do throws(SystemError) {
      try requests.forgetUnansweredNeighbours(on: interface.index)
    } catch {
      // The kernel asks again by itself, only later.
    }
  }

  /// Reports the watched interfaces that are not as they were last told.
  func tell() {
    let candidates = names.isEmpty ? Set(table.links.map(\.name)).union(told.keys).sorted() : names
    for name in candidates {
      let state = table.state(of: name, excluding: vips)
      guard told[name] != state else { continue }
      if state.isUp, told[name]?.isUp == false { forgetUnansweredNeighbours(on: state) }
      told[name] = state.exists || !names.isEmpty ? state : nil
      report(.interface(state))
    }
  }
}
