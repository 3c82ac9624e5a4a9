import CLinux
import Wire

/// Programs of the classic packet filter (linux/filter.h) that let only packets about certain addresses up to a packet socket. They
/// run in the kernel for every frame of their protocol, so that no storm of others' ARP wakes anybody here.
enum ClaimFilter {
  /// A frame is never longer than this where it matters.
  private static let whole: UInt32 = 256
  /// BPF_MAXINSNS, less the rest of the program. More addresses than fit are all let through, and looked at by the receiver.
  private static let mostAddresses = 1000

  /// ARP messages whose sender address is one of these.
  static func arp(_ addresses: [IPv4Address]) -> [sock_filter] {
    guard addresses.count <= mostAddresses else { return [accept] }
    // 14 bytes of Ethernet, then the message: the sender's address is at 14.
    return [load(.word, 14 + 14)] + addresses.flatMap { acceptIf($0.rawValue) } + [drop]
  }

  /// Neighbour solicitations and advertisements whose target or source ends as one of these.
  static func neighbourDiscovery(_ addresses: [IPv6Address]) -> [sock_filter] {
    var program: [sock_filter] = []
    func dropUnless(_ value: UInt32) { program += [jump(value, 1, 0), drop] }
    // Behind 14 bytes of Ethernet: next header at 6, hop limit at 7; and behind 40 bytes of IPv6 the message.
    program.append(load(.byte, 14 + 6))
    dropUnless(UInt32(ICMPv6.ipProtocol))
    program.append(load(.byte, 14 + 7))
    dropUnless(255)
    program.append(load(.byte, 14 + 40))
    program += [
      jump(UInt32(ICMPv6.neighborSolicitation), 2, 0), jump(UInt32(ICMPv6.neighborAdvertisement), 1, 0), drop,
    ]
    guard addresses.count * 2 <= mostAddresses else { return program + [accept] }
    let ends = addresses.flatMap { acceptIf(UInt32(truncatingIfNeeded: $0.rawValue)) }
    program += [load(.word, 14 + 40 + 8 + 12)] + ends  // the target's last four bytes
    program += [load(.word, 14 + 8 + 12)] + ends  // the source's
    return program + [drop]
  }

  private enum Size: UInt16 {
    case word = 0x20  // BPF_LD | BPF_W | BPF_ABS
    case byte = 0x30  // BPF_LD | BPF_B | BPF_ABS
  }

  private static func load(_ size: Size, _ offset: UInt32) -> sock_filter {
    sock_filter(code: size.rawValue, jt: 0, jf: 0, k: offset)
  }

  /// BPF_JMP | BPF_JEQ | BPF_K: skips so many instructions.
  private static func jump(_ value: UInt32, _ ifEqual: UInt8, _ otherwise: UInt8) -> sock_filter {
    sock_filter(code: 0x15, jt: ifEqual, jf: otherwise, k: value)
  }

  private static func acceptIf(_ value: UInt32) -> [sock_filter] { [jump(value, 0, 1), accept] }

  // BPF_RET | BPF_K.
  private static var accept: sock_filter { sock_filter(code: 0x06, jt: 0, jf: 0, k: whole) }
  private static var drop: sock_filter { sock_filter(code: 0x06, jt: 0, jf: 0, k: 0) }
}
