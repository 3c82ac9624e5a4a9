import CLinux

@testable import Proxy

/// A kernel that does what the test says, and complains about whatever a real one would punish: a descriptor used after its
/// close, a token that was never given, bytes sent after the end.
final class PlayedKernel {
  struct Socket {
    var isOpen = true
    var token: UInt64?
    /// Edges not reported yet.
    var edges: UInt32 = 0
    // What the far side does.
    var incoming: [UInt8] = []
    var hasEnded = false
    var hasReset = false
    // What the proxy does.
    var sent: [UInt8] = []
    var room = Int.max
    var endWasPassed = false
    var wasAborted = false
    var isNoDelay = false
    var isListener = false
    var isPaused = false
    var isSealed = false
    /// Pipes: where its bytes are.
    var pipe: Int32?
  }

  var sockets: [Int32: Socket] = [:]
  var complaints: [String] = []
  var clock: Int64 = 1_000_000_000
  /// What accept gives, in order: a descriptor made by `client()`, or a negative errno. Empty: EAGAIN.
  var waitingClients: [Int32] = []
  /// What socket() and connect() answer next; empty: success and EINPROGRESS.
  var streamResults: [Int32] = []
  var connectResults: [Int32] = []
  /// What the next calls answer instead of working; empty: they work.
  var receiveFaults: [Int32] = []
  var sendFaults: [Int32] = []
  var pipeFaults: [Int32] = []
  /// The newest sockets to backends.
  var backends: [Int32] = []
  var sparesLeft = Int.max
  var waits: [Int32] = []
  /// The largest count that one send or splice takes.
  var mouthful = Int.max
  private var next: Int32 = 100

  func open(_ socket: Socket = Socket()) -> Int32 {
    next += 1
    sockets[next] = socket
    return next
  }

  func listener() -> Int32 { open(Socket(isListener: true)) }

  /// A client that waits to be accepted.
  func client(_ bytes: [UInt8] = []) -> Int32 {
    let descriptor = open(Socket(incoming: bytes))
    waitingClients.append(descriptor)
    return descriptor
  }

  func check(_ descriptor: Int32, _ call: String) -> Bool {
    if sockets[descriptor]?.isOpen == true { return true }
    complaints.append("\(call)(\(descriptor)): not open")
    return false
  }

  // MARK: what the far side does

  func deliver(_ bytes: [UInt8], to descriptor: Int32) {
    guard sockets[descriptor]?.isOpen == true else { return }
    sockets[descriptor]?.incoming += bytes
    sockets[descriptor]?.edges |= Readiness.input
  }

  func end(_ descriptor: Int32) {
    guard sockets[descriptor]?.isOpen == true else { return }
    sockets[descriptor]?.hasEnded = true
    sockets[descriptor]?.edges |= Readiness.input | Readiness.peerEnded
  }

  func reset(_ descriptor: Int32) {
    guard sockets[descriptor]?.isOpen == true else { return }
    sockets[descriptor]?.hasReset = true
    sockets[descriptor]?.edges |= Readiness.input | Readiness.failed | Readiness.hungUp | Readiness.peerEnded
  }

  func connected(_ descriptor: Int32) { sockets[descriptor]?.edges |= Readiness.output }

  func refused(_ descriptor: Int32) {
    sockets[descriptor]?.edges |= Readiness.failed | Readiness.hungUp | Readiness.output
  }

  func makeRoom(_ room: Int, on descriptor: Int32) {
    guard sockets[descriptor]?.isOpen == true else { return }
    sockets[descriptor]?.room = room
    if room > 0 { sockets[descriptor]?.edges |= Readiness.output }
  }

  /// Everything open but the listeners and what the worker keeps for itself.
  var openSockets: [Int32] {
    sockets.filter { $0.value.isOpen && !$0.value.isListener && $0.value.pipe == nil }.keys.sorted()
  }
}

struct ScriptedIO: SocketIO {
  let kernel: PlayedKernel

