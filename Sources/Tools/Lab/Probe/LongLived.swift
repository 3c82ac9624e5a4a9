import Basis
import CLinux
import Glibc
import Linux

/// The client's long-lived connections: on each, eight bytes go and come back now and then. Up to ten thousand of them, so each has its
/// turn in a ring, and together they send no more than a thousand times a second: what is measured is the cluster, not the client.
final class LongLived {
  /// Between two messages on one connection, where there are few.
  static let shortest = Duration.milliseconds(100)
  /// Between two messages on any, where there are many.
  static let spacing = Duration.milliseconds(1)
  /// Between two that are opened at the start.
  static let openingSpacing = Duration.microseconds(500)
  static let timeout = Duration.seconds(1)
  /// So long after a message without an answer, a connection is taken for broken.
  static let patience = Duration.seconds(2)
  /// Then the probe begins, whether all are open or not.
  static let openingTime = Duration.seconds(25)

  private(set) var samples: [Sample] = []
  /// Called once, when all are open or the time for that is over.
  var onOpen: () -> Void = {}

  private let service: Endpoint
  private let sources: [Endpoint]
  private let reactor: Reactor
  private let interval: Duration
  private var echoes: [Echo] = []
  private var turn = 0
  private var due: Instant
  private var nextSweep: Instant
  private let begun: Instant
  private var openCount = 0
  private var isOpening = true
  private var buffer = [UInt8](repeating: 0, count: 4096)

  private final class Echo {
    let number: UInt16
    var descriptor: Int32 = -1
    var registration: Reactor.Registration?
    var isConnected = false
    var sent: UInt32 = 0
    var expected: [UInt8] = []
    /// When it was begun, or last sent on while nothing was under way.
    var waitingSince: Instant
    init(number: UInt16, at now: Instant) {
      self.number = number
      waitingSince = now
    }
  }

  init(_ count: Int, of service: Endpoint, from sources: [Endpoint], on reactor: Reactor) {
    self.service = service
    self.sources = sources
    self.reactor = reactor
    interval = max(Self.shortest, Self.spacing * count)
    begun = Clock.now()
    (due, nextSweep) = (begun, begun)
    for index in 0..<min(count, Int(UInt16.max)) { echoes.append(Echo(number: UInt16(index), at: begun)) }
  }

  func act(at now: Instant) {
    guard !echoes.isEmpty else {
      if isOpening { finishOpening() }
      return
    }
    let steady = interval / echoes.count
    var left = echoes.count
    while due <= now, left > 0 {
      take(echoes[turn], now)
      turn = (turn + 1) % echoes.count
      due = due + (isOpening ? min(steady, Self.openingSpacing) : steady)
      left -= 1
    }
    // What was missed in a stall is not made up for.
    if due < now { due = now }
    if isOpening, openCount == echoes.count || now - begun > Self.openingTime { finishOpening() }
    if now >= nextSweep {
      nextSweep = now + max(.milliseconds(20), .microseconds(20) * echoes.count)
      sweep(now)
    }
  }

  private func finishOpening() {
    isOpening = false
    onOpen()
  }

  private func take(_ echo: Echo, _ now: Instant) {
    guard echo.descriptor >= 0 else { return open(echo, now) }
    // While it is opened, nothing is sent twice: the ring may come round before all are open.
    guard echo.isConnected, !isOpening || echo.sent == 0 else { return }
    let bytes =
      [UInt8(ascii: "e"), UInt8(ascii: "c")] + withUnsafeBytes(of: echo.number) { Array($0) }
      + withUnsafeBytes(of: echo.sent) { Array($0) }
    echo.sent &+= 1
    if echo.expected.isEmpty { echo.waitingSince = now }
    echo.expected += bytes
    if !writeAll(echo.descriptor, bytes) { breakDown(echo, .reset, now) }
  }

  private func open(_ echo: Echo, _ now: Instant) {
    let source = sources.isEmpty ? nil : sources[Int(echo.number) % sources.count]
    let descriptor = service.connecting(SOCK_STREAM, from: source)
    guard descriptor >= 0 else { return }
    // Thousands at a time would leave their ports waiting for a minute.
    _ = clinux_lab_linger_reset(descriptor)
    echo.descriptor = descriptor
    echo.waitingSince = now
    echo.expected = []
    echo.registration = try? reactor.register(descriptor, .writable) { [self] _ in proceed(echo) }
  }

  private func proceed(_ echo: Echo) {
    let now = Clock.now()
    if !echo.isConnected {
      guard socketError(echo.descriptor) == 0, let registration = echo.registration else { return drop(echo) }
      echo.isConnected = true
      openCount += 1
      try? reactor.modify(registration, .readable)
      samples.append(Sample(kind: .opened, number: echo.number, start: now, duration: .zero))
      return
    }
    let count = read(echo.descriptor, &buffer, buffer.count)
    if count < 0, errno == EAGAIN || errno == EINTR { return }
    if count <= 0 { return breakDown(echo, count < 0 ? .reset : .closed, now) }
    guard count <= echo.expected.count, echo.expected.prefix(count).elementsEqual(buffer[..<count]) else {
      return breakDown(echo, .wrong, now)
    }
    echo.expected.removeFirst(count)
    echo.waitingSince = now
  }

  /// What took too long has failed.
  private func sweep(_ now: Instant) {
    for echo in echoes where echo.descriptor >= 0 {
      let waited = now - echo.waitingSince
      if echo.isConnected {
        if !echo.expected.isEmpty, waited > Self.patience { breakDown(echo, .silent, now) }
      } else if waited > Self.timeout {
        drop(echo)
      }
    }
  }

  private func breakDown(_ echo: Echo, _ cause: Sample.Break, _ now: Instant) {
    samples.append(Sample(kind: .broken, detail: cause.rawValue, number: echo.number, start: now, duration: nil))
    drop(echo)
  }

  private func drop(_ echo: Echo) {
    if let registration = echo.registration { reactor.unregister(registration) }
    if echo.descriptor >= 0 { close(echo.descriptor) }
    if echo.isConnected { openCount -= 1 }
    echo.descriptor = -1
    echo.registration = nil
    echo.isConnected = false
  }
}

func socketError(_ descriptor: Int32) -> Int32 {
  var code: Int32 = 0
  var length = socklen_t(MemoryLayout<Int32>.size)
  return getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &length) == 0 ? code : errno
}
