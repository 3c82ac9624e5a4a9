import Basis
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

@Test(arguments: [true, false])
func `a request ends as soon as nobody reads its answer any more`(isPipe: Bool) throws {
  let folder = Folder()
  let path = folder.socket
  // Listens, and never answers.
  let listener = bareListener(path)
  defer { close(listener) }
  var ends: [Int32] = [-1, -1]
  if isPipe {
    try #require(pipe(&ends) == 0)
  } else {
    try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
  }
  let (reader, writer) = (ends[0], ends[1])
  defer { close(writer) }
  var client = ControlClient(path: path, timeout: .seconds(60))
  client.output = writer
  let closer = try Thread.start(named: "closer") {
    usleep(50_000)
    close(reader)
  }
  defer { closer.join() }
  let started = Clock.now()
  #expect(throws: ControlError.unread) { try client.request("GET", "/events") }
  #expect(Clock.now() - started < .seconds(40))
}

@Test func `an output that is read, or is a file, changes nothing`() throws {
  let folder = Folder()
  let path = folder.socket
  let listener = bareListener(path)
  defer { close(listener) }
  var ends: [Int32] = [-1, -1]
  try #require(pipe(&ends) == 0)
  defer { for end in ends { close(end) } }
  let file = open("/dev/null", O_WRONLY)
  defer { close(file) }
  for output in [ends[1], file] {
    var client = ControlClient(path: path, timeout: .milliseconds(100))
    client.output = output
    #expect(throws: ControlError.timedOut(path: path, after: .milliseconds(100))) {
      try client.request("GET", "/events")
    }
  }
}
