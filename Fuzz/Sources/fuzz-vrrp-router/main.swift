// A router's whole life: settings, then a stream of inputs and messages. After each step the promises must hold.
import Basis
import Fuzzing
import VRRP
import Wire

@_cdecl("LLVMFuzzerTestOneInput")
func feed(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  withInput(start, count) { bytes in
    var input = Input(bytes)
    var life = Life(&input)
    while !input.isAtEnd { life.step(&input) }
  }
  return 0
}

struct Life {
  var router: VirtualRouter
  var now = Instant(nanoseconds: 0)
  var given: UInt64 = 0
  let sources: [IPAddress]
  var local: IPAddress?

  init(_ input: inout Input) {
    let choices = input.byte()
    let family: AddressFamily = choices & 1 == 0 ? .ipv4 : .ipv6
    sources = (11...14).map { last in
      family == .ipv4 ? .v4(IPv4Address(10, 0, 0, last)) : .v6(IPv6Address(rawValue: 0xFE80 << 112 | UInt128(last)))
    }
    let vip: IPAddress =
      family == .ipv4 ? .v4(IPv4Address(10, 0, 0, 100)) : .v6(IPv6Address(rawValue: 0x2001 << 112 | 100))
    router = VirtualRouter(
      Settings(
        id: 51, version: choices & 2 == 0 ? .v3 : .v2, family: family, priority: max(1, input.byte()),
        interval: .milliseconds(Int(input.number(UInt16.self))), preempt: choices & 4 == 0,
        preemptDelay: .milliseconds(Int(input.byte()) * 100), addresses: [vip],
        peers: choices & 8 == 0 ? .multicast : .unicast(Array(sources.prefix(3))),
        checksum: [.pseudoHeader, .message, .learned, .learned][Int(choices >> 4 & 3)]))
  }

  mutating func step(_ input: inout Input) {
    let before = router
    var copy = router
    var outputs: [VirtualRouter.Output] = []
    var outputsOfCopy: [VirtualRouter.Output] = []
    func both(_ act: (inout VirtualRouter, (VirtualRouter.Output) -> Void) -> Void) {
      act(&router) { outputs.append($0) }
      act(&copy) { outputsOfCopy.append($0) }
    }

    var isFarewell = false
    switch input.byte() % 20 {
    case 0:
      let source = input.choice(sources)
      local = source
      both { $0.handle(.startup(local: source), at: now, $1) }
    case 1:
      isFarewell = true
      both { $0.handle(.shutdown, at: now, $1) }
    case 2: both { $0.handle(.abandon("fuzz"), at: now, $1) }
    case 3:
      let source = input.choice(sources)
      local = source
      both { $0.handle(.local(source), at: now, $1) }
    case 4:
      isFarewell = true
      both { $0.handle(.yield, at: now, $1) }
    case 5:
      now = router.deadline ?? now
      both { $0.handle(.timer, at: now, $1) }
      checkTimer()
    case 6:
      // Time passes, up to 65 s; rarely it jumps anywhere, as a mangled recording could make it.
      let jump = input.number(UInt16.self)
      now =
        jump == 0xFFFF
        ? Instant(nanoseconds: input.number()) : Instant(nanoseconds: now.nanoseconds &+ Int64(jump) * 1_000_000)
      both { $0.handle(.timer, at: now, $1) }
      checkTimer()
    case 7:
      isFarewell = true
      both { $0.handle(.makeWay(.handedTo("lb2")), at: now, $1) }
    case 8: both { $0.handle(.deposed(.revoked), at: now, $1) }
    case 9:
      let priority = input.byte()
      both { $0.handle(.priority(priority), at: now, $1) }
    case 10:
      let isSuccessor = input.bool()
      both { $0.handle(.successor(isSuccessor), at: now, $1) }
    case 11: both { $0.handle(.takeOver(.handedBy("lb2")), at: now, $1) }
    case 12:
      let override: Bool? = [nil, false, true, nil][Int(input.byte() & 3)]
      both { $0.handle(.preempt(override), at: now, $1) }
    case 13:
      let until = Instant(nanoseconds: now.nanoseconds &+ Int64(input.number(UInt16.self)) * 1_000_000)
      both { $0.handle(.postpone(until: until), at: now, $1) }
    case 14:
      var settings = router.settings
      settings.priority = max(1, input.byte())
      settings.interval = .milliseconds(Int(input.number(UInt16.self)))
      if input.bool() { settings.id = 52 }
      both { $0.handle(.settings(settings), at: now, $1) }
      precondition(router.settings.id == 51, "another virtual router was taken for this one")
    default:
      let (message, envelope) = self.message(&input)
      given += 1
      both { $0.receive(message.span.bytes, in: envelope, at: now, $1) }
    }
    precondition(outputs == outputsOfCopy, "the same input gave other outputs")
    checkPromises(before, outputs, isFarewell: isFarewell)
  }

