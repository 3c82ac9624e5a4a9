import CLinux
import Control
import Glibc
import Synchronization

/// A folder of this test's own, gone at its end.
final class Folder: Sendable {
  let path: String

  init(deep: Bool = false) {
    var template = Array("/tmp/roost-control-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { fatalError("mkdtemp failed: errno \(errno)") }
    var path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    if deep {
      for _ in 0..<6 {
        path += "/" + String(repeating: "d", count: 30)
        mkdir(path, 0o755)
      }
    }
    self.path = path
  }

  var socket: String { path + "/roost.sock" }

  deinit {
    unlink(socket)
    // rmdir refuses whatever is not empty, so this can remove nothing that is not this test's.
    var folder = path
    while folder.count > "/tmp/".count, rmdir(folder) == 0 {
      folder = String(folder[..<(folder.lastIndex(of: "/") ?? folder.startIndex)])
    }
  }
}

/// A client that does what it likes.
final class RawClient {
  let descriptor: Int32

  init?(_ path: String) {
    descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    var limit = timeval(tv_sec: 20, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    guard withUnixAddress(path, { connect(descriptor, $0, $1) }) == 0 else { return nil }
  }

  deinit { close(descriptor) }

  @discardableResult func send(_ text: String) -> Bool { send(Array(text.utf8)) }

  @discardableResult func send(_ bytes: [UInt8]) -> Bool {
    Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count
  }

  /// What comes until the server ends the connection, or until `enough`.
  func read(until enough: (String) -> Bool = { _ in false }) -> String {
    var text: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = recv(descriptor, &buffer, buffer.count, 0)
      if count <= 0 { break }
      text += buffer[..<count]
      if enough(String(decoding: text, as: UTF8.self)) { break }
    }
    return String(decoding: text, as: UTF8.self)
  }

  /// Whether the server has ended the connection; reads nothing.
  var isHungUp: Bool {
    var entry = pollfd(fd: descriptor, events: 0, revents: 0)
    return poll(&entry, 1, 0) == 1 && entry.revents & Int16(POLLHUP) != 0
  }

  /// Whether the server ends the connection, after whatever it sends.
  func isEnded() -> Bool {
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = recv(descriptor, &buffer, buffer.count, 0)
      if count == 0 { return true }
      if count < 0 { return errno == ECONNRESET }
    }
  }
}

func withUnixAddress<Result>(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
  var address = sockaddr_un()
  address.sun_family = sa_family_t(AF_UNIX)
  withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix($0.count - 1)) }
  return withUnsafePointer(to: &address) { pointer in
    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
  }
}

/// A listening socket that is nobody's daemon.
func bareListener(_ path: String, backlog: Int32 = 8) -> Int32 {
  let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
  _ = withUnixAddress(path) { bind(descriptor, $0, $1) }
  listen(descriptor, backlog)
  return descriptor
}

func mode(_ path: String) -> mode_t? {
  var status = stat()
  return lstat(path, &status) == 0 ? status.st_mode : nil
}

/// Polls, for half a minute at most.
func eventually(_ condition: () -> Bool) -> Bool {
  for _ in 0..<3000 {
    if condition() { return true }
    usleep(10_000)
  }
  return false
}

/// Answers with what it was asked.
let echo: ControlServer.Handler = { request, answer in
  answer(
    ControlResponse(encoding: [
      "method": request.method, "path": request.path, "body": String(decoding: request.body, as: UTF8.self),
      "query": request.query.map { "\($0.name)=\($0.value)" }.joined(separator: " "),
      "pid": String(request.peer.process), "uid": String(request.peer.user),
    ]))
}

func text(_ response: ControlResponse) -> String { String(decoding: response.body, as: UTF8.self) }
