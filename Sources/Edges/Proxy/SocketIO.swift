import CLinux

/// The kernel as the loop sees it. `KernelIO` is the real one; tests play it.
///
/// Every call returns what the kernel returns: a result of 0 or more, or a negative errno. The worker is generic over it and is
/// specialised for `KernelIO`, whose only state is a descriptor: no call goes through a witness table.
protocol SocketIO {
  /// CLOCK_BOOTTIME in nanoseconds.
  func now() -> Int64

  func accept(_ listener: Int32) -> Int32
  func accept(_ listener: Int32, from: inout clinux_endpoint) -> Int32
  func stream(family: Int32) -> Int32
  func connect(_ descriptor: Int32, to endpoint: borrowing clinux_endpoint) -> Int32
  func receive(_ descriptor: Int32, into: UnsafeMutablePointer<UInt8>, count: Int) -> Int
  /// `more`: the end of the stream follows at once and shall ride on the last segment.
  func send(_ descriptor: Int32, from: UnsafeMutablePointer<UInt8>, count: Int, more: Bool) -> Int
  func splice(from: Int32, to: Int32, count: Int) -> Int
  /// Passes FIN on.
  func end(_ descriptor: Int32)
  func close(_ descriptor: Int32)
  /// Closes with RST.
  func abort(_ descriptor: Int32)
  func noDelay(_ descriptor: Int32)
  /// Opens a pipe and returns its capacity.
  func pipe(_ ends: inout (read: Int32, write: Int32)) -> Int32
  /// A descriptor kept so that one can be freed when the table is full.
  func spare() -> Int32

  /// Reports edges of `descriptor` with `token`, until it is closed.
  func watch(_ descriptor: Int32, token: UInt64) -> Int32
  func watchListener(_ descriptor: Int32, token: UInt64) -> Int32
  /// Stops, or begins again, reporting connections that wait.
  func setListening(_ descriptor: Int32, token: UInt64, _ listening: Bool)
  func wait(_ events: UnsafeMutablePointer<epoll_event>, capacity: Int32, milliseconds: Int32) -> Int32

  func seal(_ listener: Int32) -> Int32
  func unseal(_ listener: Int32) -> Int32
}

/// What an event is about, in the 64 bits that the kernel keeps for us.
enum Token {
  static let bell = UInt64.max
  private static let listenerBit: UInt64 = 1 << 31

  /// A stale event of an earlier connection in the same place has another generation.
  @inline(__always)
  static func half(_ half: Int, generation: UInt32) -> UInt64 {
    UInt64(UInt32(truncatingIfNeeded: half)) | UInt64(generation) << 32
  }

  static func listener(_ index: Int) -> UInt64 { listenerBit | UInt64(UInt32(truncatingIfNeeded: index)) }

  @inline(__always)
  static func isListener(_ token: UInt64) -> Bool { token & listenerBit != 0 }

  /// The listener, or the half.
  @inline(__always)
  static func index(_ token: UInt64) -> Int { Int(token & (listenerBit - 1)) }

  @inline(__always)
  static func generation(_ token: UInt64) -> UInt32 { UInt32(truncatingIfNeeded: token >> 32) }
}