  /// A message of a peer, good or spoilt.
  private func message(_ input: inout Input) -> ([UInt8], Envelope) {
    let settings = router.settings
    let source = input.choice(sources)
    let unicast = settings.peers != .multicast
    let destination = unicast ? local ?? sources[0] : settings.family.vrrpGroup
    var bytes = Advert(
      version: settings.version, id: settings.id, priority: input.byte(),
      interval: .milliseconds(Int(input.number(UInt16.self)) * 10), addresses: settings.advertisedAddresses
    ).encoded(from: source, to: destination, coverage: input.bool() ? .message : .pseudoHeader)
    let spoil = input.byte()
    if spoil & 3 == 1 { bytes[Int(input.byte()) % bytes.count] ^= input.byte() }
    if spoil & 3 == 2 { bytes = input.take(Int(input.byte())) }
    let envelope = Envelope(
      interface: "eth0", source: source, destination: destination, hopLimit: spoil & 4 == 0 ? 255 : input.byte())
    return (bytes, envelope)
  }

  private func checkTimer() {
    guard let deadline = router.deadline, now.nanoseconds < .max - 1_000_000_000_000 else { return }
    precondition(deadline > now, "a timer that was served is due again at once")
  }

  private func checkPromises(_ before: VirtualRouter, _ outputs: [VirtualRouter.Output], isFarewell: Bool) {
    precondition((router.deadline == nil) == (router.state == .initialize))
    precondition(router.counters.accepted + router.counters.discarded == given)
    precondition(router.state == .backup || router.owner == nil)
    precondition(router.interval >= .milliseconds(10) && router.interval <= .seconds(255))
    precondition(outputs.count <= 8)
    var state = before.state
    for output in outputs {
      switch output {
      case .becameActive: state = .active
      case .becameBackup: state = .backup
      case .becameInitialize: state = .initialize
      case .transmit(let bytes, let destination): checkSent(bytes, destination, isFarewell: isFarewell)
      case .announce(let reason):
        precondition(router.state == .active && !reason.description.isEmpty)
      case .notice(let notice): precondition(!notice.description.isEmpty)
      }
    }
    precondition(state == router.state, "the state changed without a word")
  }

  /// What is sent must be what a peer with the same settings takes.
  private func checkSent(_ bytes: [UInt8], _ destination: Destination, isFarewell: Bool) {
    let settings = router.settings
    let target: IPAddress
    switch destination {
    case .multicast:
      precondition(settings.peers == .multicast)
      target = settings.family.vrrpGroup
    case .unicast(let peer):
      precondition(peer != local)
      target = peer
    }
    guard let local else { preconditionFailure("sent without a source") }
    guard
      let header = try? AdvertHeader(
        checking: bytes.span.bytes, version: settings.version, id: settings.id, from: local, to: target)
    else { preconditionFailure("sent what no peer takes") }
    precondition(header.priority == (isFarewell ? 0 : router.priority))
  }
}

runFuzzer(feed)
