import Basis
import CLinux
import Glibc
import Wire

/// A route netlink socket. It belongs to one thread.
final class NetlinkSocket {
  private let socket: Descriptor
  private var sequence: UInt32 = 0
  private let buffer: UnsafeMutableRawBufferPointer

  var descriptor: Int32 { socket.rawValue }

  /// - Parameters:
  ///   - groups: RTMGRP_* to listen to; 0 for a socket of requests and answers.
  ///   - number: of the part of the kernel.
  init(groups: UInt32 = 0, protocol number: Int32 = clinux_netlink_route) throws(SystemError) {
    // The kernel answers a request before its sendmsg returns, so that reading never has to wait.
    socket = try Descriptor.socket(AF_NETLINK, SOCK_RAW, protocol: number, about: "netlink")
    // A burst of changes on a host with thousands of interfaces must fit; past it the kernel says ENOBUFS and all is read anew.
    socket.setReceiveBuffer(bytes: groups == 0 ? 1 << 20 : 4 << 20)
    let number = socket.rawValue
    try SystemError.check("bind", "netlink") { clinux_netlink_bind(number, groups) }
    // Answers without a copy of the request. Unknown before Linux 4.3, and not needed.
    try? socket.setOption(clinux_sol_netlink, clinux_netlink_cap_ack, Int32(1), "setsockopt NETLINK_CAP_ACK")
    buffer = .allocate(byteCount: 64 << 10, alignment: 8)
  }

  deinit { buffer.deallocate() }

  func nextSequence() -> UInt32 {
    sequence &+= 1
    return sequence
  }

  /// Sends the batch in one system call and gives each message's result, 0 or an errno, in the batch's order.
  /// - Parameter body: called with what the kernel says beside the results.
  func perform(
    _ batch: borrowing NetlinkBatch, _ results: inout [Int32], _ body: (NetlinkMessage) -> Void = { _ in }
  ) throws(SystemError) {
    results.removeAll(keepingCapacity: true)
    guard batch.count > 0 else { return }
    for _ in 0..<batch.count { results.append(ETIMEDOUT) }
    try send(batch)
    var missing = batch.count
    while missing > 0 {
      guard let datagram = try receive() else {
        try waitReadable()
        continue
      }
      NetlinkMessage.forEach(in: datagram) { header, message in
        guard case .acknowledgement(let code) = message else { return body(message) }
        let index = Int(header.sequence &- batch.firstSequence)
        guard index < results.count else { return }  // of an earlier batch that was given up
        results[index] = code
        missing -= 1
      }
    }
  }

  func links() throws(SystemError) -> [LinkRecord] {
    try dump(clinux_rtm_getlink) { message in
      guard case .link(let link, removed: false) = message else { return nil }
      return link
    }
  }

  func addresses() throws(SystemError) -> [AddressRecord] {
    try dump(clinux_rtm_getaddr) { message in
      guard case .address(let address, removed: false) = message else { return nil }
      return address
    }
  }

  /// Everything of a kind. Begins again where the kernel's state changed under the dump, so that it may miss something.
  func dump<Record>(_ type: UInt16, _ record: (NetlinkMessage) -> Record?) throws(SystemError) -> [Record] {
    for _ in 0..<10 {
      var records: [Record] = []
      if try dumpOnce(type, { if let record = record($0) { records.append(record) } }) { return records }
    }
    throw SystemError(call: "netlink dump", code: EAGAIN, subject: "interfaces change faster than they can be read")
  }

  /// False where the answer may have holes.
  private func dumpOnce(_ type: UInt16, _ body: (NetlinkMessage) -> Void) throws(SystemError) -> Bool {
    var batch = NetlinkBatch()
    let sequence = nextSequence()
    batch.appendDump(type: type, sequence: sequence)
    try send(batch)
    var result: Int32?
    var isWhole = true
    while result == nil {
      guard let datagram = try receive() else {
        try waitReadable()
        continue
      }
      NetlinkMessage.forEach(in: datagram) { header, message in
        guard header.sequence == sequence else { return }
        if header.flags & clinux_nlm_f_dump_intr != 0 { isWhole = false }
        switch message {
        case .done(let code), .acknowledgement(let code): result = code
        default: body(message)
        }
      }
    }
    if let result, result != 0 { throw SystemError(call: "netlink dump", code: result) }
    return isWhole
  }

  /// Listens to a group by its number, not its bit.
  func join(_ group: Int32) throws(SystemError) {
    try socket.setOption(clinux_sol_netlink, clinux_netlink_add_membership, group, "setsockopt NETLINK_ADD_MEMBERSHIP")
  }

  /// From now on the kernel takes what stands in a dump's request as a filter (Linux 4.20). Where it can't, everything comes.
  func checkStrictly() throws(SystemError) {
    try? socket.setOption(
      clinux_sol_netlink, clinux_netlink_get_strict_chk, Int32(1), "setsockopt NETLINK_GET_STRICT_CHK")
  }

  /// Asks for a dump, and reads at most so many datagrams of it. The socket is of no use afterwards.
  func read(_ batch: borrowing NetlinkBatch, datagrams: Int, _ body: (NetlinkMessage) -> Void) throws(SystemError) {
    try send(batch)
    for _ in 0..<datagrams {
      var datagram = try receive()
      while datagram == nil {
        try waitReadable()
        datagram = try receive()
      }
      guard let datagram else { return }
      var isDone = false
      NetlinkMessage.forEach(in: datagram) { _, message in
        switch message {
        // No such table is as good as an empty one.
        case .done, .acknowledgement: isDone = true
        default: body(message)
        }
      }
      if isDone { return }
    }
  }

  /// The next datagram from the kernel, nil when none waits. It is overwritten by the next call.
  /// - Throws: ENOBUFS where messages were lost: dump again.
  func receive() throws(SystemError) -> UnsafeRawBufferPointer? {
    while true {
      var fromKernel: Int32 = 0
      let count = clinux_netlink_receive(descriptor, buffer.baseAddress, buffer.count, &fromKernel)
      if count >= 0 {
        // Other processes may send to this socket: only the kernel is believed.
        if fromKernel == 0 { continue }
        return UnsafeRawBufferPointer(rebasing: buffer[..<min(count, buffer.count)])
      }
      switch errno {
      case EAGAIN: return nil
      case EINTR: continue
      default: throw .last("recvmsg", "netlink")
      }
    }
  }

  private func send(_ batch: borrowing NetlinkBatch) throws(SystemError) {
    let number = socket.rawValue
    let bytes = batch.bytes
    try SystemError.check("sendmsg", "netlink") {
      bytes.withUnsafeBytes { Glibc.send(number, $0.baseAddress, $0.count, 0) }
    }
  }

  private func waitReadable() throws(SystemError) {
    var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    let ready = try SystemError.check("poll", "netlink") { poll(&entry, 1, 5000) }
    guard ready > 0 else { throw SystemError(call: "recvmsg", code: ETIMEDOUT, subject: "netlink") }
  }
}
