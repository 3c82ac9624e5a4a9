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
  private var names: [String]
  private var vips: Set<IPAddress>
  private var told: [String: InterfaceState] = [:]
  private var receptions = ReceptionWatch()
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

  /// From now on these interfaces are watched, and these addresses are VIPs.
  func follow(_ names: [String], excluding vips: Set<IPAddress>) {
    self.names = names
    self.vips = vips
    if !names.isEmpty {
      let watched = Set(names)
      told = told.filter { watched.contains($0.key) }
    }
    tell()
  }

  /// Asks the kernel for everything. What the monitor already holds ends in the same state.
  func read() throws(SystemError) {
    let before = table.links
    table.load(try requests.links(), try requests.addresses())
    let now = Clock.now()
    for link in before where table.link(at: link.index) == nil { receptions.forget(link.index) }
    for link in table.links { receptions.note(link, at: now) }
  }

  /// A link that was asked for by itself.
  func take(in link: LinkRecord) {
    table.apply(.link(link, removed: false))
    receptions.note(link, at: Clock.now())
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
          switch message {
          case .link(let link, removed: true): receptions.forget(link.index)
          case .link(let link, removed: false): receptions.note(link, at: Clock.now())
          default: break
          }
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
    for name in candidates {
      var state = table.state(of: name, excluding: vips)
      state.hasReceived = state.isLoopback || receptions.hasReceived(state.index)
      guard told[name] != state else { continue }
      if state.isUp, told[name]?.isUp == false { forgetUnansweredNeighbours(on: state) }
      told[name] = state.exists || !names.isEmpty ? state : nil
      report(.interface(state))
    }
  }

  private var candidates: [String] {
    names.isEmpty ? Set(table.links.map(\.name)).union(told.keys).sorted() : names
  }

  // MARK: What was received

  /// When a watched interface on which nothing was received yet has to be looked at again.
  var nextQuestion: Instant? {
    var next: Instant?
    for name in names {
      guard let link = table.link(named: name), !link.isLoopback else { continue }
      next = earlier(next, receptions.nextQuestion(about: link.index))
    }
    return next
  }

  /// Asks for the interfaces that are due.
  func ask(at now: Instant) {
    for name in names {
      guard let link = table.link(named: name), let due = receptions.nextQuestion(about: link.index), due <= now else {
        continue
      }
      do throws(SystemError) {
        // What it says beside the number of packets comes as a notification, too.
        guard let answer = try requests.link(at: link.index) else { continue }
        receptions.note(answer, at: now)
      } catch {
        receptions.note(link, at: now)  // again after the interval
      }
    }
    tell()
  }
}
