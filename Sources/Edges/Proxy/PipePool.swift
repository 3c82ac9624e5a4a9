/// Pipes through which bulk data moves from socket to socket inside the kernel. A connection borrows one while bytes flow.
struct PipePool {
  static let wantedCapacity = 1 << 20
  /// Below this, copying is cheaper; the kernel gives less than was wanted when the user's allowance is used up.
  static let leastCapacity = 64 << 10

  struct Pipe {
    var read: Int32
    var write: Int32
    var capacity: Int
  }

  private var pipes: [Pipe] = []
  /// Open and empty.
  private var free: [Int32] = []
  /// Places whose pipe was closed.
  private var vacant: [Int32] = []
  private let limit: Int

  init(limit: Int) {
    self.limit = limit
    pipes.reserveCapacity(limit)
    free.reserveCapacity(limit)
    vacant.reserveCapacity(limit)
  }

  @inline(__always)
  subscript(_ index: Int32) -> Pipe { pipes[Int(index)] }

  /// An empty pipe, or -1 where there is none to be had.
  mutating func take<IO: SocketIO>(_ io: borrowing IO) -> Int32 {
    if let pipe = free.popLast() { return pipe }
    guard !vacant.isEmpty || pipes.count < limit else { return -1 }
    var ends: (read: Int32, write: Int32) = (-1, -1)
    let capacity = Int(io.pipe(&ends))
    guard capacity >= 0 else { return -1 }
    guard capacity >= PipePool.leastCapacity else {
      io.close(ends.read)
      io.close(ends.write)
      return -1
    }
    let pipe = Pipe(read: ends.read, write: ends.write, capacity: capacity)
    if let place = vacant.popLast() {
      pipes[Int(place)] = pipe
      return place
    }
    pipes.append(pipe)
    return Int32(pipes.count - 1)
  }

  /// Takes back a pipe; one with bytes in it is closed, for they are nobody's.
  mutating func give<IO: SocketIO>(_ index: Int32, isEmpty: Bool, _ io: borrowing IO) {
    if isEmpty {
      free.append(index)
    } else {
      io.close(pipes[Int(index)].read)
      io.close(pipes[Int(index)].write)
      vacant.append(index)
    }
  }

  mutating func closeAll<IO: SocketIO>(_ io: borrowing IO) {
    while let index = free.popLast() {
      io.close(pipes[Int(index)].read)
      io.close(pipes[Int(index)].write)
    }
  }
}
