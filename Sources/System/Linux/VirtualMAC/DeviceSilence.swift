import CLinux
import Glibc
import Wire

/// What the device of a virtual MAC may send: answers about addresses that it has, and nothing by itself.
///
/// Switches learn from every frame where the virtual MAC is. A lease takes the addresses off a node whose processes are dead, but the
/// device stays up, and its kernel would go on telling multicast listeners' reports: on leaving the addresses' groups, 3 s after
/// the death, and for ever as answers to queries. Each such frame turns the virtual router's packets to the dead node until the new owner's
/// next frame. So the device has a filter of its own for what leaves it, which needs nobody alive and goes with the device:
///
/// | frame | |
/// |---|---|
/// | ARP, and unicast of IPv4 and IPv6 | passes: the kernel answers for addresses that are on the device, and for no others |
/// | neighbour solicitations and advertisements | pass, except from `::` (detection of duplicates, which the election replaces) |
/// | all other multicast: listeners' reports, router solicitations, IGMP, mDNS of a program that speaks on each device | dropped |
/// | other protocols: LLDP and the like | dropped |
///
/// Adverts and announcements leave through the interface below and never come by here.
enum DeviceSilence {
  /// Puts the filter on the device, in place of an earlier one.
  static func impose(on index: Int32, _ requests: NetlinkSocket) throws(SystemError) {
    let code = try requests.perform { $0.appendClassifier(on: index, sequence: $1) }
    guard code == 0 || code == EEXIST else { throw SystemError(call: "RTM_NEWQDISC", code: code, subject: "clsact") }
    let program = program
    let second = try requests.perform { $0.appendEgressFilter(program, on: index, sequence: $1) }
    guard second == 0 else { throw SystemError(call: "RTM_NEWTFILTER", code: second, subject: "egress") }
  }

  /// In the classic packet filter's language (linux/filter.h). What it passes, other filters of the device may still drop.
  static var program: [sock_filter] {
    let (ipv6, source, drop, pass) = (6, 13, 21, 22)
    let steps: [Step] = [
      .load(.half, 12),  // the protocol
      .test(.isEqual, 0x0806, yes: pass, no: 2),
      .test(.isEqual, 0x86DD, yes: ipv6, no: 3),
      .test(.isEqual, 0x0800, yes: 4, no: drop),
      .load(.byte, 0),  // the destination, of which the lowest bit of the first byte says that it is a group
      .test(.hasBits, 1, yes: drop, no: pass),
      .load(.byte, 0),
      .test(.hasBits, 1, yes: 8, no: source),
      .load(.byte, 14 + 6),  // behind Ethernet: the next header. Listeners' reports have another one in between
      .test(.isEqual, UInt32(ICMPv6.ipProtocol), yes: 10, no: drop),
      .load(.byte, 14 + 40),  // behind IPv6: the message's type
      .test(.isEqual, UInt32(ICMPv6.neighborSolicitation), yes: source, no: 12),
      .test(.isEqual, UInt32(ICMPv6.neighborAdvertisement), yes: source, no: drop),
      .load(.word, 14 + 8),  // the source, in four words
      .test(.isEqual, 0, yes: 15, no: pass),
      .load(.word, 14 + 12),
      .test(.isEqual, 0, yes: 17, no: pass),
      .load(.word, 14 + 16),
      .test(.isEqual, 0, yes: 19, no: pass),
      .load(.word, 14 + 20),
      .test(.isEqual, 0, yes: drop, no: pass),
      .end(clinux_tc_act_shot),
      .end(clinux_tc_act_unspec),
    ]
    return steps.enumerated().map { $1.instruction(at: $0) }
  }

  /// One instruction; where it goes on, as an index into the program.
  private enum Step {
    case load(Size, UInt32)
    case test(Test, UInt32, yes: Int, no: Int)
    case end(Int32)

    func instruction(at index: Int) -> sock_filter {
      // A jump counts from the instruction behind it.
      func distance(_ target: Int) -> UInt8 { UInt8(target - index - 1) }
      return switch self {
      case .load(let size, let offset): sock_filter(code: size.rawValue, jt: 0, jf: 0, k: offset)
      case .test(let test, let value, let yes, let no):
        sock_filter(code: test.rawValue, jt: distance(yes), jf: distance(no), k: value)
      case .end(let action): sock_filter(code: 0x06, jt: 0, jf: 0, k: UInt32(bitPattern: action))  // BPF_RET | BPF_K
      }
    }
  }

  private enum Size: UInt16 {
    case word = 0x20  // BPF_LD | BPF_W | BPF_ABS
    case half = 0x28
    case byte = 0x30
  }

  private enum Test: UInt16 {
    case isEqual = 0x15  // BPF_JMP | BPF_JEQ | BPF_K
    case hasBits = 0x45  // BPF_JMP | BPF_JSET | BPF_K
  }
}
