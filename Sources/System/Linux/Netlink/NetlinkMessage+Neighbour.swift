import CLinux
import Wire

/// An entry of the kernel's table of neighbours, as RTM_NEWNEIGH tells of it.
struct NeighbourRecord: Sendable, Hashable {
  var index: Int32
  var address: IPAddress
  var state: UInt16
  /// Where it is, if the kernel knows.
  var macAddress: MACAddress?

  /// NUD_INCOMPLETE or NUD_FAILED: it was asked for and has not answered. Until its time-outs are over, up to three seconds, the kernel
  /// drops what is sent there and does not ask again.
  var isUnanswered: Bool { state & (0x01 | 0x20) != 0 }

  init?(_ payload: NetlinkBytes) {
    // ndmsg: family, three bytes of padding, index, state, flags, type.
    guard let family = payload.load(0, as: UInt8.self), let index = payload.load(4, as: Int32.self),
      let state = payload.load(8, as: UInt16.self), payload.count >= 12
    else { return nil }
    var address: IPAddress?
    var macAddress: MACAddress?
    payload.forEachAttribute(from: 12) { attribute, value in
      if attribute == Self.destination { address = value.address(family: family) }
      if attribute == Self.linkLayer, value.count == 6 {
        macAddress = MACAddress(rawValue: value.base.reduce(0) { $0 << 8 | UInt64($1) })
      }
    }
    guard let address else { return nil }
    self.index = index
    self.address = address
    self.state = state
    self.macAddress = isUnanswered ? nil : macAddress
  }

  /// NDA_DST.
  fileprivate static let destination: UInt16 = 1
  /// NDA_LLADDR.
  private static let linkLayer: UInt16 = 2
}

extension NetlinkBatch {
  /// RTM_DELNEIGH.
  mutating func appendRemoval(of neighbour: NeighbourRecord, sequence: UInt32) {
    begin(type: clinux_rtm_delneigh, flags: clinux_nlm_f_request | clinux_nlm_f_ack, sequence: sequence)
    append(UInt32(neighbour.address.family == .ipv4 ? 2 : 10).littleEndian)  // AF_INET or AF_INET6, and padding
    append(neighbour.index)
    append(UInt32(0))
    attribute(NeighbourRecord.destination, neighbour.address)
    end()
  }
}

extension NetlinkSocket {
  func neighbours() throws(SystemError) -> [NeighbourRecord] {
    try dump(clinux_rtm_getneigh) { message in
      guard case .neighbour(let neighbour) = message else { return nil }
      return neighbour
    }
  }

  /// Has the kernel forget the neighbours of an interface that did not answer, so that it asks them anew at once.
  func forgetUnansweredNeighbours(on index: Int32) throws(SystemError) {
    var batch = NetlinkBatch()
    for neighbour in try neighbours() where neighbour.index == index && neighbour.isUnanswered {
      batch.appendRemoval(of: neighbour, sequence: nextSequence())
    }
    var results: [Int32] = []
    // One that has answered or gone meanwhile is fine as well.
    try perform(batch, &results)
  }
}
