import CLinux

/// The real kernel: each call is one system call, inlined.
struct KernelIO: SocketIO {
  let poller: Int32

  /// - Parameter bell: a descriptor that becomes readable when another thread wants the loop; reported as `Token.bell`.
  init(bell: Int32) throws(ProxyError) {
    poller = clinux_proxy_poller()
    if poller < 0 { throw .outOf("epoll descriptor", code: -poller) }
    let added = clinux_proxy_poll(poller, EPOLL_CTL_ADD, bell, EPOLLIN.rawValue, Token.bell)
    if added < 0 { throw .outOf("epoll watch", code: -added) }
  }

  func shutDown() { clinux_proxy_close(poller) }

  func now() -> Int64 { clinux_proxy_now() }

  func accept(_ listener: Int32) -> Int32 { clinux_proxy_accept(listener) }
  func accept(_ listener: Int32, from: inout clinux_endpoint) -> Int32 { clinux_proxy_accept_from(listener, &from) }
  func stream(family: Int32) -> Int32 { clinux_proxy_stream(family) }
  func connect(_ descriptor: Int32, to endpoint: borrowing clinux_endpoint) -> Int32 {
    withUnsafePointer(to: endpoint) { clinux_proxy_connect(descriptor, $0) }
  }
  func receive(_ descriptor: Int32, into: UnsafeMutablePointer<UInt8>, count: Int) -> Int {
    Int(clinux_proxy_receive(descriptor, into, count))
  }
  func send(_ descriptor: Int32, from: UnsafeMutablePointer<UInt8>, count: Int, more: Bool) -> Int {
    Int(clinux_proxy_send(descriptor, from, count, more ? 1 : 0))
  }
  func splice(from: Int32, to: Int32, count: Int) -> Int { Int(clinux_proxy_splice(from, to, count)) }
  func end(_ descriptor: Int32) { _ = clinux_proxy_end(descriptor) }
  func close(_ descriptor: Int32) { clinux_proxy_close(descriptor) }
  func abort(_ descriptor: Int32) { clinux_proxy_abort(descriptor) }
  func noDelay(_ descriptor: Int32) { _ = clinux_proxy_no_delay(descriptor) }
  func pipe(_ ends: inout (read: Int32, write: Int32)) -> Int32 {
    clinux_proxy_pipe(&ends.read, &ends.write, Int32(PipePool.wantedCapacity))
  }
  func spare() -> Int32 { clinux_proxy_spare() }

  func watch(_ descriptor: Int32, token: UInt64) -> Int32 {
    clinux_proxy_poll(poller, EPOLL_CTL_ADD, descriptor, Readiness.all, token)
  }
  func watchListener(_ descriptor: Int32, token: UInt64) -> Int32 {
    clinux_proxy_poll(poller, EPOLL_CTL_ADD, descriptor, EPOLLIN.rawValue, token)
  }
  func setListening(_ descriptor: Int32, token: UInt64, _ listening: Bool) {
    _ = clinux_proxy_poll(poller, EPOLL_CTL_MOD, descriptor, listening ? EPOLLIN.rawValue : 0, token)
  }
  func wait(_ events: UnsafeMutablePointer<epoll_event>, capacity: Int32, milliseconds: Int32) -> Int32 {
    clinux_proxy_wait(poller, events, capacity, milliseconds)
  }

  func seal(_ listener: Int32) -> Int32 { clinux_proxy_seal(listener) }
  func unseal(_ listener: Int32) -> Int32 { clinux_proxy_unseal(listener) }
}

/// The kernel's readiness bits, by what they tell the loop.
enum Readiness {
  static let input = EPOLLIN.rawValue
  static let output = EPOLLOUT.rawValue
  static let urgent = EPOLLPRI.rawValue
  static let failed = EPOLLERR.rawValue
  static let hungUp = EPOLLHUP.rawValue
  static let peerEnded = EPOLLRDHUP.rawValue
  static let all = input | output | urgent | peerEnded | EPOLLET.rawValue
}
