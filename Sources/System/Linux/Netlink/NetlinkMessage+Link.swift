import CLinux
import Glibc
import Wire

/// The requests about links: what makes, raises and removes the device of a virtual MAC.
extension NetlinkBatch {
  /// RTM_NEWLINK of a macvlan on the interface `parent`, down at first.
  mutating func appendMacvlan(_ name: String, _ address: MACAddress, on parent: Int32, sequence: UInt32) {
    let flags = clinux_nlm_f_request | clinux_nlm_f_ack | clinux_nlm_f_create | clinux_nlm_f_excl
    begin(type: clinux_rtm_newlink, flags: flags, sequence: sequence)
    appendLink(0)
    attribute(clinux_ifla_link) { $0.append(parent) }
    attribute(clinux_ifla_ifname) { batch in
      for byte in name.utf8 { batch.append(byte) }
      batch.append(UInt8(0))
    }
    attribute(clinux_ifla_address) { batch in
      for shift in stride(from: 40, through: 0, by: -8) {
        batch.append(UInt8(truncatingIfNeeded: address.rawValue >> shift))
      }
    }
    attribute(clinux_ifla_linkinfo) { batch in
      batch.attribute(clinux_ifla_info_kind) { batch in for byte in "macvlan".utf8 { batch.append(byte) } }
      batch.attribute(clinux_ifla_info_data) { batch in
        // Bridge: in every other mode the kernel hands a multicast frame that comes from the virtual MAC to the macvlan alone. That
        // is how another owner's adverts come, and the election, which listens on the interface, must hear them.
        batch.attribute(clinux_ifla_macvlan_mode) { $0.append(clinux_macvlan_mode_bridge) }
      }
    }
    end()
  }

  /// RTM_NEWLINK that sets a link up or down.
  mutating func appendSetting(up: Bool, of index: Int32, sequence: UInt32) {
    begin(type: clinux_rtm_newlink, flags: clinux_nlm_f_request | clinux_nlm_f_ack, sequence: sequence)
    appendLink(index, flags: up ? clinux_iff_up : 0, change: clinux_iff_up)
    end()
  }

  /// RTM_DELLINK.
  mutating func appendRemoval(ofLink index: Int32, sequence: UInt32) {
    begin(type: clinux_rtm_dellink, flags: clinux_nlm_f_request | clinux_nlm_f_ack, sequence: sequence)
    appendLink(index)
    end()
  }

  /// RTM_GETLINK of one link.
  mutating func appendQuery(ofLink index: Int32, sequence: UInt32) {
    begin(type: clinux_rtm_getlink, flags: clinux_nlm_f_request | clinux_nlm_f_ack, sequence: sequence)
    appendLink(index)
    end()
  }

  /// RTM_GETLINK of one link by its name.
  mutating func appendQuery(ofLinkNamed name: String, sequence: UInt32) {
    begin(type: clinux_rtm_getlink, flags: clinux_nlm_f_request | clinux_nlm_f_ack, sequence: sequence)
    appendLink(0)
    attribute(clinux_ifla_ifname) { batch in
      for byte in name.utf8 { batch.append(byte) }
      batch.append(UInt8(0))
    }
    end()
  }

  /// RTM_NEWQDISC of `clsact`, whose filters see what leaves the link; EEXIST where it is there.
  mutating func appendClassifier(on index: Int32, sequence: UInt32) {
    let flags = clinux_nlm_f_request | clinux_nlm_f_ack | clinux_nlm_f_create | clinux_nlm_f_excl
    begin(type: clinux_rtm_newqdisc, flags: flags, sequence: sequence)
    appendTrafficControl(index, handle: clinux_tc_clsact_handle, parent: clinux_tc_clsact, info: 0)
    attribute(clinux_tca_kind) { batch in for byte in "clsact\0".utf8 { batch.append(byte) } }
    end()
  }

  /// RTM_NEWTFILTER: the first filter of what leaves the link, in place of one that is there. Its results are traffic control's actions.
  mutating func appendEgressFilter(_ program: [sock_filter], on index: Int32, sequence: UInt32) {
    let flags = clinux_nlm_f_request | clinux_nlm_f_ack | clinux_nlm_f_create | clinux_nlm_f_replace
    begin(type: clinux_rtm_newtfilter, flags: flags, sequence: sequence)
    let everyProtocol = UInt32(UInt16(3).bigEndian)  // ETH_P_ALL
    appendTrafficControl(index, handle: 1, parent: clinux_tc_clsact_egress, info: 1 << 16 | everyProtocol)
    attribute(clinux_tca_kind) { batch in for byte in "bpf\0".utf8 { batch.append(byte) } }
    attribute(clinux_tca_options) { batch in
      batch.attribute(clinux_tca_bpf_ops_len) { $0.append(UInt16(program.count)) }
      batch.attribute(clinux_tca_bpf_ops) { batch in
        for instruction in program {
          batch.append(instruction.code)
          batch.append(instruction.jt)
          batch.append(instruction.jf)
          batch.append(instruction.k)
        }
      }
      batch.attribute(clinux_tca_bpf_flags) { $0.append(clinux_tca_bpf_flag_act_direct) }
    }
    end()
  }

  /// tcmsg: family and padding, index, handle, parent, info (of a filter its place and protocol).
  private mutating func appendTrafficControl(_ index: Int32, handle: UInt32, parent: UInt32, info: UInt32) {
    append(UInt32(0))
    append(index)
    append(handle)
    append(parent)
    append(info)
  }

  /// ifinfomsg: family, padding, type, index, flags, change.
  private mutating func appendLink(_ index: Int32, flags: UInt32 = 0, change: UInt32 = 0) {
    append(UInt32(0))
    append(index)
    append(flags)
    append(change)
  }
}

extension NetlinkSocket {
  /// One request by itself: 0 or an errno.
  func perform(_ fill: (inout NetlinkBatch, UInt32) -> Void) throws(SystemError) -> Int32 {
    var batch = NetlinkBatch()
    fill(&batch, nextSequence())
    var results: [Int32] = []
    try perform(batch, &results)
    return results.first ?? EIO
  }

  /// A link as it is now; nil where there is none.
  func link(at index: Int32) throws(SystemError) -> LinkRecord? {
    try link { $0.appendQuery(ofLink: index, sequence: $1) }
  }

  func link(named name: String) throws(SystemError) -> LinkRecord? {
    try link { $0.appendQuery(ofLinkNamed: name, sequence: $1) }
  }

  private func link(_ fill: (inout NetlinkBatch, UInt32) -> Void) throws(SystemError) -> LinkRecord? {
    var batch = NetlinkBatch()
    fill(&batch, nextSequence())
    var results: [Int32] = []
    var found: LinkRecord?
    try perform(batch, &results) { message in
      if case .link(let link, removed: false) = message { found = link }
    }
    switch results.first {
    case 0: return found
    case ENODEV: return nil
    case let code: throw SystemError(call: "RTM_GETLINK", code: code ?? EIO)
    }
  }
}
