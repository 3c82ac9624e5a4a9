import Basis
import CLinux
import Glibc
import Wire

/// The requests about a VIP's address. It is put on its interface so that nothing ever picks it as a source by itself, and
/// so that the kernel takes it away when nobody renews it.
extension NetlinkBatch {
  enum AddressRequest {
    /// Adds the address, or sets the lease of one that is there: the kernel does whichever fits, whatever the flags.
    /// - `leaseSeconds`: nil for ever.
    case set(leaseSeconds: UInt32?)
    case remove
  }

  mutating func append(_ request: AddressRequest, _ address: IPAddress, on index: Int32, sequence: UInt32) {
    switch request {
    case .set(let leaseSeconds):
      let flags = clinux_nlm_f_request | clinux_nlm_f_ack | clinux_nlm_f_create | clinux_nlm_f_replace
      begin(type: clinux_rtm_newaddr, flags: flags, sequence: sequence)
      appendAddress(address, on: index)
      // No route of its own: a /32 or /128 needs none.
      var addressFlags = clinux_ifa_f_noprefixroute
      // The election decides who has the address. Detection of duplicates would make it useless for a second after each
      // take-over, and would give it up because of a former owner's last packet (RFC 9568 §8.2.2 wants it at once).
      if case .v6 = address { addressFlags |= clinux_ifa_f_nodad }
      attribute(clinux_ifa_flags) { $0.append(addressFlags) }
      attribute(clinux_ifa_cacheinfo) { batch in
        let valid = leaseSeconds ?? .max
        // IPv6 picks a deprecated address as a source only where there is no other (RFC 6724 §5 rule 3); IPv4 doesn't for the
        // scope below.
        batch.append(address.family == .ipv6 ? 0 : valid)
        batch.append(valid)
        batch.append(UInt64(0))  // when it was made and changed: the kernel's
      }
    case .remove:
      let flags = clinux_nlm_f_request | clinux_nlm_f_ack
      begin(type: clinux_rtm_deladdr, flags: flags, sequence: sequence)
      appendAddress(address, on: index)
    }
    end()
  }

  private mutating func appendAddress(_ address: IPAddress, on index: Int32) {
    switch address {
    case .v4:
      append(UInt8(AF_INET))
      append(UInt8(32))
      append(UInt8(0))
      // Not `link`: the kernel sorts such an address before the interface's own ones and picks it for multicast, and for routes
      // to a link that name no source (measured on 6.18). What it asks for itself is never of the scope `host`.
      append(clinux_rt_scope_host)
    case .v6:
      append(UInt8(AF_INET6))
      append(UInt8(128))
      append(UInt8(0))
      append(clinux_rt_scope_universe)
    }
    append(index)
    attribute(clinux_ifa_local, address)
    attribute(clinux_ifa_address, address)
  }

  /// Asks for all links, or all addresses of both families.
  mutating func appendDump(type: UInt16, sequence: UInt32) {
    begin(type: type, flags: clinux_nlm_f_request | clinux_nlm_f_dump, sequence: sequence)
    // rtgenmsg would do, but a kernel that checks strictly wants the whole header: 16 bytes for links, 12 for neighbours, 8 for addresses.
    append(UInt64(0))
    if type == clinux_rtm_getlink { append(UInt64(0)) }
    if type == clinux_rtm_getneigh { append(UInt32(0)) }
    end()
  }
}