  func now() -> Int64 { kernel.clock }

  func accept(_ listener: Int32) -> Int32 {
    guard kernel.check(listener, "accept"), !kernel.waitingClients.isEmpty else { return -EAGAIN }
    // An error of the table leaves the client in the queue.
    return kernel.waitingClients.removeFirst()
  }

  func accept(_ listener: Int32, from: inout clinux_endpoint) -> Int32 { accept(listener) }

  func stream(family: Int32) -> Int32 {
    if !kernel.streamResults.isEmpty {
      let result = kernel.streamResults.removeFirst()
      if result < 0 { return result }
    }
    let descriptor = kernel.open()
    kernel.backends.append(descriptor)
    return descriptor
  }

  func connect(_ descriptor: Int32, to endpoint: borrowing clinux_endpoint) -> Int32 {
    guard kernel.check(descriptor, "connect") else { return -EBADF }
    return kernel.connectResults.isEmpty ? -EINPROGRESS : kernel.connectResults.removeFirst()
  }

  func receive(_ descriptor: Int32, into: UnsafeMutablePointer<UInt8>, count: Int) -> Int {
    guard kernel.check(descriptor, "recv"), var socket = kernel.sockets[descriptor] else { return Int(-EBADF) }
    if !kernel.receiveFaults.isEmpty {
      let fault = kernel.receiveFaults.removeFirst()
      if fault < 0 { return Int(fault) }
    }
    if socket.incoming.isEmpty {
      if socket.hasReset { return Int(-ECONNRESET) }
      return socket.hasEnded ? 0 : Int(-EAGAIN)
    }
    let taken = min(count, socket.incoming.count)
    for index in 0..<taken { into[index] = socket.incoming[index] }
    socket.incoming.removeFirst(taken)
    kernel.sockets[descriptor] = socket
    return taken
  }

  func send(_ descriptor: Int32, from: UnsafeMutablePointer<UInt8>, count: Int, more: Bool) -> Int {
    guard kernel.check(descriptor, "send") else { return Int(-EBADF) }
    if !kernel.sendFaults.isEmpty {
      let fault = kernel.sendFaults.removeFirst()
      if fault < 0 { return Int(fault) }
    }
    return put(Array(UnsafeBufferPointer(start: from, count: count)), to: descriptor)
  }

  private func put(_ bytes: [UInt8], to descriptor: Int32) -> Int {
    guard let socket = kernel.sockets[descriptor] else { return Int(-EBADF) }
    if socket.hasReset { return Int(-EPIPE) }
    if socket.endWasPassed { kernel.complaints.append("send(\(descriptor)) after its end") }
    if socket.room == 0 { return Int(-EAGAIN) }
    let taken = min(bytes.count, socket.room, kernel.mouthful)
    kernel.sockets[descriptor]?.sent += bytes[..<taken]
    if socket.room != .max { kernel.sockets[descriptor]?.room -= taken }
    return taken
  }

  func splice(from: Int32, to: Int32, count: Int) -> Int {
    guard kernel.check(from, "splice from"), kernel.check(to, "splice to") else { return Int(-EBADF) }
    guard let source = kernel.sockets[from], let target = kernel.sockets[to] else { return Int(-EBADF) }
    if target.pipe != nil {
      // Socket to pipe, of which both ends share the write end's bytes.
      if source.incoming.isEmpty { return source.hasReset ? Int(-ECONNRESET) : source.hasEnded ? 0 : Int(-EAGAIN) }
      let room = (64 << 10) - target.incoming.count
      if room <= 0 { return Int(-EAGAIN) }
      let taken = min(count, source.incoming.count, room, kernel.mouthful)
      kernel.sockets[to]?.incoming += source.incoming[..<taken]
      kernel.sockets[from]?.incoming.removeFirst(taken)
      return taken
    }
    guard let store = source.pipe, let bytes = kernel.sockets[store]?.incoming else { return Int(-EINVAL) }
    if bytes.isEmpty { return Int(-EAGAIN) }
    let taken = put(Array(bytes.prefix(count)), to: to)
    if taken > 0 { kernel.sockets[store]?.incoming.removeFirst(taken) }
    return taken
  }

