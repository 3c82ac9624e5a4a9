import Glibc

/// The kernel's settings below /proc/sys. Those of the network are the calling thread's namespace's.
enum Sysctl {
  /// The value, without its newline; nil where there is none.
  static func read(_ path: String) -> String? {
    let file = open("/proc/sys/" + path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 64)
    let count = Glibc.read(file, &bytes, bytes.count)
    guard count > 0 else { return nil }
    return String(decoding: bytes[..<count].prefix { $0 > 0x20 }, as: UTF8.self)
  }

  static func write(_ value: String, to path: String) throws(SystemError) {
    let file = Descriptor(
      owning: try SystemError.check("open", "/proc/sys/\(path)") { open("/proc/sys/" + path, O_WRONLY | O_CLOEXEC) })
    let number = file.rawValue
    let bytes = Array(value.utf8)
    try SystemError.check("write", "/proc/sys/\(path)") { Glibc.write(number, bytes, bytes.count) }
  }
}
