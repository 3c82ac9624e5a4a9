/// Where bytes are read to, and kept while their receiver is slower than their sender.
///
/// No connection has a buffer. All read into one, which is sent from at once; when the receiver takes only a part, the
/// buffer itself is handed over (no copy) and another takes its place. A small rest is copied into a small buffer instead.
struct BufferPool: ~Copyable {  // owns its memory
  enum Size: UInt8 { case small, large }
  static let largeBytes = 128 << 10
  static let smallBytes = 4 << 10

  /// The buffer to read into.
  private(set) var shared: UnsafeMutablePointer<UInt8>
  private var freeLarge: UnsafeMutableRawPointer?
  private var freeSmall: UnsafeMutableRawPointer?
  /// All memory that was ever taken from the kernel; it goes back with the worker.
  private var owned: [(UnsafeMutablePointer<UInt8>, Int)] = []
  /// Large buffers that may still be made.
  private var largeLeft: Int

  /// - Parameter limit: bytes in large buffers.
  init(limit: Int) throws(ProxyError) {
    let first = try Reserved.memory(of: UInt8.self, count: BufferPool.largeBytes)
    shared = first
    owned = [(first, BufferPool.largeBytes)]
    largeLeft = limit / BufferPool.largeBytes
  }

  deinit {
    for (memory, count) in owned { Reserved.release(memory, count: count) }
  }

  /// How much may be read: so little, when large buffers have run out, that any rest fits a small one.
  @inline(__always)
  var readable: Int { freeLarge != nil || largeLeft > 0 ? BufferPool.largeBytes : BufferPool.smallBytes }

  /// Keeps `count` bytes of the shared buffer, from `offset` on. Nil where there is no memory.
  mutating func keep(offset: Int, count: Int) -> (buffer: UnsafeMutablePointer<UInt8>, offset: Int, size: Size)? {
    if count <= BufferPool.smallBytes {
      guard let small = takeSmall() else { return nil }
      small.update(from: shared + offset, count: count)
      return (small, 0, .small)
    }
    guard let replacement = takeLarge() else { return nil }
    defer { shared = replacement }
    return (shared, offset, .large)
  }

  mutating func give(_ buffer: UnsafeMutablePointer<UInt8>, _ size: Size) {
    let raw = UnsafeMutableRawPointer(buffer)
    switch size {
    case .small:
      raw.storeBytes(of: freeSmall, as: UnsafeMutableRawPointer?.self)
      freeSmall = raw
    case .large:
      raw.storeBytes(of: freeLarge, as: UnsafeMutableRawPointer?.self)
      freeLarge = raw
    }
  }

  private mutating func takeLarge() -> UnsafeMutablePointer<UInt8>? {
    if let first = freeLarge {
      freeLarge = first.load(as: UnsafeMutableRawPointer?.self)
      return first.assumingMemoryBound(to: UInt8.self)
    }
    guard largeLeft > 0 else { return nil }
    guard let memory = own(BufferPool.largeBytes) else { return nil }
    largeLeft -= 1
    return memory
  }

  private mutating func takeSmall() -> UnsafeMutablePointer<UInt8>? {
    if freeSmall == nil {
      // A block at a time: a mapping for each would use up the kernel's number of mappings.
      let block = 64
      guard let memory = own(block * BufferPool.smallBytes) else { return nil }
      for index in 0..<block { give(memory + index * BufferPool.smallBytes, .small) }
    }
    guard let first = freeSmall else { return nil }
    freeSmall = first.load(as: UnsafeMutableRawPointer?.self)
    return first.assumingMemoryBound(to: UInt8.self)
  }

  private mutating func own(_ count: Int) -> UnsafeMutablePointer<UInt8>? {
    guard let memory = try? Reserved.memory(of: UInt8.self, count: count) else { return nil }
    owned.append((memory, count))
    return memory
  }
}