  func end(_ descriptor: Int32) {
    guard kernel.check(descriptor, "shutdown") else { return }
    if kernel.sockets[descriptor]?.endWasPassed == true { kernel.complaints.append("shutdown(\(descriptor)) twice") }
    kernel.sockets[descriptor]?.endWasPassed = true
  }

  func close(_ descriptor: Int32) {
    guard kernel.check(descriptor, "close") else { return }
    kernel.sockets[descriptor]?.isOpen = false
    kernel.sockets[descriptor]?.edges = 0
  }

  func abort(_ descriptor: Int32) {
    guard kernel.check(descriptor, "abort") else { return }
    close(descriptor)
    kernel.sockets[descriptor]?.wasAborted = true
  }

  func noDelay(_ descriptor: Int32) {
    _ = kernel.check(descriptor, "nodelay")
    kernel.sockets[descriptor]?.isNoDelay = true
  }

  func pipe(_ ends: inout (read: Int32, write: Int32)) -> Int32 {
    if !kernel.pipeFaults.isEmpty {
      let fault = kernel.pipeFaults.removeFirst()
      if fault < 0 { return fault }
    }
    ends.write = kernel.open(PlayedKernel.Socket(pipe: -1))
    ends.read = kernel.open(PlayedKernel.Socket(pipe: ends.write))
    return 64 << 10
  }

  func spare() -> Int32 {
    guard kernel.sparesLeft > 0 else { return -EMFILE }
    kernel.sparesLeft -= 1
    return kernel.open(PlayedKernel.Socket(isListener: true))
  }

  func watch(_ descriptor: Int32, token: UInt64) -> Int32 {
    guard kernel.check(descriptor, "watch"), var socket = kernel.sockets[descriptor] else { return -EBADF }
    if socket.token != nil { kernel.complaints.append("watch(\(descriptor)) twice") }
    socket.token = token
    // What is there already is an edge for who begins to watch.
    if !socket.incoming.isEmpty || socket.hasEnded { socket.edges |= Readiness.input }
    if socket.hasEnded { socket.edges |= Readiness.peerEnded }
    if socket.hasReset { socket.edges |= Readiness.failed | Readiness.hungUp }
    if !kernel.backends.contains(descriptor) && socket.room > 0 { socket.edges |= Readiness.output }
    kernel.sockets[descriptor] = socket
    return 0
  }

  func watchListener(_ descriptor: Int32, token: UInt64) -> Int32 {
    kernel.sockets[descriptor]?.token = token
    return 0
  }

  func setListening(_ descriptor: Int32, token: UInt64, _ listening: Bool) {
    kernel.sockets[descriptor]?.isPaused = !listening
  }

  func wait(_ events: UnsafeMutablePointer<epoll_event>, capacity: Int32, milliseconds: Int32) -> Int32 {
    kernel.waits.append(milliseconds)
    var count = 0
    for descriptor in kernel.sockets.keys.sorted() {
      guard let socket = kernel.sockets[descriptor], socket.isOpen, let token = socket.token else { continue }
      var edges = socket.edges
      if socket.isListener && !socket.isPaused && !kernel.waitingClients.isEmpty { edges = Readiness.input }
      guard edges != 0, count < Int(capacity) else { continue }
      kernel.sockets[descriptor]?.edges = 0
      events[count].events = edges
      events[count].data.u64 = token
      count += 1
    }
    return Int32(count)
  }

  func seal(_ listener: Int32) -> Int32 {
    kernel.sockets[listener]?.isSealed = true
    return 0
  }

  func unseal(_ listener: Int32) -> Int32 {
    kernel.sockets[listener]?.isSealed = false
    return 0
  }
}
