import Control
import Glibc
import Linux
import Synchronization
import Testing

@Test func `where no daemon listens the client says so, with exit code 3`() {
  let folder = Folder()
  let expected = ControlError.noDaemon(path: folder.socket)
  #expect(throws: expected) { try ControlClient(path: folder.socket).request("GET", "/") }
  close(bareListener(folder.socket))
  #expect(throws: expected) { try ControlClient(path: folder.socket).request("GET", "/") }
  #expect(expected.exitCode == 3)
  #expect(expected.description.contains("roost run"))
  #expect(ControlError.permissionDenied(path: "/x").exitCode == 1)
}

@Test func `a daemon that does not answer is given up`() {
  let folder = Folder()
  let listener = bareListener(folder.socket)
  defer { close(listener) }
  let client = ControlClient(path: folder.socket, timeout: .milliseconds(100))
  #expect(throws: ControlError.timedOut(path: folder.socket, after: .milliseconds(100))) {
    try client.request("GET", "/")
  }
  // More is sent than the daemon's socket takes.
  #expect(throws: ControlError.timedOut(path: folder.socket, after: .milliseconds(100))) {
    try client.request("POST", "/", body: [UInt8](repeating: 0, count: 4 << 20))
  }
}

@Test func `a daemon whose queue is full is given up as well`() throws {
  let folder = Folder()
  let listener = bareListener(folder.socket, backlog: 0)
  defer { close(listener) }
  let first = try #require(RawClient(folder.socket))
  let client = ControlClient(path: folder.socket, timeout: .milliseconds(100))
  #expect(throws: ControlError.timedOut(path: folder.socket, after: .milliseconds(100))) {
    try client.request("GET", "/")
  }
  #expect(throws: ControlError.timedOut(path: folder.socket, after: .milliseconds(100))) {
    try client.request("GET", "/")
  }
  _ = first
}

@Test(arguments: [
  ("", ControlError.disconnected(path: "")),
  ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour", .disconnected(path: "")),
  ("SSH-2.0-OpenSSH_9.2\r\n", .invalidAnswer(path: "", .unsupportedVersion)),
  ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", .invalidAnswer(path: "", .invalidContentLength)),
])
func `whatever else listens there is told from a daemon`(answer: String, expected: ControlError) throws {
  let folder = Folder()
  let listener = bareListener(folder.socket)
  defer { close(listener) }
  let impostor = try Thread.start(named: "impostor") {
    let client = accept(listener, nil, nil)
    var buffer = [UInt8](repeating: 0, count: 4096)
    recv(client, &buffer, buffer.count, 0)
    send(client, answer, answer.utf8.count, Int32(MSG_NOSIGNAL))
    close(client)
  }
  defer { impostor.join() }
  let error = #expect(throws: ControlError.self) { try ControlClient(path: folder.socket).request("GET", "/") }
  switch (error, expected) {
  case (.disconnected, .disconnected): break
  case (.invalidAnswer(_, let got), .invalidAnswer(_, let wanted)): #expect(got == wanted)
  default: Issue.record("\(String(describing: error))")
  }
}

@Test func `a request that would break HTTP is not sent`() {
  #expect(throws: ControlError.invalidRequest(.invalidTarget)) {
    try ControlClient(path: "/nowhere").request("GET", "/a b\r\nX: y")
  }
}

@Test(.enabled(if: geteuid() == 0, "only root can become somebody else"))
func `another user is refused, and told what to do`() throws {
  let folder = Folder()
  chmod(folder.path, 0o755)
  let server = try ControlServer(path: folder.socket, handler: echo)
  defer { server.stop() }
  let outcome = Mutex<ControlError?>(nil)
  let stranger = try Thread.start(named: "stranger") {
    // For the file system, and of this thread alone.
    _ = becomeStranger(65534)
    do throws(ControlError) {
      _ = try ControlClient(path: folder.socket).request("GET", "/")
    } catch {
      outcome.withLock { $0 = error }
    }
  }
  stranger.join()
  let error = outcome.withLock { $0 }
  #expect(error == .permissionDenied(path: folder.socket))
  #expect(error?.description.contains("sudo") == true)
}

/// Glibc's module leaves <sys/fsuid.h> out.
@_silgen_name("setfsuid") private func becomeStranger(_ user: uid_t) -> Int32
