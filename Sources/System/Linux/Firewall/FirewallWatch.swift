import CLinux
import Glibc

/// Hears when somebody removes a table of the firewall (`nft flush ruleset`, a restart of a firewall service). It belongs to one thread.
final class FirewallWatch {
  private let netlink: NetlinkSocket
  private var hasJoined = false

  var descriptor: Int32 { netlink.descriptor }

  init() throws(SystemError) {
    netlink = try NetlinkSocket(protocol: clinux_netlink_netfilter)
  }

  /// Nothing is heard before it: a host may change its firewall all the time.
  func join() {
    guard !hasJoined else { return }
    // Without it the table is loaded at the start and on changes alone.
    hasJoined = (try? netlink.join(clinux_nfnlgrp_nftables)) != nil
  }

  /// Whether a table of that name was removed since the last time; also where that can't be known.
  func tableIsGone(_ name: String) -> Bool {
    var isGone = false
    while true {
      do throws(SystemError) {
        guard let datagram = try netlink.receive() else { return isGone }
        if Self.removals(in: datagram).contains(name) { isGone = true }
      } catch {
        isGone = true
        if error.code != ENOBUFS { return isGone }
      }
    }
  }

  /// What this program did itself is no news.
  func forget() { _ = tableIsGone("") }

  /// The names of the tables that a datagram says are removed.
  static func removals(in datagram: UnsafeRawBufferPointer) -> [String] {
    let all = NetlinkBytes(base: datagram)
    var names: [String] = []
    var offset = 0
    while let length = all.load(offset, as: UInt32.self).map(Int.init), length >= 16,
      let message = all.slice(offset..<offset + length), let type = message.load(4, as: UInt16.self)
    {
      // nfgenmsg (4 bytes), then attributes; NFTA_TABLE_NAME is 1.
      if type == clinux_nft_deltable, let payload = message.slice(16..<length) {
        payload.forEachAttribute(from: 4) { if $0 == 1 { names.append($1.text) } }
      }
      offset += (length + 3) & ~3
    }
    return names
  }
}
