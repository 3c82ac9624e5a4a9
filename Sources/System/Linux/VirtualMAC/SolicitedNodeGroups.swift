import CLinux
import Glibc
import Wire

/// The groups by which neighbours ask for the VIPs' IPv6 addresses (RFC 4861 §4.3), joined on the interface below a virtual MAC.
///
/// A switch that follows listeners' reports (MLD snooping) sends a group's frames only where somebody said that he listens. The device of
/// a virtual MAC says nothing by itself (`DeviceSilence`), so the interface below says it, with its own MAC, and answers the
/// queries. A backup does so, too: the questions reach it from the moment it becomes the owner, whatever the switch has yet to learn.
/// The kernel leaves the groups when the process dies. It belongs to one thread.
final class SolicitedNodeGroups {
  struct Membership: Hashable {
    var group: IPv6Address
    var index: Int32
  }

  /// Of a socket, so that the kernel's memory for its options (`net.core.optmem_max`, 20 KiB at least) is enough.
  private static let groupsOfSocket = 128

  private var memberships: Set<Membership> = []
  /// They receive nothing: no port is theirs.
  private var sockets: [Int32] = []

  deinit { for socket in sockets { close(socket) } }

  /// From now on these. What stays is not left in between.
  /// - Throws: the first that can't be joined; all others are. It is tried again with the next change.
  func follow(_ wanted: Set<Membership>) throws(SystemError) {
    guard wanted != memberships else { return }
    var failure: SystemError?
    var joined: Set<Membership> = []
    var fresh: [Int32] = []
    for membership in wanted {
      if joined.count == fresh.count * Self.groupsOfSocket {
        do throws(SystemError) {
          fresh.append(try Descriptor.socket(AF_INET6, SOCK_DGRAM, about: "multicast listener").release())
        } catch {
          failure = failure ?? error
          break
        }
      }
      guard let socket = fresh.last else { break }
      var group = in6_addr(membership.group)
      if clinux_join6(socket, &group, membership.index) == 0 {
        joined.insert(membership)
      } else {
        failure = failure ?? .last("setsockopt IPV6_JOIN_GROUP", "\(membership.group) on interface \(membership.index)")
      }
    }
    for socket in sockets { close(socket) }
    sockets = fresh
    memberships = joined
    if let failure { throw failure }
  }
}
