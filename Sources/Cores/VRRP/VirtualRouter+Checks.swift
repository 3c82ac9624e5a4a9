import Basis
import Wire

// What a message must be before the machine hears it.

extension VirtualRouter {
  /// RFC 9568 §7.1. That an address owner hears another one is told, not dropped (erratum 8298).
  // Inlined, like the other small readers of `self` below: called, each copies the whole router (700 bytes) first.
  @inline(__always)
  func check(_ message: RawSpan, _ envelope: Envelope) throws(Discard) -> AdvertHeader {
    guard state != .initialize else { throw .notRunning }
    guard envelope.source.family == settings.family, envelope.destination.family == settings.family else {
      throw .family
    }
    guard envelope.source.isHosts else { throw .source }
    guard envelope.source != outgoing.local else { throw .reflected }
    switch settings.peers {
    case .multicast:
      guard envelope.hopLimit == 255 else { throw .hopLimit }
      guard envelope.destination == settings.family.vrrpGroup else { throw .destination }
    case .unicast(let peers):
      guard envelope.hopLimit == 255 else { throw .unicastHopLimit }
      guard !envelope.destination.isMulticast else { throw .destination }
      guard peers.contains(envelope.source) else { throw .stranger }
    }
    let header = try AdvertHeader(
      checking: message, version: settings.version, id: settings.id, from: envelope.source, to: envelope.destination)
    // With 255, and with the 0 that follows it, an address owner speaks (RFC 9568 §6.1), whose own address the VIP is.
    if header.priority != 255, header.priority != 0 {
      guard !settings.addresses.contains(envelope.source) else { throw .source }
    }
    return header
  }

  /// What is worth a word, but never a drop.
  mutating func observe(
    _ header: AdvertHeader, _ message: RawSpan, _ source: IPAddress, _ now: Instant, _ emit: (Output) -> Void
  ) {
    if header.intervalNanoseconds != ownInterval { counters.intervalMismatches &+= 1 }
    let sameAddresses = outgoing.lists(header, message)
    if !sameAddresses { counters.addressMismatches &+= 1 }
    observations.interval(header, source, ours: ownInterval, now, emit)
    observations.addresses(sameAddresses, header, message, source, ours: outgoing.addresses, now, emit)
    observations.coverage(header, source, now, emit)
  }
}
