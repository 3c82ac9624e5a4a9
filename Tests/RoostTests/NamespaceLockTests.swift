import Glibc
import Linux
import Testing

@testable import roost

@Suite(.serialized, .enabled(if: geteuid() == 0, "needs root: it makes network namespaces"))
struct NamespaceLockTests {
  private func inNewNamespace(_ body: () throws -> Void) throws {
    let home = try NetworkNamespace.current()
    _ = try NetworkNamespace.enterNew()
    defer {
      unlink(NamespaceLock.path)
      do { try home.enter() } catch { fatalError("a thread of the pool is lost in a namespace: \(error)") }
    }
    try body()
  }

  @Test func `the second daemon in a namespace is told of the first`() throws {
    try inNewNamespace {
      let first = try NamespaceLock()
      #expect(first.warning == nil)
      #expect { _ = try NamespaceLock() } throws: { "\($0)".contains("another roost (pid \(getpid()))") }
      first.release()
      try NamespaceLock().release()
    }
  }

  @Test(arguments: ["listen", "hide"]) func `another user who takes the name keeps no daemon from starting`(
    _ how: String
  )
    throws
  {
    try inNewNamespace {
      let program = """
        import os, socket, time
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
        name = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        name.bind("\\0roost daemon")
        \(how == "listen" ? "name.listen(1)" : "")
        print("bound", flush=True)
        time.sleep(1000)
        """
      var ends: [Int32] = [0, 0]
      try #require(pipe(&ends) == 0)
      var actions = posix_spawn_file_actions_t()
      posix_spawn_file_actions_init(&actions)
      posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
      defer { posix_spawn_file_actions_destroy(&actions) }
      var arguments: [UnsafeMutablePointer<CChar>?] = [strdup("python3"), strdup("-c"), strdup(program), nil]
      defer { for argument in arguments { free(argument) } }
      var stranger = pid_t()
      try #require(posix_spawn(&stranger, "/usr/bin/python3", &actions, nil, &arguments, environ) == 0)
      defer {
        kill(stranger, SIGKILL)
        waitpid(stranger, nil, 0)
        for end in ends { close(end) }
      }
      var word = [UInt8](repeating: 0, count: 5)
      try #require(read(ends[0], &word, 5) == 5)
      let lock = try NamespaceLock()
      let warning = try #require(lock.warning)
      if how == "listen" { #expect(warning.contains("process \(stranger) of user 65534")) }
      // It protects all the same.
      #expect { _ = try NamespaceLock() } throws: { "\($0)".contains("another roost (pid \(getpid()))") }
      lock.release()
    }
  }
}
