import CLinux
import Glibc
import Linux

/// A process that was found by its name; its end is seen at once.
final class ProcessWatch {
  private let pidfd: Descriptor
  private var registration: Reactor.Registration?
  private(set) var isAlive = true

  private init(_ pidfd: consuming Descriptor) { self.pidfd = pidfd }

  /// The first process of that name in this process's /proc, if there is one.
  static func find(_ name: String) -> Result<ProcessWatch?, SystemError> {
    guard let folder = opendir("/proc") else { return .failure(.last("opendir", "/proc")) }
    defer { closedir(folder) }
    let wanted = Array(name.utf8)
    while let entry = readdir(folder) {
      let process = withUnsafeBytes(of: entry.pointee.d_name) { number(in: $0) }
      guard let process, has(process, wanted) else { continue }
      // Gone meanwhile, or another one by now: the descriptor says which it is, and the name is read again.
      let handle = clinux_lab_pidfd_open(process)
      guard handle >= 0 else { continue }
      let descriptor = Descriptor(owning: handle)
      if has(process, wanted) { return .success(ProcessWatch(descriptor)) }
    }
    return .success(nil)
  }

  private static func number(in name: UnsafeRawBufferPointer) -> Int32? {
    var value: Int32 = 0
    for byte in name {
      if byte == 0 { break }
      guard byte >= 48, byte <= 57, value < 400_000_000 else { return nil }
      value = value * 10 + Int32(byte - 48)
    }
    return value > 0 ? value : nil
  }

  /// Whether a process has that name: the kernel's, of 15 bytes at most, or the last part of its first argument. A zombie has none.
  private static func has(_ process: Int32, _ name: [UInt8]) -> Bool {
    let arguments = Looks.read("/proc/\(process)/cmdline", atMost: 4096) ?? []
    // A thread of the kernel, or a zombie, has no arguments.
    guard !arguments.isEmpty else { return false }
    let first = arguments.prefix { $0 != 0 }
    if first.split(separator: UInt8(ascii: "/")).last.map({ Array($0) }) == name { return true }
    guard var comm = Looks.read("/proc/\(process)/comm", atMost: 64) else { return false }
    if comm.last == 10 { comm.removeLast() }
    return comm == Array(name.prefix(15)) && name.count <= 15
  }

  func begin(_ reactor: Reactor, onEnd: @escaping () -> Void) {
    registration = try? reactor.register(pidfd.rawValue, .readable) { [unowned self, unowned reactor] _ in
      isAlive = false
      end(reactor)
      onEnd()
    }
    // Unwatched, it is looked for again each time.
    if registration == nil { isAlive = false }
  }

  func end(_ reactor: Reactor) {
    if let registration { reactor.unregister(registration) }
    registration = nil
  }
}
