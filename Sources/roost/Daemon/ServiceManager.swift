import CLinux
import Glibc

/// What systemd is told (sd_notify(3)): a datagram to the socket that `NOTIFY_SOCKET` names. Elsewhere nothing happens.
enum ServiceManager {
  static func ready(_ status: String) { notify("READY=1\nSTATUS=\(status)") }
  /// This process is the service's now, in the place of another one. A beat with it: of several upgrades in a row none might come to its own.
  static func tookOver(_ status: String) { notify("MAINPID=\(getpid())\nREADY=1\nWATCHDOG=1\nSTATUS=\(status)") }
  static func stopping() { notify("STOPPING=1\nSTATUS=stopping") }
  static func beat() { notify("WATCHDOG=1") }

  /// How often `beat` is wanted: half of what systemd allows between two. Nil where it watches nothing.
  static var watchdogInterval: Duration? {
    guard let text = getenv("WATCHDOG_USEC"), let limit = Int64(String(cString: text)), limit > 0 else { return nil }
    if let text = getenv("WATCHDOG_PID"), Int32(String(cString: text)) != getpid() { return nil }
    return .microseconds(limit / 2)
  }

  private static func notify(_ message: String) {
    guard let name = getenv("NOTIFY_SOCKET") else { return }
    let path = String(cString: name)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let capacity = MemoryLayout.size(ofValue: address.sun_path)
    guard path.utf8.count < capacity, path.hasPrefix("/") || path.hasPrefix("@") else { return }
    withUnsafeMutableBytes(of: &address.sun_path) { buffer in
      buffer.copyBytes(from: path.utf8)
      // "@name" is a name in the abstract space, which begins with a zero byte (unix(7)).
      if path.hasPrefix("@") { buffer[0] = 0 }
    }
    let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    let length = socklen_t(MemoryLayout.offset(of: \sockaddr_un.sun_path)! + path.utf8.count)
    let bytes = Array(message.utf8)
    _ = withUnsafePointer(to: address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        sendto(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT), $0, length)
      }
    }
  }
}
