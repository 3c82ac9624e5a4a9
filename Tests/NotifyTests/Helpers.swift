import Glibc
import Synchronization

@testable import Notify

/// A folder of this test's own, gone at its end.
final class Folder: Sendable {
  let path: String

  init() {
    var template = Array("/tmp/roost-notify-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { fatalError("mkdtemp failed: errno \(errno)") }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// A shell script.
  func script(_ name: String, _ body: String) -> String {
    let file = "\(path)/\(name)"
    let descriptor = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o700)
    let bytes = Array("#!/bin/sh\n\(body)\n".utf8)
    _ = write(descriptor, bytes, bytes.count)
    close(descriptor)
    return file
  }

  func text(_ name: String) -> String {
    let descriptor = open("\(path)/\(name)", O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return "" }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    let count = read(descriptor, &bytes, bytes.count)
    return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
  }

  func lines(_ name: String) -> [String] { text(name).split(separator: "\n").map(String.init) }

  deinit {
    guard let folder = opendir(path) else { return }
    while let entry = readdir(folder) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != ".", name != ".." { unlink("\(path)/\(name)") }
    }
    closedir(folder)
    rmdir(path)
  }
}

/// Polls, for half a minute at most.
func eventually(_ condition: () -> Bool) -> Bool {
  for _ in 0..<3000 {
    if condition() { return true }
    usleep(10_000)
  }
  return false
}

/// What was said, from any thread.
final class Said: Sendable {
  private let state = Mutex<[String]>([])
  func add(_ text: String) { state.withLock { $0.append(text) } }
  var all: [String] { state.withLock { $0 } }
}

/// An HTTP server on loopback, one connection at a time, that answers as it is told and keeps what it was sent.
final class Server: Sendable {
  let port: UInt16
  private let descriptor: Int32
  private let requests = Mutex<[String]>([])
  private let answers: Mutex<[String?]>

  /// - Parameter answers: one a connection, the last one for all further; nil: nothing, until the client goes away.
  init(_ answers: [String?]) {
    self.answers = Mutex(answers)
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let listener = descriptor
    port = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { (address: UnsafeMutablePointer<sockaddr>) in
        _ = bind(listener, address, size)
        _ = listen(listener, 64)
        _ = getsockname(listener, address, &size)
      }
      return UInt16(bigEndian: pointer.pointee.sin_port)
    }
    start()
  }

  private func start() {
    let listener = descriptor
    var thread = pthread_t()
    let box = Unmanaged.passRetained(
      Work { [weak self] in
        while true {
          let client = accept(listener, nil, nil)
          if client < 0 { return }
          guard let self else {
            close(client)
            return
          }
          self.serve(client)
        }
      })
    pthread_create(
      &thread, nil,
      { pointer in
        Unmanaged<Work>.fromOpaque(pointer!).takeRetainedValue().body()
        return nil
      }, box.toOpaque())
    pthread_detach(thread)
  }

  private final class Work {
    let body: () -> Void
    init(_ body: @escaping () -> Void) { self.body = body }
  }

  var heard: [String] { requests.withLock { $0 } }
  /// The bodies of what was heard.
  var bodies: [String] {
    heard.map { text in text.range(of: "\r\n\r\n").map { String(text[$0.upperBound...]) } ?? "" }
  }

  func stop() {
    shutdown(descriptor, Int32(SHUT_RDWR))
    close(descriptor)
  }

  private func serve(_ client: Int32) {
    defer { close(client) }
    var text = ""
    var buffer = [UInt8](repeating: 0, count: 65536)
    while !isComplete(text) {
      let count = recv(client, &buffer, buffer.count, 0)
      if count <= 0 { return }
      text += String(decoding: buffer[..<count], as: UTF8.self)
    }
    requests.withLock { $0.append(text) }
    let answer = answers.withLock { $0.count > 1 ? $0.removeFirst() : $0[0] }
    guard let answer else {
      _ = recv(client, &buffer, buffer.count, 0)
      return
    }
    let bytes = Array(answer.utf8)
    _ = send(client, bytes, bytes.count, Int32(MSG_NOSIGNAL))
  }

  private func isComplete(_ text: String) -> Bool {
    guard let head = text.range(of: "\r\n\r\n") else { return false }
    let length = text.split(separator: "\r\n").first { $0.hasPrefix("Content-Length: ") }
      .flatMap { Int($0.dropFirst(16)) }
    return text[head.upperBound...].utf8.count >= length ?? 0
  }
}

extension String {
  /// Where a text is in this one first.
  func range(of text: String) -> Range<String.Index>? { self.firstRange(of: text) }
}
