import Control
import Glibc
import Linux
import Synchronization
import Testing

@Test func `the socket is its owner's alone, its folder is for all to see, and both appear where they were missing`()
  throws
{
  let parent = Folder()
  let folder = parent.path + "/run"
  let server = try ControlServer(path: folder + "/roost.sock", handler: echo)
  #expect(mode(folder + "/roost.sock") == S_IFSOCK | 0o600)
  #expect(mode(folder) == S_IFDIR | 0o755)
  server.stop()
  #expect(mode(folder + "/roost.sock") == nil)
  rmdir(folder)
}

@Test func `the name that a dead daemon left is replaced`() throws {
  let folder = Folder()
  close(bareListener(folder.socket))
  #expect(mode(folder.socket) != nil)
  let server = try ControlServer(path: folder.socket, handler: echo)
  defer { server.stop() }
  #expect(try ControlClient(path: folder.socket).request("GET", "/").isSuccess)
}

@Test func `a live daemon is left alone, and named`() throws {
  let folder = Folder()
  let server = try ControlServer(path: folder.socket, handler: echo)
  defer { server.stop() }
  let refusal = ControlError.anotherRuns(path: folder.socket, process: getpid())
  #expect(throws: refusal) { try ControlServer(path: folder.socket, handler: echo) }
  #expect(refusal.description.contains("another roost runs here (pid \(getpid()))"))
  #expect(try ControlClient(path: folder.socket).request("GET", "/").isSuccess)
}

@Test func `what is no socket is not removed`() throws {
  let folder = Folder()
  close(open(folder.socket, O_CREAT | O_WRONLY, 0o600))
  #expect(throws: ControlError.pathTaken(path: folder.socket)) { try ControlServer(path: folder.socket, handler: echo) }
  #expect(mode(folder.socket) != nil)
}

@Test func `of many that start at once on a stale name, one wins and stays reachable`() throws {
  for _ in 0..<5 {
    let folder = Folder()
    close(bareListener(folder.socket))
    let outcome = Mutex<(servers: [ControlServer], refusals: Int)>(([], 0))
    let threads = try (0..<8).map { _ in
      try Thread.start(named: "starter") {
        do throws(ControlError) {
          let server = try ControlServer(path: folder.socket, handler: echo)
          outcome.withLock { $0.servers.append(server) }
        } catch {
          if case .anotherRuns = error { outcome.withLock { $0.refusals += 1 } }
        }
      }
    }
    for thread in threads { thread.join() }
    let (servers, refusals) = outcome.withLock { $0 }
    #expect(servers.count == 1)
    #expect(refusals == 7)
    #expect(try ControlClient(path: folder.socket).request("GET", "/").isSuccess)
    for server in servers { server.stop() }
  }
}

@Test func `a server that stops leaves the socket of its successor`() throws {
  let folder = Folder()
  let old = try ControlServer(path: folder.socket, handler: echo)
  unlink(folder.socket)
  let new = try ControlServer(path: folder.socket, handler: echo)
  defer { new.stop() }
  old.stop()
  #expect(try ControlClient(path: folder.socket).request("GET", "/").isSuccess)
}

@Test func `a path may be longer than an address`() throws {
  let folder = Folder(deep: true)
  #expect(folder.socket.utf8.count > 108)
  let server = try ControlServer(path: folder.socket, handler: echo)
  #expect(try ControlClient(path: folder.socket).request("GET", "/").isSuccess)
  #expect(throws: ControlError.anotherRuns(path: folder.socket, process: getpid())) {
    try ControlServer(path: folder.socket, handler: echo)
  }
  server.stop()
  #expect(mode(folder.socket) == nil)
}

@Test func `a server that stops ends its connections, and frees its descriptors`() throws {
  let folder = Folder()
  let server = try ControlServer(path: folder.socket, handler: echo)
  let raw = try #require(RawClient(folder.socket))
  raw.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
  _ = raw.read { $0.hasSuffix("}\n") }
  server.stop()
  server.stop()
  #expect(raw.isEnded())
  #expect(throws: ControlError.noDaemon(path: folder.socket)) {
    try ControlClient(path: folder.socket).request("GET", "/")
  }
}

@Test func `a folder that cannot be made is named`() {
  #expect {
    try ControlServer(path: "/proc/nothing/here/roost.sock", handler: echo)
  } throws: { error in
    "\(error)".contains("/proc/nothing/here")
  }
}
